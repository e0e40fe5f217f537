"""Limit of a reader's memory: a constant of its own, and so many bytes for each byte of its input."""

import gc
import tracemalloc
from contextlib import contextmanager

PER_BYTE = 600  # Python's objects for rows of two bytes each, twice, as targets compare two ways of reading
CONSTANT = 2 << 20


@contextmanager
def traced():
    """Trace memory in the block.

    Around many inputs where a reader has threads, as pyarrow's has: some versions of Python crash where one of them
    allocates just when tracing stops.
    """
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        yield
    finally:
        if not already:
            tracemalloc.stop()


def peak(function, data):
    """Return the peak of allocated bytes while the function runs; numpy's memory counts."""
    with traced():
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        function(data)
        return tracemalloc.get_traced_memory()[1] - before


def check(function, data):
    """Run the function on the data; raise AssertionError where its memory is out of proportion."""
    taken = peak(function, data)
    allowed = CONSTANT + PER_BYTE * len(data)
    if taken > allowed:  # what an earlier input left to be collected, or a cache that fills but once, is no finding
        gc.collect()
        taken = peak(function, data)
    assert taken <= allowed, f"{len(data)} bytes of input took {taken:,} bytes of memory; expected at most {allowed:,}"
