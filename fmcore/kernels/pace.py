"""How many threads train soonest, found by trying now and then: any number of them gives the same bits.

More threads than pay cost more than they do: each mini-batch ends twice, and that takes a tenth of a microsecond or a
whole one, as near or far as the processors are to each other, and milliseconds where other processes want them, too.
What holds changes while a training runs, on shared machines by the minute.
"""

from itertools import pairwise
from time import perf_counter

PART = 16  # one in so many of a slice's mini-batches is trained by the number that is tried, and as many beside them
BETTER = 1.25  # times as fast as the usual number has to be what takes its place: noise may last for some slices
LEAST, MOST = 4, 16  # slices that are compared: more than the least where they do not agree
WAIT, LONGEST_WAIT, PATIENCE = 8, 64, 4  # slices before the first trial, most between two, and how they become more


class Pace:
    """Trains slices of a block by the number of threads that seems best, up to `most`."""

    def __init__(self, most):
        self._most = self._threads = most
        self._begin(WAIT, fewer=True)

    def train(self, work, order):
        """Call work(some of `order`, threads) for all of it, in order and one part after the other."""
        few = len(order) // PART
        if self._left or not few or self._tried == self._threads:
            self._left -= self._left > 0
            work(order, self._threads)
            return
        clock = [perf_counter()]
        for part, threads in ((order[:few], self._tried), (order[few : 2 * few], self._threads)):
            work(part, threads)
            clock.append(perf_counter())
        self._pairs.append([end - begin for begin, end in pairwise(clock)])
        work(order[2 * few :], self._threads)
        self._judge()

    def _judge(self):
        """Take what was tried where it is better, and try further that way soon; else turn, and wait longer."""
        better = [BETTER * tried < usual for tried, usual in self._pairs]
        if len(better) < LEAST or (len(set(better)) > 1 and len(better) < MOST):
            return
        tried, usual = map(sum, zip(*self._pairs, strict=True))
        fewer = self._tried < self._threads
        if BETTER * tried < usual:
            self._threads = self._tried
            self._begin(1, fewer=fewer)
        else:
            self._begin(min(PATIENCE * self._wait, LONGEST_WAIT), fewer=not fewer)

    def _begin(self, wait, *, fewer):
        """Try half or twice as many threads after so many slices, whichever is wished, or what there is."""
        self._wait = self._left = wait
        self._pairs = []
        half, twice = max(1, self._threads // 2), min(self._most, 2 * self._threads)
        wished, other = (half, twice) if fewer else (twice, half)
        self._tried = other if wished == self._threads else wished
