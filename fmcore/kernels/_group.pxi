# The non-zeros of each mini-batch by feature: which features one row alone holds, and the rows of all others.


cdef struct Pair:
    uint32_t feature
    uint32_t number  # of the feature among those of its mini-batch, in the order of their first non-zeros


cdef struct Seen:
    int32_t count    # of the feature's non-zeros
    int32_t next     # where the next of them goes


cdef struct Slot:            # of a hash table of features
    uint64_t key             # stamp of the mini-batch << 32 | feature
    uint64_t number


cdef struct Scratch:         # of one thread, for one mini-batch at a time
    Slot *table              # (mask + 1,)
    uint32_t mask
    int shift                # of a hash to the table's size
    uint64_t stamp
    int32_t *number_of       # of each non-zero's feature
    Seen *seen               # by number
    Pair *pairs
    Pair *spare
    uint32_t *digits         # (1 << DIGIT,)


cdef struct Grouped:         # where the results go
    int32_t *indices         # of each row: those that others hold too, then those that it alone holds
    float *values            # NULL: every value is 1
    int32_t *shared          # how many are the former, for each row
    int32_t *features
    int32_t *ends
    void *rows               # int32 where wide, else uint16
    float *pair_values
    bint wide


cdef enum:
    DIGIT = 11  # bits that one pass of the sort looks at


cdef Pair *sort_by_feature(Pair *pairs, Pair *spare, int64_t n, int bits, uint32_t *counts) noexcept nogil:
    """Stable radix sort by feature; returns whichever buffer the result ended in."""
    cdef int passes = (bits + DIGIT - 1) // DIGIT, digit, shift, turn
    cdef int64_t j
    cdef uint32_t total, here
    cdef Pair *other
    if passes == 0:
        return pairs
    digit = (bits + passes - 1) // passes
    for turn in range(passes):
        shift = turn * digit
        memset(counts, 0, sizeof(uint32_t) << digit)
        for j in range(n):
            counts[(pairs[j].feature >> shift) & ((1 << digit) - 1)] += 1
        total = 0
        for j in range(1 << digit):
            here = counts[j]
            counts[j] = total
            total += here
        for j in range(n):
            here = (pairs[j].feature >> shift) & ((1 << digit) - 1)
            spare[counts[here]] = pairs[j]
            counts[here] += 1
        other = pairs
        pairs = spare
        spare = other
    return pairs


cdef int64_t number_features(Scratch *s, const int32_t *indices, int64_t n) noexcept nogil:
    """Give each distinct feature a number and count its non-zeros; returns how many there are."""
    cdef int64_t j
    cdef int32_t distinct = 0
    cdef uint32_t at
    cdef uint64_t key
    cdef Slot *slot
    s.stamp += 1
    for j in range(n):
        key = s.stamp << 32 | <uint32_t>indices[j]
        at = (<uint32_t>indices[j] * 2654435769u) >> s.shift
        slot = &s.table[at]
        while slot.key != key:
            if slot.key >> 32 != s.stamp:  # left by an earlier mini-batch
                slot.key, slot.number = key, distinct
                s.seen[distinct].count = 0
                s.pairs[distinct].feature, s.pairs[distinct].number = <uint32_t>indices[j], <uint32_t>distinct
                distinct += 1
                break
            at = (at + 1) & s.mask
            slot = &s.table[at]
        s.seen[slot.number].count += 1
        s.number_of[j] = <int32_t>slot.number
    return distinct


cdef int64_t place_features(Scratch *s, int64_t distinct, int64_t begin, int bits, int32_t *features,
                            int32_t *ends) noexcept nogil:
    """Write the shared features in rising order and where their pairs end, the first of which stands at `begin`.

    Pairs of the others come behind these, for nobody to read: so every non-zero has a place, and no loop a branch.
    """
    cdef int64_t j, shared = 0, at = begin
    cdef Pair *done
    cdef Pair pair
    for j in range(distinct):
        pair = s.pairs[j]
        s.pairs[shared] = pair
        shared += s.seen[pair.number].count > 1
    done = sort_by_feature(s.pairs, s.spare, shared, bits, s.digits)
    for j in range(shared):
        s.seen[done[j].number].next = <int32_t>at
        at += s.seen[done[j].number].count
        features[j], ends[j] = <int32_t>done[j].feature, <int32_t>at
    for j in range(distinct):
        if s.seen[j].count == 1:
            s.seen[j].next = <int32_t>at
            at += 1
    return shared


cdef void place_rows(const Scratch *s, const Rows *rows, int64_t first, int64_t last, Grouped *out) noexcept nogil:
    """Write each row's indices with those that it alone holds last, and the pairs of its features."""
    cdef int64_t row, j, begin = rows.indptr[first], front, back, target
    cdef int32_t position
    cdef Seen *seen
    cdef bint lone
    for row in range(first, last):
        front, back = rows.indptr[row], rows.indptr[row + 1] - 1
        for j in range(rows.indptr[row], rows.indptr[row + 1]):
            seen = &s.seen[s.number_of[j - begin]]
            lone = seen.count == 1
            target = back if lone else front
            front += 1 - lone
            back -= lone
            out.indices[target] = rows.indices[j]
            position = seen.next
            seen.next = position + 1
            if out.wide:
                (<int32_t *>out.rows)[position] = <int32_t>(row - first)
            else:
                (<uint16_t *>out.rows)[position] = <uint16_t>(row - first)
            if out.values != NULL:
                out.values[target] = out.pair_values[position] = rows.values[j]
        out.shared[row] = <int32_t>(front - rows.indptr[row])


