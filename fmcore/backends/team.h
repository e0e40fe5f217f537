/* A team of threads that goes through phases of work. A phase is a number of shares, as many for each member, who does
   its own and then those that others have not begun; the next phase begins when the last share is done. So a member
   that has lost its processor holds up the others only while it has a share, and misses what they do meanwhile.
   OpenMP's own loops and barriers want every member in every phase, and there either sleep (too slow for phases of tens
   of microseconds) or spin (ruinous when another process has the core). */
#ifndef FMKIT_TEAM_H
#define FMKIT_TEAM_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum {
    SHARES = 2,      /* of a phase for each member, where there are others; more cost an idle machine speed */
    SHARE_BITS = 24, /* of a number that names a phase and a share */
    SPIN = 30000,    /* nanoseconds of waiting before sleep: longer than most shares take */
    PAUSES = 32,     /* between two looks at the clock: from a tenth of a microsecond to two */
    APART = 128      /* bytes between what different members write often: two cache lines, which are fetched together */
};

typedef struct {
    uint64_t next; /* phase << SHARE_BITS | share: what is claimed next, nothing where there is no such share */
    char apart[APART - sizeof(uint64_t)];
} team_queue;

typedef struct {
    int64_t phases;
    int members, each; /* of the team; shares for each of them */
    team_queue *queues; /* of the members */
    char apart[APART];
    int64_t done;       /* shares of the phase */
    char apart_too[APART];
    int64_t phase;      /* the one under way, as far as those who wait for the next one know */
    int asleep;         /* members */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the phase */
} team_work;

typedef struct {
    int number;    /* of the member, from 0 */
    int64_t phase; /* of the share that it has claimed */
    int share;     /* which one, of all shares of the phase */
    int64_t done;  /* shares of the phase that are done and not yet told */
} team_member;

static inline int has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void team_offer(team_work *work, int64_t phase) {
    uint64_t first = (uint64_t)phase << SHARE_BITS | (phase == work->phases ? work->each : 0);
    for (int n = 0; n < work->members; n++) __atomic_store_n(&work->queues[n].next, first, __ATOMIC_RELEASE);
    __atomic_store_n(&work->phase, phase, __ATOMIC_SEQ_CST);
}

/* queues: room for one for each member. */
static inline void team_open(team_work *work, int64_t phases, int members, team_queue *queues) {
    work->phases = phases;
    work->members = members;
    work->each = members == 1 ? 1 : SHARES;
    work->queues = queues;
    work->done = 0;
    work->asleep = 0;
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->changed, NULL);
    team_offer(work, 0);
}

static inline void team_close(team_work *work) {
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->mutex);
}

static inline int64_t team_phase(team_work *work) { return __atomic_load_n(&work->phase, __ATOMIC_SEQ_CST); }

/* Wait until the phase is over. A member that counts as asleep looks at the phase again before it is, and whoever
   begins a phase looks for sleepers afterwards: one of them sees the other. */
static inline void team_wait(team_work *work, int64_t phase) {
    int64_t start = nanoseconds();
    do {
        for (int pause = 0; pause < PAUSES; pause++) {
            if (team_phase(work) != phase) return;
            relax();
        }
    } while (nanoseconds() - start < SPIN);
    pthread_mutex_lock(&work->mutex);
    __atomic_add_fetch(&work->asleep, 1, __ATOMIC_SEQ_CST);
    while (team_phase(work) == phase) pthread_cond_wait(&work->changed, &work->mutex);
    __atomic_sub_fetch(&work->asleep, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&work->mutex);
}

/* Tell of the shares that are done. Who tells of the last one begins the next phase, and wakes one sleeper: more would
   keep processors from the members at work where there are more of these than processors. */
static inline void team_tell(team_work *work, team_member *me) {
    int64_t told = me->done;
    me->done = 0;
    if (!told || __atomic_add_fetch(&work->done, told, __ATOMIC_ACQ_REL) < work->members * work->each) return;
    __atomic_store_n(&work->done, 0, __ATOMIC_RELAXED);
    team_offer(work, me->phase + 1);
    if (!__atomic_load_n(&work->asleep, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&work->mutex);
    pthread_mutex_unlock(&work->mutex);
    if (me->phase + 1 == work->phases) pthread_cond_broadcast(&work->changed);
    else pthread_cond_signal(&work->changed);
}

/* Claim a share of one's own, else of others; 0 where none is left. */
static inline int team_take(team_work *work, team_member *me) {
    const uint64_t share = (1u << SHARE_BITS) - 1, each = (uint64_t)work->each;
    for (int n = 0; n < work->members; n++) {
        int whose = (me->number + n) % work->members;
        uint64_t *queue = &work->queues[whose].next, next = __atomic_load_n(queue, __ATOMIC_RELAXED);
        if ((next & share) >= each) continue; /* to look disturbs its owner less than to add */
        next = __atomic_fetch_add(queue, 1, __ATOMIC_ACQ_REL);
        if ((next & share) >= each) continue;
        me->phase = (int64_t)(next >> SHARE_BITS);
        me->share = whose * work->each + (int)(next & share);
        return 1;
    }
    return 0;
}

/* The member's last share, if any, is done: claim the next one, waiting where there is none; 0 where all phases are
   over. A phase is over only when all its shares are told of, so those that are not are of the one under way. */
static inline int team_claim(team_work *work, team_member *me) {
    for (;;) {
        int64_t phase = team_phase(work);
        if (team_take(work, me)) {
            me->done++;
            return 1;
        }
        if (phase == work->phases) return 0;
        team_tell(work, me);
        team_wait(work, phase);
    }
}

#endif
