"""Devices by name, and the choice of one for "auto"; PyTorch is imported only for the devices that need it."""

import re

from fmcore.errors import UsageError

EXPECTED = "cpu, cuda, cuda:N, several GPUs as cuda:0,cuda:1, torch:cpu or auto"


def parse_device(text):
    """Return the name of one device, or names of several separated by commas; raise UsageError where it is no name.

    "cpu" stands for the kernels, "cuda" and "cuda:N" for a GPU, "torch:cpu" for the processor with the code that is
    for GPUs, to compare, and "auto" for `AutoBackend`.
    """
    name = re.sub(r"\s", "", text)
    if not re.fullmatch(r"auto|cpu|cuda|cuda:\d{1,3}(,cuda:\d{1,3})*|torch:cpu(,torch:cpu)*", name, re.ASCII):
        raise UsageError(f"device is {text!r}; expected {EXPECTED}")
    return name


class AutoBackend:
    """The first GPU where one exists and the rows are dense, else the kernels; its note states which, and why.

    backend_for: that of fmcore.kernels.
    """

    name = "auto"
    note: str | None = None

    def __init__(self, backend_for, threads):
        self._backend_for, self.threads, self._chosen = backend_for, threads, None
        try:
            self._gpu, self._why = backend_for("cuda", threads), None
        except UsageError as error:
            self._gpu, self._why = None, str(error).split(";")[0]

    def prepare(self, block):
        """Return the block as the chosen backend prepares it; the first block decides. See fmcore.kernels."""
        return self.choose(len(block.batch), block.batch.feature_dim, len(block.batch.indices)).prepare(block)

    def score(self, batch, model):
        """Return the scores of the chosen backend; the batch decides where no block has before. See fmcore.kernels."""
        return self.choose(len(batch), batch.feature_dim, len(batch.indices)).score(batch, model)

    def trainer(self, model):
        """Return a trainer of the chosen backend; where no rows have decided, of the first GPU that there is."""
        return self.choose(0, 0, 0).trainer(model)

    def choose(self, rows, columns, non_zeros):
        """Return the chosen backend; the first call chooses by these sizes."""
        if self._chosen is None:
            self._chosen = self._choice(rows, columns, non_zeros)
        return self._chosen

    def _choice(self, rows, columns, non_zeros):
        why, chosen = self._why, self._gpu
        if chosen is not None:
            why = chosen.refusal(rows, columns, non_zeros)
        if why is not None:
            chosen = self._backend_for("cpu", self.threads)
        chosen.note = f"device auto: {chosen.name}" + (f", because {why}" if why else ", a GPU that was found")
        return chosen


def resolve(backend, dataset):
    """Return the backend; for an AutoBackend, the one it has chosen or chooses by the sizes of a loaded Dataset."""
    if isinstance(backend, AutoBackend):
        return backend.choose(dataset.rows, dataset.feature_dim, dataset.non_zeros)
    return backend
