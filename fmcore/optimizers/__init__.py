"""The optimizers by name. To add one: a file here with its `Optimizer`, and a line in OPTIMIZERS.

The registry is read whenever a hyperparameter is checked or a model is trained, so a test may put one of its own in.
One without kernels (`kernel` is None) trains by its NumPy formula, in the reference. For speed it takes a case in
kernels/optimizers.h, and in kernels/pytorch/rules.py to train on a GPU.
"""

from typing import Any

from fmcore.optimizers.adagrad import AdaGrad
from fmcore.optimizers.adam import Adam
from fmcore.optimizers.contract import Optimizer, Slot
from fmcore.optimizers.rowwise_adagrad import RowwiseAdaGrad
from fmcore.optimizers.sgd import Sgd

__all__ = ["OPTIMIZERS", "Optimizer", "Slot", "optimizer_of"]

OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer for optimizer in (AdaGrad(), Adam(), RowwiseAdaGrad(), Sgd())
}


def optimizer_of(hyperparameters: Any) -> Optimizer:
    """Return the `Optimizer` that Hyperparameters name."""
    return OPTIMIZERS[hyperparameters.optimizer]
