"""The arrays of a `ValueTable` and what searches them; see values.py, which describes them.

Every search goes over several texts at once, step by step, so that the memory which one step needs is on its way while
it is done for the others. Whatever the arrays hold, nothing is read outside of them.
"""
import numpy as np

from fmcore.errors import DataError, ModelError
from fmcore.rows.batch import MAX_FEATURE_DIM

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t
from libc.string cimport memcpy

include "fmcore/schema/_search.pxi"

LEAST_ROOM = 64  # entries of the first slots
WIDE_TEXT = 1 << 32  # bytes of all texts from which their ends take 8 bytes each
OUTSIDE = "damaged: the list of categorical values names places outside of itself; take another copy of the model"


def slot_count(int64_t entries):
    """Return how many slots these entries take: they fill three quarters."""
    return entries + entries // 3 + 1


def larger(array, used, size):
    """Return an array of this size that begins with the used part of another."""
    made = np.empty(size, array.dtype)
    made[:used] = array[:used]
    return made


cdef class ValueArrays:
    """Texts, their ends, their columns and the slots, each as a NumPy array, of which entries use the first part.

    Arrays that were handed out are never written to where entries lie: those that follow go behind them, or into larger
    arrays. So those given to the constructor may be read-only.
    """

    cdef readonly object texts, ends, columns, slots
    cdef const uint8_t[::1] _texts, _ends, _columns, _slots  # their bytes
    cdef int64_t room  # entries that the slots are made for
    cdef bint fitted  # see `fit`
    cdef Table table

    def __init__(self, texts, ends, columns, slots):
        self._hold(texts, ends, columns)
        self.table.size, self.table.count = len(texts), len(ends)
        self._hold_slots(slots, self.table.count)
        self.fitted = True

    def __len__(self):
        return self.table.count

    @property
    def size(self):
        """Return the bytes of all texts."""
        return self.table.size

    def find(self, uint32_t column, list texts not None):
        """Return the index of each text (str or bytes) of a column: int32, -1 where it is not listed."""
        cdef Py_ssize_t first, i, total = PyList_GET_SIZE(texts)
        cdef int32_t[::1] found = np.empty(total, np.int32)
        cdef Query queries[TOGETHER]
        cdef int count
        for first in range(0, total, TOGETHER):
            count = <int> min(TOGETHER, total - first)
            for i in range(count):
                take(<object> PyList_GET_ITEM(texts, first + i), &queries[i])
                queries[i].column = column
            search(&self.table, queries, count)
            for i in range(count):
                if queries[i].index == DAMAGED:
                    raise ModelError(OUTSIDE)
                found[first + i] = <int32_t> queries[i].index
        return found.base

    def add(self, uint32_t column, text):
        """Return the index of a text, which is appended where it is new."""
        cdef Query query
        query.column = column
        take_utf8(text, &query)
        self._extend(&query, 1)
        return query.index

    def extend(self, const uint32_t[::1] columns not None, list texts not None):
        """Return the index of each (column, text), those that are new appended in order: int32."""
        cdef Py_ssize_t first, i, total = PyList_GET_SIZE(texts)
        cdef int32_t[::1] indices = np.empty(total, np.int32)
        cdef Query queries[TOGETHER]
        cdef int count
        for first in range(0, total, TOGETHER):
            count = <int> min(TOGETHER, total - first)
            for i in range(count):
                take_utf8(<object> PyList_GET_ITEM(texts, first + i), &queries[i])
                queries[i].column = columns[first + i]
            self._extend(queries, count)
            for i in range(count):
                indices[first + i] = <int32_t> queries[i].index
        return indices.base

    cdef int _extend(self, Query* queries, int count) except -1:
        """Set the index of each query; append those that are new."""
        cdef int64_t size = 0
        cdef uint32_t largest = 0
        cdef int i
        for i in range(count):
            size += queries[i].size
            largest = max(largest, queries[i].column)
        search(&self.table, queries, count)
        for i in range(count):
            if queries[i].index == ABSENT:
                self._reserve(count, size, largest)
                self._append_absent(&queries[i])
            if queries[i].index == DAMAGED:
                raise ModelError(OUTSIDE)
        return 0

    def fit(self):
        """Make slots, ends and columns as small as their entries allow, which makes them equal for equal entries."""
        if self.fitted:
            return
        largest = self.columns[:self.table.count].max(initial=0)
        self._hold(self.texts, self.ends.astype(end_type(self.table.size), copy=False),
                   self.columns.astype(np.min_scalar_type(largest), copy=False))
        if self.room != self.table.count:
            self._fill_slots(self.table.count)
        self.fitted = True

    def taken(self, const int64_t[::1] indices not None):
        """Return new arrays of the entries at these indices, each of which is named once, in order."""
        cdef int64_t i, total = indices.shape[0], place = 0
        cdef uint64_t[::1] ends = np.empty(total, np.uint64)
        cdef uint8_t[::1] texts
        cdef Query entry
        for i in range(total):
            self._entry(indices[i], &entry)
            place += entry.size
            ends[i] = place
        texts = np.empty(place, np.uint8)
        place = 0
        for i in range(total):
            self._entry(indices[i], &entry)
            if entry.size > 0:
                memcpy(&texts[place], entry.text, entry.size)
            place += entry.size
        return ValueArrays.filled(texts.base, ends.base.astype(end_type(place)), self.columns[indices.base])

    @staticmethod
    def filled(texts, ends, columns):
        """Return arrays of these entries, with slots."""
        cdef ValueArrays made = ValueArrays(texts, ends, columns, np.zeros(slot_count(len(ends)), np.uint32))
        made._fill_slots(len(ends))
        made.fitted = False
        return made

    def decode(self, const int64_t[::1] indices not None):
        """Return the texts of entries as str. Raises UnicodeDecodeError where one is no UTF-8."""
        cdef Query entry
        cdef int64_t i
        found = []
        for i in range(indices.shape[0]):
            self._entry(indices[i], &entry)
            found.append(PyUnicode_DecodeUTF8(<const char*> entry.text, entry.size, NULL))
        return found

    cdef int _entry(self, int64_t index, Query* entry) except -1:
        """Set text and size of an entry; raise IndexError where there is none."""
        if not 0 <= index < self.table.count:
            raise IndexError(f"entry {index} of {self.table.count} categorical values")
        if not is_inside(&self.table, index, entry):
            raise ModelError(OUTSIDE)
        return 0

    cdef int _append_absent(self, Query* query) except -1:
        """Append a text which a search did not find, unless one before it in the same search was equal."""
        cdef Table* t = &self.table
        begin(t, query)
        next_candidate(t, query)
        finish(t, query)
        if query.index != ABSENT:
            return 0
        if t.count == MAX_FEATURE_DIM:
            raise DataError(f"more than {MAX_FEATURE_DIM:,} different categorical values; hash them with --hash-bits")
        if query.size > 0:
            memcpy(<uint8_t*> t.texts + t.size, query.text, query.size)
        t.size += query.size
        if t.end_width == 4:
            (<uint32_t*> t.ends)[t.count] = <uint32_t> t.size
        else:
            (<int64_t*> t.ends)[t.count] = t.size
        if t.column_width == 1:
            (<uint8_t*> t.columns)[t.count] = <uint8_t> query.column
        elif t.column_width == 2:
            (<uint16_t*> t.columns)[t.count] = <uint16_t> query.column
        else:
            (<uint32_t*> t.columns)[t.count] = query.column
        query.index = t.count
        (<uint32_t*> t.slots)[query.slot] = slot_of(t, query)
        t.count += 1
        self.fitted = False
        return 0

    cdef int _reserve(self, int64_t entries, int64_t size, uint32_t column) except -1:
        """Make room for more entries: so many, of so many bytes of text, of columns up to this one."""
        cdef int64_t used = self.table.size, count = self.table.count
        texts, ends, columns = self.texts, self.ends, self.columns
        if used + size > len(texts):
            texts = larger(texts, used, max(2 * used, used + size))
        if count + entries > len(ends):
            ends, columns = (larger(array, count, max(2 * count, count + entries)) for array in (ends, columns))
        if used + size >= WIDE_TEXT and self.table.end_width == 4:
            ends = ends.astype(np.int64)
        if <uint64_t> column >> 8 * self.table.column_width:
            columns = columns.astype(np.min_scalar_type(column))
        if not (texts is self.texts and ends is self.ends and columns is self.columns):
            self._hold(texts, ends, columns)
        if count + entries > self.room < MAX_FEATURE_DIM:
            self._fill_slots(max(LEAST_ROOM, 2 * self.room, count + entries))
        return 0

    cdef int _hold(self, texts, ends, columns) except -1:
        cdef const uint8_t[::1] text_bytes = texts, end_bytes = ends.view(np.uint8)
        cdef const uint8_t[::1] column_bytes = columns.view(np.uint8)
        self.texts, self.ends, self.columns = texts, ends, columns
        self._texts, self._ends, self._columns = text_bytes, end_bytes, column_bytes
        self.table.texts, self.table.ends, self.table.columns = &text_bytes[0], &end_bytes[0], &column_bytes[0]
        self.table.end_width, self.table.column_width = ends.itemsize, columns.itemsize
        return 0

    cdef int _hold_slots(self, slots, int64_t room) except -1:
        cdef const uint8_t[::1] slot_bytes = slots.view(np.uint8)
        self.slots, self._slots, self.room = slots, slot_bytes, room
        place_slots(&self.table, &slot_bytes[0], len(slots), room)
        return 0

    cdef int _fill_slots(self, int64_t room) except -1:
        """Place all entries in their order into new slots, made for so many entries."""
        cdef Query queries[TOGETHER]
        cdef Query* query
        cdef Table t = self.table
        cdef int64_t first, i
        room = min(room, MAX_FEATURE_DIM)
        slots = np.zeros(slot_count(room), np.uint32)
        cdef uint32_t[::1] filled = slots
        place_slots(&t, <const uint8_t*> &filled[0], len(slots), room)
        for first in range(0, t.count, TOGETHER):
            for i in range(first, min(first + TOGETHER, t.count)):
                query = &queries[i - first]
                self._entry(i, query)
                query.column, query.index = column_of(&t, i), i
                begin(&t, query)
            for i in range(first, min(first + TOGETHER, t.count)):
                query = &queries[i - first]
                while filled[query.slot] != 0:
                    query.slot = query.slot + 1 if query.slot + 1 < t.slot_count else 0
                filled[query.slot] = slot_of(&t, query)
        return self._hold_slots(slots, room)


def end_type(size):
    """Return the dtype of the ends of texts of so many bytes."""
    return np.dtype(np.uint32 if size < WIDE_TEXT else np.int64)
