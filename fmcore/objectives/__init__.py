"""Objectives: what a model predicts, by which loss, and its metrics; each has a file of its own.

OBJECTIVES is the registry, by the value of the hyperparameter predictor_type. It is read whenever a name is checked, a
help page is made or a model is trained, so an objective that a program adds to it can be used like those there are.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from fmcore.errors import UsageError
from fmcore.objectives.logistic import Logistic
from fmcore.objectives.metrics import Metrics
from fmcore.objectives.squared import Squared

Direction = str  # "minimize" or "maximize"


class Objective(Protocol):
    """The contract of an objective; compare the objective interfaces of XGBoost and LightGBM.

    name: the value of the hyperparameter predictor_type. noun: a short word for help pages.
    kernel: its number in the kernels; None where they have no case for it, and the NumPy reference trains and scores.
    outputs: raw scores of a row that it takes, as many as the family gives.
    binary: whether labels are the two classes 0 and 1, which readers then make of
    -1 and 1 or of the positive label and all others.
    expected: which labels `accepts` takes, in words that follow "expected".
    curvature_bound: what the derivative of `gradient` by a row's raw score is at most, or as a rule.
    precision: of factors that nothing is known of, by their weight decay; a constant that was found on data.
    label_degree: the power of the labels' unit that the loss has, where a raw score is in that unit too, so that labels
    may be standardised; else 0.
    native: hyperparameter -> value of the preset "native", beside those that it has for all objectives: the learning
    rates and the weight decays. defaults: likewise of "native-1", where it differs from the table of hyperparameters.
    search: what the tuner's space "small" searches: "epochs" -> (low, high), and "wd" -> (low, high) for weight decays.
    goals: SageMaker's name of what a search optimizes -> (metric, direction); the first is the default.
    primary: (metric, direction) by which early stopping goes. columns: of predictions, "score" before others.
    groups: whether it couples the rows of a group (a query), which readers then keep.
    canonical: whether `gradient` is a function of the raw score less the label, which steps on devices then fuse.
    """

    name: str
    noun: str
    kernel: int | None
    outputs: int
    binary: bool
    groups: bool
    expected: str
    curvature_bound: float
    precision: float
    label_degree: int
    native: Mapping[str, Any]
    defaults: Mapping[str, Any]
    search: Mapping[str, tuple[float, float]]
    goals: Mapping[str, tuple[str, Direction]]
    primary: tuple[str, Direction]
    canonical: bool
    columns: tuple[str, ...]

    def accepts(self, labels: np.ndarray) -> np.ndarray:
        """Return the bool array (rows,) of the labels (float32) that rows to train or to measure on may have."""
        ...

    def first_bias(self, mean_label: float) -> float:
        """Return the raw score that is best for all rows alike, given the weighted mean of their labels."""
        ...

    def loss(self, xp: ModuleType, scores: Any, labels: Any) -> Any:
        """Return the loss of each row, before its weight.

        xp: numpy or torch. scores (raw), labels: arrays of it, (rows,), of one dtype, which are left as they are.
        """
        ...

    def gradient(self, xp: ModuleType, scores: Any, labels: Any) -> Any:
        """Return the derivative of each row's loss by its raw score, a new array; arguments as for `loss`.

        It may be the derivative of a multiple of the loss, which the learning rates compensate.
        """
        ...

    def curvature(self, xp: ModuleType, scores: Any, labels: Any) -> Any:
        """Return how much each row tells about its score, a new array, above 0; arguments as for `loss`.

        It is the derivative of `gradient` by the score, or more where that is not what a row tells.
        """
        ...

    def predict(self, raw: np.ndarray) -> np.ndarray:
        """Return what a user sees for raw scores: float32 (rows,) to float32 (rows,)."""
        ...

    def metrics(self, *, auc: bool = True) -> Metrics:
        """Return empty metrics; auc: whether with those that keep every row's score."""
        ...

    def epoch_metrics(self, mean_loss: float) -> dict[str, float]:
        """Return the one metric that the weighted mean loss of an epoch's rows gives, by its name."""
        ...


OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (Logistic(), Squared())}


class HasPredictorType(Protocol):
    """An object that names its objective, as `Hyperparameters` do."""

    @property
    def predictor_type(self) -> str:
        """Return the name of an objective."""
        ...


def objective_of(what: HasPredictorType | str) -> Objective:
    """Return the objective of hyperparameters, or of a name; raise UsageError where there is none of that name."""
    name = what if isinstance(what, str) else what.predictor_type
    if name not in OBJECTIVES:
        raise UsageError(f"predictor_type is {name!r}; expected {' or '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
