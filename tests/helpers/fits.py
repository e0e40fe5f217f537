"""Training on a loaded Dataset by a given backend, as tests of kernels and of the loop want it."""

from dataclasses import replace
from types import SimpleNamespace

from fmcore.model.model import initial
from fmcore.rows.dataset import Dataset
from fmcore.solvers.descent import GradientDescent
from fmcore.training import loop
from fmcore.training.evidence import add_evidence


def train(model, dataset, backend, *, test=None, observer=None, **options):
    """Return the Model that gradient descent makes of `model`; test: a function that gives Batches, or None."""
    tests = None if test is None else SimpleNamespace(batches=lambda: iter(test()))
    return loop.train(model, GradientDescent(backend, dataset, tests, observer), observer=observer, **options)


def begun(batch, hyperparameters, backend):
    """Return a Dataset of the rows of a Batch, and the model that a training on it begins with."""
    dataset = Dataset(lambda: iter([batch]), hyperparameters, backend.prepare, 1e12).load()
    label = 0.0 if dataset.scaling.label else dataset.mean_label
    model = initial(replace(hyperparameters, feature_dim=dataset.feature_dim), label)
    if dataset.evidence is not None:
        add_evidence(model, dataset.evidence, dataset.mean_label)
    return dataset, model
