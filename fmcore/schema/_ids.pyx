"""Ids of 64 bits, without the GIL: their bits mixed, a growing table id -> index, a search among sorted mixed ids.

Mixed: the first number of SplitMix64 whose state is the id (Steele, Lea and Flood, Fast splittable pseudorandom number
generators, OOPSLA 2014). That is a bijection, and close to random: a hash, and even spacing for a search.
"""
import numpy as np

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from *:
    """
    #define FM_ID_GAMMA 0x9e3779b97f4a7c15ULL
    #define FM_ID_MIX_1 0xbf58476d1ce4e5b9ULL
    #define FM_ID_MIX_2 0x94d049bb133111ebULL
    #define FM_ID_UNMIX_1 0x96de1b173f119089ULL /* the inverses of the two, modulo 2**64 */
    #define FM_ID_UNMIX_2 0x319642b2d24d8ec3ULL
    #define fm_id_prefetch(place) __builtin_prefetch(place)
    """
    const uint64_t GAMMA "FM_ID_GAMMA"
    const uint64_t MIX_1 "FM_ID_MIX_1"
    const uint64_t MIX_2 "FM_ID_MIX_2"
    const uint64_t UNMIX_1 "FM_ID_UNMIX_1"
    const uint64_t UNMIX_2 "FM_ID_UNMIX_2"
    void prefetch "fm_id_prefetch"(const void* place) noexcept nogil

cdef enum:
    FIRST_SLOTS = 1024
    AHEAD = 16  # ids between a prefetch and its use
    EMPTY = -1
    STEPS = 2  # of interpolation, which come within some ten places of millions of ids


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    x += GAMMA
    x = (x ^ (x >> 30)) * MIX_1
    x = (x ^ (x >> 27)) * MIX_2
    return x ^ (x >> 31)


cdef inline uint64_t unmixed(uint64_t x) noexcept nogil:
    x = (x ^ (x >> 31) ^ (x >> 62)) * UNMIX_2
    x = (x ^ (x >> 27) ^ (x >> 54)) * UNMIX_1
    return (x ^ (x >> 30) ^ (x >> 60)) - GAMMA


def mix(const uint64_t[::1] ids):
    """Return the mixed ids, uint64."""
    cdef int64_t i, count = ids.shape[0]
    cdef uint64_t[::1] out = np.empty(count, np.uint64)
    with nogil:
        for i in range(count):
            out[i] = mixed(ids[i])
    return out.base


def unmix(const uint64_t[::1] keys):
    """Return the ids whose mixed ones are given."""
    cdef int64_t i, count = keys.shape[0]
    cdef uint64_t[::1] out = np.empty(count, np.uint64)
    with nogil:
        for i in range(count):
            out[i] = unmixed(keys[i])
    return out.base


def hashed(const uint64_t[::1] ids, int bits):
    """Return the mixed ids modulo 2**bits, int32."""
    cdef int64_t i, count = ids.shape[0]
    cdef uint64_t mask = (1ULL << bits) - 1
    cdef int32_t[::1] out = np.empty(count, np.int32)
    with nogil:
        for i in range(count):
            out[i] = <int32_t> (mixed(ids[i]) & mask)
    return out.base


cdef inline int64_t clipped(int64_t place, int64_t size) noexcept nogil:
    return 0 if place < 0 else size - 1 if place >= size else place


cdef int64_t place_of(const uint64_t* keys, int64_t size, uint64_t key) noexcept nogil:
    """Return the first place whose key is not below the given one, of `size` (at least 1) keys in ascending order."""
    cdef double slope = <double> size / 18446744073709551616.0  # 2**64: keys are spread evenly
    cdef int64_t place = clipped(<int64_t> (<double> key * slope), size), width = 1, low, high
    cdef int _step
    for _step in range(STEPS):
        place = clipped(place + <int64_t> ((<double> key - <double> keys[place]) * slope), size)
    if keys[place] < key:
        low = high = place + 1
        while high < size and keys[high] < key:
            low, high, width = high + 1, high + width, 2 * width
        high = min(high, size)
    else:
        low, high = place - 1, place
        while low >= 0 and keys[low] >= key:
            high, low, width = low, low - width, 2 * width
        low = max(low + 1, <int64_t> 0)
    while low < high:
        place = low + (high - low) // 2
        if keys[place] < key:
            low = place + 1
        else:
            high = place
    return low


