"""Score and update: the slow NumPy truth, the fast kernels and PyTorch, under one contract.

A backend is an object with

    name                               a word or two for people
    note                               a sentence about how it came to be chosen, or None
    prepare(block) -> Block            adds what its trainer needs to a Block, whose batch may lose all but labels and
                                       weights; may be called from any thread
    score(batch, model) -> float32     raw scores (rows,) of a Batch whose indices are all below model.feature_dim
    trainer(model) -> trainer          a copy of the model's parameters and state, ready to be moved

and a trainer with

    train(block, order, lr=1.0)        one pass over a prepared block's mini-batches in `order` (int64), learning rates
                                       multiplied by lr; returns (raw scores, weighted losses), float32 (rows,) each,
                                       as they were before the row's own mini-batch moved anything
    score(batch)                       as above, with the parameters as they are now
    snapshot() -> Model                a copy of them

A loss is that of the model's objective (see fmcore.objectives) times the row's weight.
"""

from fmcore.families import family_of
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of


def has_kernels(hyperparameters, *, training=True):
    """Return whether the kernels train models of these hyperparameters, or (training=False) score them."""
    return not without_kernels(hyperparameters, training=training)


def backend_of(hyperparameters, name="cpu", threads=1, *, training=True):
    """Return the backend of that name for models of these hyperparameters.

    What the kernels have no case for (its `kernel` is None) is trained and scored by the reference, whose note says so.
    name, errors: as for `backend_for`. training: False where models are scored alone, which their family decides.
    """
    missing = without_kernels(hyperparameters, training=training)
    if not missing:
        return backend_for(name, threads)
    chosen = backend_for("reference")
    has = "has" if len(missing) == 1 else "have"
    chosen.note = (
        f"{' and '.join(missing)} {has} no case in the kernels: the NumPy reference, which is slow, does the work"
    )
    return chosen


def without_kernels(hyperparameters, *, training=True):
    """Return what of the hyperparameters the kernels have no case for, in words such as "family other"; see above."""
    chosen = {"family": family_of(hyperparameters)}
    if training:
        chosen |= {"predictor_type": objective_of(hyperparameters), "optimizer": optimizer_of(hyperparameters)}
    return [f"{name} {choice.name}" for name, choice in chosen.items() if choice.kernel is None]


def backend_for(name, threads=1):
    """The backend "reference", or that of a device, using so many threads; UsageError where the device is not there.

    name: as fmcore.kernels.devices.parse_device has it.
    """
    if name == "reference":
        from fmcore.kernels.reference import ReferenceBackend

        return ReferenceBackend()
    if name == "cpu":
        from fmcore.kernels.cpu import CpuBackend

        return CpuBackend(threads)
    if name == "auto":
        from fmcore.kernels.devices import AutoBackend

        return AutoBackend(backend_for, threads)
    if "," in name:
        from fmcore.kernels.pytorch.several import SeveralBackend

        return SeveralBackend(tuple(name.split(",")), threads)
    from fmcore.kernels.pytorch.backend import TorchBackend

    return TorchBackend(name, threads)
