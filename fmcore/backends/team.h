/* A team of threads: its size, and a barrier that spins briefly, then gives the processor away.
   OpenMP's own barrier either sleeps (too slow for phases of tens of microseconds) or spins (ruinous when
   another process has the core); which of the two is fixed by the environment before the program starts. */
#ifndef FMKIT_TEAM_H
#define FMKIT_TEAM_H

#include <sched.h>
#ifdef _OPENMP
#include <omp.h>
#endif

typedef struct {
    int arrived;
    int round;
} team_barrier;

static inline int team_size(void) {
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}

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

static inline void team_wait(team_barrier *barrier, int team) {
    if (team == 1) return;
    int round = __atomic_load_n(&barrier->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == team) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; spins++) {
        if (spins < 4000) relax();
        else sched_yield();
    }
}

#endif
