"""Signals that end a process, during a training whose work so far is not to be lost."""

import signal

from fmcli.exits import HANDLERS, heeded


class Stop:
    """The wish to end the training; called, it says whether there is one.

    Until `gently` is called, an exception ends whatever is under way: nothing is trained yet. From then on nothing is
    cut off, and training asks. Only the first signal counts, so that none disturbs what is written at the end.
    """

    def __init__(self):
        self._signal, self._gently = None, False

    def __call__(self):  # noqa: D102 - the class tells
        return self._signal is not None

    def __str__(self):
        return signal.Signals(self._signal).name

    @property
    def exit_code(self):
        """That of a process which a signal ended."""
        return 128 + self._signal

    def listen(self):
        """Take the signals from now on, but for those that are ignored; to be called in the main thread."""
        for number in heeded():
            signal.signal(number, self._receive)

    def gently(self):
        """From now on there is something to keep."""
        self._gently = True

    def _receive(self, number, frame):
        for further in HANDLERS:
            signal.signal(further, signal.SIG_IGN)
        self._signal = number
        if not self._gently:
            HANDLERS[number](number, frame)
