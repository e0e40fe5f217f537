/* Touches memory as training and decoding do, and nothing else; bandwidth.py compiles it, calls it and takes the time. */
#include <sched.h>
#include <stdint.h>

typedef float part __attribute__((vector_size(32), aligned(32)));
typedef struct { part a, b; } line; /* a cache line of 64 bytes */
enum { AHEAD = 32 };                /* lines between a prefetch and its use */

static float sum(part x) {
    float total = 0;
    for (int i = 0; i < 8; i++) total += x[i];
    return total;
}

/* Read lines one after the other. */
float read_in_order(const line *table, int64_t lines) {
    part s[8] = {{0}};
    for (int64_t i = 0; i + 4 <= lines; i += 4)
        for (int j = 0; j < 4; j++) {
            s[2 * j] += table[i + j].a;
            s[2 * j + 1] += table[i + j].b;
        }
    return sum(s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]);
}

/* Read the lines that `order` names. */
float read_at_random(const line *table, const int32_t *order, int64_t count) {
    part s[8] = {{0}};
    for (int64_t i = 0; i + 4 + AHEAD <= count; i += 4)
        for (int j = 0; j < 4; j++) {
            const line *at = table + order[i + j];
            __builtin_prefetch(table + order[i + j + AHEAD]);
            s[2 * j] += at->a;
            s[2 * j + 1] += at->b;
        }
    return sum(s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]);
}

/* Read those lines and write them back changed. */
float move_at_random(line *table, const int32_t *order, int64_t count) {
    for (int64_t i = 0; i + AHEAD < count; i++) {
        line *at = table + order[i];
        __builtin_prefetch(table + order[i + AHEAD], 1);
        at->a += 1;
        at->b += 1;
    }
    return 0;
}

/* Say turn, turn + 2, turn + 4 and so on, `count` times, each after the other side has said the number before it. */
void answer(int64_t *said, int64_t turn, int64_t count) {
    enum { LOOKS = 1 << 12 }; /* before the other side is given the processor, should it have none */
    for (int64_t end = turn + 2 * count; turn < end; turn += 2) {
        for (int looks = 0; __atomic_load_n(said, __ATOMIC_ACQUIRE) != turn - 1; looks++)
            if (looks % LOOKS == LOOKS - 1) sched_yield();
        __atomic_store_n(said, turn, __ATOMIC_RELEASE);
    }
}
