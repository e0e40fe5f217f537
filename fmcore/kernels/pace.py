"""How many threads train fastest, found by a trial now and then: any number of them gives the same bits.

Too many threads cost more than they gain: each mini-batch has two barriers. A barrier takes between a tenth of a
microsecond and a whole one, depending on how far the processors are from each other, and milliseconds where other
processes use them as well. The best number changes while a training runs, on shared machines by the minute.
"""

from itertools import pairwise
from time import perf_counter

PART = 16  # one in so many of a slice's mini-batches is trained with the number on trial, and as many to compare
BETTER = 1.25  # how many times as fast a number must be to replace the usual one: noise may last for some slices
LEAST, MOST = 4, 16  # slices that are compared: more than the least where they do not agree
WAIT, LONGEST_WAIT, PATIENCE = 8, 64, 4  # slices before the first trial; most between two; factor by which they grow


class Pace:
    """A trainer of a block's slices that uses the number of threads that seems best, up to `most`."""

    def __init__(self, most):
        self._most = self._threads = most
        self._begin(WAIT, fewer=True)

    def train(self, work, order):
        """Call work(part of `order`, threads) for consecutive parts that make up all of `order`."""
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
        """Use the number on trial where it is better, and soon try further that way; else try the other, and later."""
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
        """Plan a trial after so many slices: of half as many threads, or twice, or the other where that is no change.

        fewer: whether half is wished.
        """
        self._wait = self._left = wait
        self._pairs = []
        half, twice = max(1, self._threads // 2), min(self._most, 2 * self._threads)
        wished, other = (half, twice) if fewer else (twice, half)
        self._tried = other if wished == self._threads else wished