def search(const uint64_t[::1] keys, const int32_t[::1] indices, const uint64_t[::1] ids):
    """Return the index of each id, int32; -1 where it is unknown.

    keys: mixed ids in ascending order, in memory or mapped, of which a look-up touches a few pages. indices: theirs.
    """
    cdef int64_t i, count = ids.shape[0], size = keys.shape[0], place
    cdef uint64_t key
    cdef int32_t[::1] out = np.full(count, EMPTY, np.int32)
    if size == 0:
        return out.base
    with nogil:
        for i in range(count):
            key = mixed(ids[i])
            place = place_of(&keys[0], size, key)
            if place < size and keys[place] == key:
                out[i] = indices[place]
    return out.base


@cython.final
cdef class IdTable:
    """Ids numbered in the order in which they are added.

    Slots hold indices, and `ids` the id of each index: half the memory of slots that hold both, and frequent ids, which
    come early, lie close together.
    """

    cdef int32_t[::1] slots  # as many as a power of two
    cdef uint64_t[::1] held
    cdef readonly int64_t size

    def __init__(self, const uint64_t[::1] ids=np.empty(0, np.uint64)):
        """Begin with ids, each of which comes once."""
        self.size = ids.shape[0]
        self.held = np.empty(max(self.size, FIRST_SLOTS), np.uint64)
        self.held.base[:self.size] = ids
        self.rehash()

    @property
    def ids(self):
        """Return the ids by index, uint64."""
        return self.held.base[:self.size]

    @property
    def nbytes(self):
        """Return the bytes that it takes."""
        return self.slots.base.nbytes + self.held.base.nbytes

    cdef rehash(self):
        """Make so many slots that at most three in eight are taken, and fill them."""
        cdef int64_t slots = FIRST_SLOTS, i
        while 3 * slots < 8 * self.size:
            slots *= 2
        self.slots = np.full(slots, EMPTY, np.int32)
        with nogil:
            for i in range(self.size):
                if i + AHEAD < self.size:
                    prefetch(&self.slots[mixed(self.held[i + AHEAD]) & <uint64_t> (slots - 1)])
                self.slots[self.slot_of(self.held[i])] = <int32_t> i

    cdef inline int64_t slot_of(self, uint64_t id) noexcept nogil:
        """Return the slot of an id, or the empty one that it would take."""
        cdef int64_t mask = self.slots.shape[0] - 1
        cdef int64_t slot = <int64_t> mixed(id) & mask
        while self.slots[slot] != EMPTY and self.held[self.slots[slot]] != id:
            slot = (slot + 1) & mask
        return slot

    cdef int64_t run(self, const uint64_t* ids, int64_t first, int64_t count, int64_t most, int32_t* out) \
            noexcept nogil:
        """Look up ids from number `first` on, and add those that are new; return where it stopped for lack of room."""
        cdef int64_t i, slot, mask = self.slots.shape[0] - 1
        for i in range(first, count):
            if i + AHEAD < count:
                prefetch(&self.slots[<int64_t> mixed(ids[i + AHEAD]) & mask])
            slot = self.slot_of(ids[i])
            if self.slots[slot] == EMPTY and self.size < most:
                if self.size == self.held.shape[0] or 4 * self.size >= 3 * self.slots.shape[0]:
                    return i
                self.held[self.size] = ids[i]
                self.slots[slot] = <int32_t> self.size
                self.size += 1
            out[i] = self.slots[slot]
        return count

    def add(self, const uint64_t[::1] ids, int64_t most):
        """Return the index of each id, int32, adding the new ones up to a size of `most`; -1 beyond it."""
        cdef int64_t count = ids.shape[0], done = 0
        cdef int32_t[::1] out = np.empty(count, np.int32)
        while done < count:
            with nogil:
                done = self.run(&ids[0], done, count, most, &out[0])
            if done < count:
                self.grow()
        return out.base

    cdef grow(self):
        if self.size == self.held.shape[0]:
            self.held = np.concatenate([self.held.base, np.empty(self.size, np.uint64)])
        if 4 * self.size >= 3 * self.slots.shape[0]:
            self.rehash()

    def find(self, const uint64_t[::1] ids):
        """Return the index of each id, int32; -1 where it is unknown. May be called in several threads at once."""
        cdef int64_t count = ids.shape[0]
        cdef int32_t[::1] out = np.empty(count, np.int32)
        if count:
            with nogil:
                self.run(&ids[0], 0, count, self.size, &out[0])
        return out.base
