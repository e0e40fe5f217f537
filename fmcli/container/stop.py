"""SIGTERM and Ctrl-C during a training job: what was trained so far is published."""
import signal

from fmcli.exits import Terminated

NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "SIGINT"}


class Stop:
    """The wish to end the job; called, it says whether there is one.

    Until `gently` is called, Terminated ends whatever is under way: nothing is trained yet. From then on nothing is cut
    off, and training asks. Only the first signal counts, so that none disturbs the publishing.
    """

    def __init__(self):
        self._signal, self._gently = None, False

    def __call__(self):  # noqa: D102 - the class tells
        return self._signal is not None

    def __str__(self):
        return NAMES[self._signal]

    @property
    def exit_code(self):
        """That of a process which a signal ended."""
        return 128 + self._signal

    def listen(self):
        """Take the signals from now on; to be called in the main thread."""
        for number in NAMES:
            signal.signal(number, self._receive)

    def gently(self):
        """From now on there is something to publish."""
        self._gently = True

    def _receive(self, number, _frame):
        for further in NAMES:
            signal.signal(further, signal.SIG_IGN)
        self._signal = number
        if not self._gently:
            raise Terminated