cdef int64_t group_mini_batch(Scratch *s, const Rows *rows, int64_t first, int64_t last, int bits,
                              Grouped *out) noexcept nogil:
    """Group the rows first .. last; returns how many features more than one non-zero has."""
    cdef int64_t begin = rows.indptr[first], n = rows.indptr[last] - begin, shared
    shared = place_features(s, number_features(s, rows.indices + begin, n), begin, bits,
                            out.features + begin // 2, out.ends + begin // 2)
    place_rows(s, rows, first, last, out)
    return shared


cdef class Workspace:
    """Memory of one thread for mini-batches of at most so many non-zeros and distinct features."""
    cdef Scratch scratch
    cdef object held

    def __init__(self, int64_t non_zeros, int64_t features):
        cdef int bits = max(1, int(3 * features // 2).bit_length())
        cdef uint64_t[:, ::1] table = np.zeros((1 << bits, 2), np.uint64)
        cdef int32_t[::1] number_of = np.empty(non_zeros, np.int32)
        cdef uint64_t[:, ::1] rest = np.empty((3, features), np.uint64)
        cdef uint32_t[::1] digits = np.empty(1 << DIGIT, np.uint32)
        self.held = table, number_of, rest, digits
        self.scratch.table, self.scratch.number_of = <Slot *>&table[0, 0], &number_of[0]
        self.scratch.mask, self.scratch.shift, self.scratch.stamp = (1 << bits) - 1, 32 - bits, 0
        self.scratch.seen, self.scratch.pairs = <Seen *>&rest[0, 0], <Pair *>&rest[1, 0]
        self.scratch.spare, self.scratch.digits = <Pair *>&rest[2, 0], &digits[0]


def group(batch, const int64_t[::1] starts, int threads):
    """Group the non-zeros of every mini-batch (rows starts[m] .. starts[m + 1]) by feature.

    Returns (indices, values, shared, bounds, features, ends, rows, pair values).
    indices int32, values float32 or None: the batch's, each row's in two parts: the first shared[row] (int32) are of
    features that have another non-zero in the mini-batch, the rest of features that have none.
    bounds int64 (mini-batches + 1,): mini-batch m has the shared features bounds[m] .. bounds[m + 1], rising.
    features int32, ends int32: pairs of the first feature of a mini-batch begin where its non-zeros do; those of
    feature u end at ends[u], where those of u + 1 begin. A pair is a row, counted within its mini-batch, uint16 or,
    in wide mini-batches, int32, and a value, float32, or None for all.
    """
    cdef int64_t batches = starts.shape[0] - 1, n = len(batch.indices), m, largest = 0, widest = 0
    cdef Rows rows = rows_of(batch.indptr, batch.indices, batch.values)
    cdef int bits = int(batch.indices.max()).bit_length() if n else 0
    cdef Grouped out
    for m in range(batches):
        largest = max(largest, rows.indptr[starts[m + 1]] - rows.indptr[starts[m]])
        widest = max(widest, starts[m + 1] - starts[m])
    out.wide = widest > 1 << 16
    cdef int32_t[::1] indices = np.empty(n + 1, np.int32), shared = np.empty(len(batch), np.int32)
    cdef int32_t[::1] features = np.empty(n // 2 + 1, np.int32), ends = np.empty(n // 2 + 1, np.int32)
    pair_rows = np.empty(n + 1, np.int32 if out.wide else np.uint16)
    cdef uint8_t[::1] pair_bytes = pair_rows.view(np.uint8)
    cdef float[:, ::1] valued = np.empty((2, 1 if batch.values is None else n + 1), np.float32)
    cdef int64_t[::1] distinct = np.zeros(batches + 1, np.int64)
    out.indices, out.shared, out.features, out.ends = &indices[0], &shared[0], &features[0], &ends[0]
    out.rows, out.values, out.pair_values = &pair_bytes[0], NULL, NULL
    if batch.values is not None:
        out.values, out.pair_values = &valued[0, 0], &valued[1, 0]
    spaces = [Workspace(max(1, largest), max(1, min(largest, <int64_t>1 << bits))) for _ in range(threads)]
    cdef Py_ssize_t[::1] scratches = np.array([<Py_ssize_t>&(<Workspace>space).scratch for space in spaces], np.intp)
    for m in prange(batches, nogil=True, num_threads=threads, schedule="dynamic", chunksize=16):
        distinct[m + 1] = group_mini_batch(
            <Scratch *>scratches[threadid()], &rows, starts[m], starts[m + 1], bits, &out)
    bounds = np.cumsum(distinct)
    pick = np.asarray(batch.indptr)[np.asarray(starts)[:batches]] // 2 - bounds[:batches]
    pick = np.repeat(pick, np.diff(bounds)) + np.arange(bounds[batches])
    values = None if batch.values is None else np.asarray(valued)
    return (np.asarray(indices)[:n], values if values is None else values[0, :n], np.asarray(shared), bounds,
            np.asarray(features)[pick], np.asarray(ends)[pick], pair_rows[:n],
            values if values is None else values[1, :n])
