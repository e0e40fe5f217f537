"""Training on a loaded Dataset by a given backend, as tests of kernels and of the loop want it."""

from types import SimpleNamespace

from fmcore.solvers.descent import GradientDescent
from fmcore.training import loop


def train(model, dataset, backend, *, test=None, observer=None, **options):
    """Return the Model that gradient descent makes of `model`; test: a function that gives Batches, or None."""
    tests = None if test is None else SimpleNamespace(batches=lambda: iter(test()))
    return loop.train(model, GradientDescent(backend, dataset, tests, observer), observer=observer, **options)
