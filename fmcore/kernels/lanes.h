/* Eight floats at once, through the vector types that gcc and clang share: the compiler picks the instructions. */
#ifndef FMKIT_LANES_H
#define FMKIT_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 8
#define FMKIT_INLINE static inline __attribute__((always_inline))
#define FMKIT_CALLED static __attribute__((noinline)) /* so that its loop has all registers */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t lane_masks __attribute__((vector_size(LANES * sizeof(int32_t)))); /* what comparing lanes gives */

FMKIT_INLINE lanes lanes_zero(void) { return (lanes){0}; }

FMKIT_INLINE lanes lanes_load(const float *from) {
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* The first `count` lanes from memory, the rest zero. */
FMKIT_INLINE lanes lanes_load_part(const float *from, int count) {
    lanes v = lanes_zero();
    for (int i = 0; i < count; i++) v[i] = from[i];
    return v;
}

FMKIT_INLINE void lanes_store(float *to, lanes v) { memcpy(to, &v, sizeof v); }

/* Loops over an array, which both compilers turn into one instruction where there is one. */
FMKIT_INLINE lanes lanes_sqrt(lanes v) {
    float x[LANES];
    memcpy(x, &v, sizeof x);
    for (int i = 0; i < LANES; i++) x[i] = sqrtf(x[i]);
    return lanes_load(x);
}

/* `a` where the mask is all ones, `b` where it is 0. */
FMKIT_INLINE lanes lanes_choose(lane_masks mask, lanes a, lanes b) {
    return (lanes)((mask & (lane_masks)a) | (~mask & (lane_masks)b));
}

/* Into [-limit, limit]; a NaN stays one. By masks: from a loop over an array gcc makes a branch for each lane. */
FMKIT_INLINE lanes lanes_clip(lanes v, float limit) {
    lanes high = lanes_zero() + limit;
    v = lanes_choose(v > high, high, v);
    return lanes_choose(v < -high, -high, v);
}

FMKIT_INLINE float lanes_sum(lanes v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

#endif
