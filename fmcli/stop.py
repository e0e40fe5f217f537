"""Signals that end a process, during a training whose work until then must not be lost."""

import signal
from types import FrameType

from fmcli.exits import HANDLERS, heeded


class Stop:
    """The user's request to end training, by a signal; called, it returns whether there is one.

    Until `gently` is called, an exception ends what is under way: nothing is trained yet. From then on nothing is
    interrupted, and training asks for the request. Only the first signal counts, so that none disturbs writing at the
    end.
    """

    def __init__(self) -> None:
        self._signal, self._gently = 0, False  # 0: none has come

    def __call__(self) -> bool:  # noqa: D102 - the class describes it
        return self._signal != 0

    def __str__(self) -> str:
        return signal.Signals(self._signal).name

    @property
    def exit_code(self) -> int:
        """Return the exit code of a process which this signal ended."""
        return 128 + self._signal

    def listen(self) -> None:
        """Handle the signals from now on, but for those that are ignored; to be called in the main thread."""
        for number in heeded():
            signal.signal(number, self._receive)

    def gently(self) -> None:
        """Interrupt nothing from now on: there is work that must not be lost."""
        self._gently = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        for further in HANDLERS:
            signal.signal(further, signal.SIG_IGN)
        self._signal = number
        if not self._gently:
            HANDLERS[number](number, frame)
