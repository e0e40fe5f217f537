"""Apply functions to many items in threads; results come in the items' order."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Workers:
    """A number of threads, for several maps at once: the results of one map may be the items of the next.

    With 1, calls are made in the caller's thread. Leaving the `with` block waits for running calls and drops the
    others.
    """

    def __init__(self, threads=1):
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function, items):
        """Yield function(item) for each item, in order.

        Up to threads + 1 items are taken beyond those yielded. An exception, of the function or of the iterator, is
        raised where its result would have come. Closing the generator waits for running calls and drops the others.
        """
        if self._pool is None:
            yield from map(function, items)
            return
        pending, items = deque(), iter(items)
        try:
            while self._submit(pending, function, items):
                while pending and (len(pending) > self.threads + 1 or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            wait([call for call in pending if not call.cancel()])

    def _submit(self, pending, function, items):
        """Submit the next item; return False at the end. An error of the iterator is queued behind earlier calls."""
        try:
            pending.append(self._pool.submit(function, next(items)))
        except StopIteration:
            return False
        except Exception as error:  # noqa: BLE001 - raised again by result()
            failed = Future()
            failed.set_exception(error)
            pending.append(failed)
            return False
        return True
