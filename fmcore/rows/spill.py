"""Prepared blocks in a temporary file, so that rows which do not fit in memory are decoded for one epoch only."""

import mmap
import os
import pickle
import weakref
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

PAGE, LINE = mmap.ALLOCATIONGRANULARITY, 64  # bytes: where a block may begin in the file, and an array in a block
LEFT = 0.1  # of a disk: what is not taken


class Spill:
    """Blocks in the order of an epoch, in a file without a name, which goes with the process that has it open.

    It lies in the folder of the variable TMPDIR, else in /var/tmp, as /tmp is memory on many machines. Where the disk
    has no room for it, or there is no such folder, nothing is kept.
    """

    def __init__(self) -> None:
        self._file: Any = None
        self._kept: list[
            tuple[bytes, int, list[tuple[int, int]]]
        ] = []  # of each block: its pickle, where its bytes begin, and those of its arrays
        self._wanted, self.complete, self._close = True, False, lambda: None

    def filled(self, blocks: Generator[Any, None, None]) -> Iterator[Any]:
        """Yield the same blocks (a generator, closed at the end), each kept on its way; complete: whether all are."""
        self._kept = []
        with closing(blocks):
            for block in blocks:
                self._keep(block)
                yield block
        self.complete = self._wanted

    def blocks(self, first: int) -> Iterator[Any]:
        """Yield the blocks kept, from number `first` on; the memory of each is that of the system's file cache."""
        for pickled, begin, places in self._kept[first:]:
            end = max(stop for _, stop in places)
            mapped = memoryview(mmap.mmap(self._file.fileno(), end, access=mmap.ACCESS_COPY, offset=begin))
            arrays = [mapped[start:stop] for start, stop in places]
            yield pickle.loads(pickled, buffers=arrays)  # noqa: S301 - no other process has seen it

    def _keep(self, block: object) -> None:
        if not self._wanted:
            return
        arrays = []
        pickled = pickle.dumps(block, protocol=5, buffer_callback=lambda array: arrays.append(array.raw()))
        try:
            self._write(pickled, arrays)
        except OSError:  # no folder, no room: the next epoch decodes again
            self._wanted, self._kept = False, []
            self._close()

    def _write(self, pickled: bytes, arrays: list[memoryview]) -> None:
        if self._file is None:
            import tempfile  # which few trainings need, and which takes milliseconds

            self._file = tempfile.TemporaryFile("w+b", 0, prefix="fmkit-rows-", dir=folder())  # noqa: SIM115 - see _close
            self._close = weakref.finalize(self, self._file.close)
        disk = os.fstatvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize < LEFT * disk.f_blocks * disk.f_frsize + sum(a.nbytes for a in arrays):
            raise OSError
        begin, places = self._file.seek(_up(self._end(), PAGE)), []
        for array in arrays:
            start = self._file.seek(_up(self._file.tell(), LINE))
            if self._file.write(array) < array.nbytes:
                raise OSError
            places.append((start - begin, start - begin + array.nbytes))
        self._file.truncate()  # also where the last arrays are empty, to be mapped like others
        self._kept.append((pickled, begin, places))

    def _end(self) -> int:
        """Return where the last block's bytes end."""
        return self._kept[-1][1] + self._kept[-1][2][-1][1] if self._kept else 0


def folder() -> str | None:
    """Return the folder for large temporary files; None for the system's usual one."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else None)  # noqa: S108


def _up(position: int, step: int) -> int:
    return -(-position // step) * step
