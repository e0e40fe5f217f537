/* The hash of a categorical value, numbers read from where they lie, and hints to the processor. */
#ifndef FMKIT_TEXTHASH_H
#define FMKIT_TEXTHASH_H

#include <stdint.h>
#include <string.h>

/* Numbers are read byte by byte where a processor wants that: arrays mapped from a file may lie anywhere. */
static inline uint64_t read_64(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t read_32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint16_t read_16(const unsigned char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Fold the product of two numbers of 64 bits: its upper half xor its lower one. */
static inline uint64_t folded(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
#else
    uint64_t a1 = a >> 32, a0 = (uint32_t)a, b1 = b >> 32, b0 = (uint32_t)b;
    uint64_t low = a0 * b0, left = a1 * b0, right = a0 * b1;
    uint64_t middle = (low >> 32) + (uint32_t)left + (uint32_t)right;
    return (a1 * b1 + (left >> 32) + (right >> 32) + (middle >> 32)) ^ ((middle << 32) | (uint32_t)low);
#endif
}

/* Hash a text of a column. Model files depend on it: it never changes.
 *
 * Sixteen bytes at a time are multiplied and folded, as in wyhash (Wang Yi, https://github.com/wangyi-fudan/wyhash, which
 * passes SMHasher; the multiplication is V. Makarov's, https://github.com/vnmakarov/mum-hash). The constants are
 * wyhash's. A factor becomes 0, which would lose the other one, only for bytes that are no UTF-8.
 */
static inline uint64_t text_hash(uint32_t column, const unsigned char *text, int64_t size) {
    const uint64_t one = 0xa0761d6478bd642fu, two = 0xe7037ed1a0b428dbu, three = 0x8ebc6af09c88c6e3u;
    uint64_t state = folded(column ^ one, two), a = 0, b = 0;
    int64_t left = size;
    for (; left > 16; left -= 16, text += 16) {
        state = folded(read_64(text) ^ two, read_64(text + 8) ^ state);
    }
    if (left >= 8) { /* the last bytes in two pieces that may overlap */
        a = read_64(text);
        b = read_64(text + left - 8);
    } else if (left >= 4) {
        a = read_32(text);
        b = read_32(text + left - 4);
    } else if (left > 0) {
        a = (uint64_t)text[0] << 16 | (uint64_t)text[left / 2] << 8 | text[left - 1];
    }
    return folded(three ^ (uint64_t)size, folded(a ^ two, b ^ state));
}

static inline void prefetch(const void *at) { __builtin_prefetch(at); }

#endif
