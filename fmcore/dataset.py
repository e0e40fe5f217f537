"""Training rows as blocks: kept in memory where they fit, else decoded anew each epoch, with the same result."""
from contextlib import contextmanager, nullcontext

from fmcore.ahead import ahead
from fmcore.blocks import auto_mini_batch_size, cut, make_block
from fmcore.errors import DataError, ResourceError


class Dataset:
    """The blocks of one data set.

    read: called without arguments for an iterator of Batches over all rows, in the same order each time.
    rereadable: whether it may be called again (a pipe may not).
    prepare: turns a Block into what the backend trains on.
    memory_limit: bytes that the prepared blocks may take before they are streamed instead.

    After `load`: rows, non_zeros, feature_dim (as the rows have it), mini_batch_size, in_memory.
    """

    def __init__(self, read, hyperparameters, prepare, memory_limit, *, rereadable=True):
        self._read, self._rereadable = read, rereadable
        self._hyperparameters, self._prepare, self._memory_limit = hyperparameters, prepare, memory_limit
        self._kept = []
        self.rows = self.non_zeros = self.feature_dim = 0
        self.mini_batch_size = hyperparameters.mini_batch_size
        self.in_memory = True

    def load(self):
        """Read everything once: keep the blocks if they fit, and learn the sizes either way."""
        size = 0
        for number, batch in enumerate(cut(self._read())):
            self.rows += len(batch)
            self.non_zeros += len(batch.indices)
            self.feature_dim = max(self.feature_dim, batch.feature_dim)
            if self.mini_batch_size is None:
                self.mini_batch_size = auto_mini_batch_size(batch)
            if self.in_memory:
                self._kept.append(self._block(batch, number))
                size += self._kept[-1].nbytes
                if size > self._memory_limit:
                    self._stream()
        if not self.rows:
            raise DataError("no rows to train on")
        return self

    @contextmanager
    def epoch(self):
        """An iterator over the prepared blocks, in order."""
        blocks = nullcontext(iter(self._kept)) if self.in_memory else ahead(self._decoded())
        with blocks as iterator:
            yield iterator

    def _decoded(self):
        for number, batch in enumerate(cut(self._read())):
            yield self._block(batch, number)

    def _block(self, batch, number):
        return self._prepare(make_block(batch, number, self.mini_batch_size, self._hyperparameters))

    def _stream(self):
        if not self._rereadable:
            raise ResourceError(
                f"the training rows do not fit in {self._memory_limit:,} bytes of memory, and a pipe cannot be read "
                "again for the next epoch; give a file, or more memory with --memory-limit")
        self.in_memory = False
        self._kept = []
