/* A team of threads that goes through phases of work. A phase is a share for each member, who does its own and then
   those that others have not begun; the next phase begins when the last share is done. So a member that has lost its
   processor holds up the others only while it has a share, and misses what they do meanwhile; and while all have
   processors, each steps the same features again and again, which stay in its caches. Several smaller shares for each
   member, of which others could take more, cost up to 6 % of an idle machine's speed and gained 4 % beside busy
   processes. OpenMP's own loops and barriers need every member in every phase, and either sleep there (too slow for
   phases of tens of microseconds) or spin (ruinous when another process has the core). */
#ifndef FMKIT_TEAM_H
#define FMKIT_TEAM_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    SPIN = 30000, /* nanoseconds of waiting before sleep: longer than most shares take */
    PAUSES = 32,  /* between two looks at the clock: from a tenth of a microsecond to two */
    APART = 128   /* bytes between what different members write often: two cache lines, which are fetched together */
};

typedef struct {
    int64_t phase; /* the first one in which nobody has claimed it */
    char apart[APART - sizeof(int64_t)];
} team_share;

typedef struct {
    int64_t phases;
    int members;
    team_share *shares; /* of the members */
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
    int share;     /* whose share that is */
    int64_t done;  /* shares of the phase that are done and not yet reported */
} team_member;

static inline int has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* Return the number of this thread in its parallel region, from 0. */
static inline int thread_number(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
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

/* shares: room for one for each member. */
static inline void team_open(team_work *work, int64_t phases, int members, team_share *shares) {
    work->phases = phases;
    work->members = members;
    work->shares = shares;
    for (int n = 0; n < members; n++) shares[n].phase = 0;
    work->done = work->phase = 0;
    work->asleep = 0;
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->changed, NULL);
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

/* Report the shares that are done. Who reports the last one begins the next phase, and wakes one sleeper: more would
   keep processors from the members at work where there are more of these than processors. */
static inline void team_report(team_work *work, team_member *me) {
    int64_t done = me->done;
    me->done = 0;
    if (!done || __atomic_add_fetch(&work->done, done, __ATOMIC_ACQ_REL) < work->members) return;
    __atomic_store_n(&work->done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&work->phase, me->phase + 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&work->asleep, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&work->mutex);
    pthread_mutex_unlock(&work->mutex);
    if (me->phase + 1 == work->phases) pthread_cond_broadcast(&work->changed);
    else pthread_cond_signal(&work->changed);
}

/* Claim the member's own share of a phase, else that of another; 0 where none is left. */
static inline int team_take(team_work *work, team_member *me, int64_t phase) {
    for (int n = 0; n < work->members; n++) {
        int whose = (me->number + n) % work->members;
        int64_t *next = &work->shares[whose].phase, free = phase;
        if (__atomic_load_n(next, __ATOMIC_RELAXED) != phase) continue; /* reading disturbs its owner less */
        if (!__atomic_compare_exchange_n(next, &free, phase + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
        me->phase = phase;
        me->share = whose;
        return 1;
    }
    return 0;
}

/* The member's last share, if any, is done: claim the next one, waiting where there is none; 0 where all phases are
   over. A phase is over only when all its shares are reported, so those that are not are of the one under way. */
static inline int team_claim(team_work *work, team_member *me) {
    for (;;) {
        int64_t phase = team_phase(work);
        if (phase == work->phases) return 0;
        if (team_take(work, me, phase)) {
            me->done++;
            return 1;
        }
        team_report(work, me);
        team_wait(work, phase);
    }
}

#endif
