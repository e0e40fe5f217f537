/* A team of threads that goes through phases of work. A phase is a number of shares, claimed one by one by whoever is
   free; the next phase begins when the last share is done. So a member that has lost its processor holds up the others
   only while it has a share, and misses what they do meanwhile. OpenMP's own loops and barriers want every member in
   every phase, and there either sleep (too slow for phases of tens of microseconds) or spin (ruinous when another
   process has the core). */
#ifndef FMKIT_TEAM_H
#define FMKIT_TEAM_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum {
    SHARES = 4,      /* of a phase for each member of the team */
    SHARE_BITS = 24, /* of a number that names a phase and a share */
    SPIN = 30000,    /* nanoseconds of waiting before sleep: longer than most shares take */
    PAUSES = 32      /* between two looks at the clock: from a tenth of a microsecond to two */
};

typedef struct {
    int64_t phases, shares; /* of each phase */
    uint64_t next;          /* phase << SHARE_BITS | share: what is claimed next, nothing where the share is too high */
    int64_t done;           /* shares of the phase */
    int asleep;             /* members */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the phase */
} team_work;

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

static inline void team_open(team_work *work, int64_t phases, int64_t shares) {
    work->phases = phases;
    work->shares = shares;
    work->next = 0;
    work->done = 0;
    work->asleep = 0;
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->changed, NULL);
}

static inline void team_close(team_work *work) {
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->mutex);
}

static inline int64_t team_phase(team_work *work) {
    return (int64_t)(__atomic_load_n(&work->next, __ATOMIC_SEQ_CST) >> SHARE_BITS);
}

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

/* Claim a share, waiting where there is none; 0 where all phases are over. */
static inline int team_claim(team_work *work, int64_t *phase, int64_t *share) {
    for (;;) {
        uint64_t next = __atomic_fetch_add(&work->next, 1, __ATOMIC_ACQ_REL);
        *phase = (int64_t)(next >> SHARE_BITS);
        *share = (int64_t)(next & ((1u << SHARE_BITS) - 1));
        if (*phase == work->phases) return 0;
        if (*share < work->shares) return 1;
        team_wait(work, *phase);
    }
}

/* Give back a claimed share that is done. The last one begins the next phase, and wakes one sleeper: more would keep
   processors from the members at work where there are more of these than processors. */
static inline void team_done(team_work *work, int64_t phase) {
    if (__atomic_add_fetch(&work->done, 1, __ATOMIC_ACQ_REL) < work->shares) return;
    __atomic_store_n(&work->done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&work->next, (uint64_t)(phase + 1) << SHARE_BITS, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&work->asleep, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&work->mutex);
    pthread_mutex_unlock(&work->mutex);
    if (phase + 1 == work->phases) pthread_cond_broadcast(&work->changed);
    else pthread_cond_signal(&work->changed);
}

#endif
