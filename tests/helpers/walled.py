"""Damaged tables of values between pages that cannot be touched: prints how many were refused, and how many not."""

import ctypes
import mmap
import sys

import numpy as np

from fmcore.errors import ModelError
from fmcore.schema.values import ValueTable

PAGE = mmap.PAGESIZE
NOTHING, READ, READ_AND_WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
WIDE = np.array([0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1], np.uint64)


class Walled:
    """Memory of an array between two pages that end the process which touches them."""

    def __init__(self, array, *, at_the_end):
        self.size = max(1, -(-array.nbytes // PAGE)) * PAGE
        self.pages = mmap.mmap(-1, self.size + 2 * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        self.protect(0, PAGE, NOTHING)
        self.protect(PAGE + self.size, PAGE, NOTHING)
        begin = PAGE + (self.size - array.nbytes if at_the_end else 0)
        self.array = np.frombuffer(self.pages, np.uint8, array.nbytes, begin).view(array.dtype)

    def protect(self, begin, size, what):
        """Set what may be done with pages."""
        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.mprotect(ctypes.c_void_p(self.address + begin), ctypes.c_size_t(size), what)
        assert done == 0, ctypes.get_errno()

    def filled(self, array):
        """Return the memory with these numbers, read-only."""
        self.protect(PAGE, self.size, READ_AND_WRITE)
        self.array[:] = array
        self.protect(PAGE, self.size, READ)
        return self.array


def damaged(array, random):
    """Return a copy in which some numbers are others: any, extreme or near ones, or those of other places."""
    array = array.copy()
    for _ in range(int(random.integers(0, 4))):
        places = random.integers(0, len(array), int(random.choice([1, 3, len(array)])))
        kind = random.integers(0, 4)
        if kind == 0:
            array[places] = random.integers(0, 1 << 8 * array.itemsize, len(places), np.uint64).astype(array.dtype)
        elif kind == 1:
            array[places] = random.choice(WIDE, len(places)).astype(array.dtype)
        elif kind == 2:
            array[places] ^= random.integers(0, 128, len(places)).astype(array.dtype)
        else:
            array[places] = array[random.permutation(places)]
    return array


def is_refused(work):
    """Do something; return whether it was refused."""
    try:
        work()
    except ModelError:
        return True
    return False


def use(arrays, texts):
    """Do all that a table of these arrays can; return whether any of it was refused."""
    try:
        table = ValueTable.from_tensors(arrays)
    except ModelError:
        return True
    works = (
        lambda: table.find(1, texts),
        lambda: table.find(2, texts),
        lambda: list(table.entries()),
        lambda: [table.entry(index) for index in range(len(table))],
        table.digest,
        lambda: table.digest(len(table) // 2),
        lambda: table.subset(np.arange(len(table)) % 2 == 0),
        lambda: table.extend(1, texts),
        lambda: table.find(1, texts),
        table.tensors,
    )
    return sum(map(is_refused, works)) > 0


def open_unread(walls, arrays):
    """Open a table of which only the last page of the ends can be read: any other access ends the process."""
    given = {name: wall.filled(arrays[name]) for name, wall in walls.items()}
    for name, wall in walls.items():
        wall.protect(PAGE, wall.size - PAGE * (name == "ends"), NOTHING)
    table = ValueTable.from_tensors(given)
    assert (len(table), table.nbytes) == (len(arrays["ends"]), sum(array.nbytes for array in arrays.values()))


def main():
    """Damage tables many times over, and open one unread."""
    random, counts = np.random.default_rng(1), [0, 0]
    for entries in (1, 2, 100, 3000):
        table = ValueTable()
        texts = [f"{number * 7919}" * (1 + number % 7) for number in range(entries)]
        table.extend(np.arange(entries) % 3, texts)
        arrays = table.tensors()
        for at_the_end in (True, False):
            walls = {name: Walled(array, at_the_end=at_the_end) for name, array in arrays.items()}
            for _ in range(200 if entries < 1000 else 40):
                wrong = {name: wall.filled(damaged(arrays[name], random)) for name, wall in walls.items()}
                counts[not use(wrong, [*texts[:200], "", "not there"])] += 1
            if entries == 3000 and at_the_end:
                open_unread(walls, arrays)
    sys.stdout.write(f"{counts[0]} {counts[1]}\n")


if __name__ == "__main__":
    sys.exit(main())
