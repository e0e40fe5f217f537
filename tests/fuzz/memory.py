"""How much memory a reader may take: a constant of its own, and so many bytes for each byte of its input."""
import gc
import tracemalloc

# Python's objects for rows of two bytes each, twice (the targets compare two ways of reading).
PER_BYTE = 600
CONSTANT = 2 << 20


def peak(function, data):
    """The most bytes that were allocated at a time while the function ran; what numpy reserves counts."""
    tracemalloc.start()
    try:
        function(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check(function, data):
    """Run the function on the data; AssertionError where its memory is out of proportion."""
    taken = peak(function, data)
    allowed = CONSTANT + PER_BYTE * len(data)
    if taken > allowed:  # what an earlier input left to be collected, or a cache that fills but once, is no finding
        gc.collect()
        taken = peak(function, data)
    assert taken <= allowed, f"{len(data)} bytes of input took {taken:,} bytes of memory; expected at most {allowed:,}"
