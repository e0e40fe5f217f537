"""The memory budget that requests share: a count of free bytes that any thread may reserve and release."""

from contextlib import contextmanager
from threading import Lock


class ByteBudget:
    """A number of bytes. Bodies are refused where they do not fit; answers, already computed, may exceed it."""

    def __init__(self, size):
        self._free, self._lock = size, Lock()

    @property
    def free(self):
        """Return the bytes not reserved, below 0 where answers have exceeded the budget."""
        return self._free

    def reserve(self, size):
        """Reserve bytes if they are free; return whether they were."""
        with self._lock:
            fits = size <= self._free
            self._free -= size * fits
        return fits

    def release(self, size):
        """Release bytes that were reserved."""
        with self._lock:
            self._free += size

    @contextmanager
    def occupied(self, size):
        """Reserve bytes, whether free or not, for the duration of the block."""
        self.release(-size)
        try:
            yield
        finally:
            self.release(size)

    @contextmanager
    def reservation(self):
        """Provide a Reservation, released where the block ends without its `keep`."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            if not reservation.kept:
                self.release(reservation.size)


class Reservation:
    """A reservation that grows step by step."""

    def __init__(self, budget):
        self._budget, self.size, self.kept = budget, 0, False

    def grow_to(self, size):
        """Reserve as much more as makes it that size in all; return whether it was free."""
        fits = self._budget.reserve(size - self.size)
        if fits:
            self.size = size
        return fits

    def keep(self):
        """Keep the bytes reserved after the block: the caller releases them."""
        self.kept = True
