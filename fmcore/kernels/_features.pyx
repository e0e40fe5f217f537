# The instructions that the processor has, by which the right build of the kernels is imported.
cdef extern from *:
    """
    #if defined(__x86_64__)
    static int has_level_3(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    }
    #else
    static int has_level_3(void) { return 0; }
    #endif
    """
    int has_level_3()


def level_3():
    """Return whether the processor runs x86-64-v3.

    That is AVX2 and FMA; every processor that has these has the level's smaller parts.
    """
    return bool(has_level_3())
