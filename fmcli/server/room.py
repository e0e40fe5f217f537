"""Memory that requests share: a count of bytes, for any thread to take from and give back to."""

from contextlib import contextmanager
from threading import Lock


class Room:
    """So many bytes. Bodies find room or are refused; answers, whose work is done by then, may exceed it."""

    def __init__(self, size):
        self._free, self._lock = size, Lock()

    @property
    def free(self):
        """Bytes not taken, below 0 where answers have exceeded it."""
        return self._free

    def take(self, size):
        """Take so many bytes if they are there; whether they were."""
        with self._lock:
            fits = size <= self._free
            self._free -= size * fits
        return fits

    def give_back(self, size):
        """Give back what was taken."""
        with self._lock:
            self._free += size

    @contextmanager
    def lent(self, size):
        """So many bytes, there or not, while the block lasts."""
        self.give_back(-size)
        try:
            yield
        finally:
            self.give_back(size)

    @contextmanager
    def taking(self):
        """A Taking, given back where the block ends without its `keep`."""
        taking = Taking(self)
        try:
            yield taking
        finally:
            if not taking.kept:
                self.give_back(taking.size)


class Taking:
    """Bytes being taken bit by bit."""

    def __init__(self, room):
        self._room, self.size, self.kept = room, 0, False

    def up_to(self, size):
        """Take as much as makes it that size in all; whether there was room."""
        fits = self._room.take(size - self.size)
        if fits:
            self.size = size
        return fits

    def keep(self):
        """Leave it to the caller to give it back."""
        self.kept = True
