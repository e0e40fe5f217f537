"""Prefetching in a thread: the next items of an iterator are made while the last one is used."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

END = object()
Item = TypeVar("Item")
Made = queue.Queue[tuple[Any, BaseException | None]]


@contextmanager
def prefetch(
    items: Iterable[Item], depth: int = 1, *, cancel: Callable[[], object] | None = None
) -> Iterator[Iterator[Item]]:
    """Provide an iterator over the same items, up to `depth` of them prefetched; an error surfaces in its place.

    cancel: called on leaving, in the caller's thread; it must wake up `items` where they wait for what may never come.
    On leaving, the thread has ended and `items`, where it is a generator, is closed.
    """
    made: Made = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(target=_make, args=(items, made, stopped), daemon=True)
    worker.start()
    try:
        yield _taken(made)
    finally:
        stopped.set()
        if cancel is not None:
            cancel()
        while worker.is_alive():
            with suppress(queue.Empty):
                made.get(timeout=0.05)  # room for a worker that waits to put
        worker.join()


def _make(items: Iterable[Any], made: Made, stopped: threading.Event) -> None:
    try:
        for item in items:
            made.put((item, None))
            if stopped.is_set():
                break
        made.put((END, None))
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        made.put((END, error))
    finally:
        if hasattr(items, "close"):
            items.close()


def _taken(made: Made) -> Iterator[Any]:
    while True:
        item, error = made.get()
        if error is not None:
            raise error
        if item is END:
            return
        yield item
