"""A function over many items in threads, the results in the items' order."""
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor


def ordered_map(function, items, workers=1, ahead=2):
    """Yield function(item) for each item, in order.

    workers: threads that call the function; 1 calls it here. ahead: items taken beyond those yielded, at most.
    An exception, of the function or of the iterator, is raised where its result would have come. Closing the generator
    waits for the calls under way and drops the rest.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    pending, items = deque(), iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while _submit(pool, pending, function, items):
                while pending and (len(pending) > ahead or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for call in pending:
                call.cancel()


def _submit(pool, pending, function, items):
    """Hand the next item to the pool; False at the end. What the iterator raises waits behind the calls before it."""
    try:
        pending.append(pool.submit(function, next(items)))
    except StopIteration:
        return False
    except Exception as error:  # noqa: BLE001 - raised again by result()
        failed = Future()
        failed.set_exception(error)
        pending.append(failed)
        return False
    return True
