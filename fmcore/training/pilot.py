"""A pilot: short trainings on some of the rows that choose how all of them are trained, before that begins.

The pilot trains models on a part of a sample of the rows, scores the rest, and looks at the differences of their
losses row by row. It takes the cautious or the firm recipe, of stronger penalties, where that is clearly ahead, and
halves the number of epochs, where that is not given, as long as that is clearly better.

A factorization machine contains a linear model, and on sparse rows with little to learn it can end behind it. Only
where a linear model is clearly ahead the pilot tries what else may help, and takes the best: factors that are kept
small, rows that count less because they repeat, or the linear model itself. Where a linear model is not clearly behind,
it takes factors that are kept small if these are clearly ahead.

A hash of a row's features decides whether it is trained on or scored, so that copies of a row are on one side, and
copies of a row count once in the comparison. Few rows are each scored once, in FOLDS parts; of many rows one of TENTHS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.presets import FIRST_SIGMA, resolve
from fmcore.kernels import backend_of
from fmcore.model.model import Model
from fmcore.model.scaling import label_range
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch, concatenate
from fmcore.rows.parts import Split, renumbered
from fmcore.rows.scaling import bounded
from fmcore.solvers import Task

SAMPLE = 200_000  # rows that are looked at, the first ones
MOST = 20_000  # of these that take part, or more where epochs are fewer than SHORT
FEW = 12_000  # rows, below which each of them is scored
FOLDS, TENTHS = 4, 10
SHORT, SHORTER = 5, 3  # epochs of trainings on many rows: by both recipes, and of all others
LONG = 20  # epochs at most on few rows
FACTORS = 8  # of the models that are compared, at most
SURE, SUSPECTED = 2.0, 1.0  # standard errors by which another must be ahead
REPEATS = 1.5  # rows by different rows, from which on rows repeat
LEAST_ROWS = 40

LINEAR = {
    "factors_init_method": "constant",
    "factors_init_value": 0.0,
    "factors_init_sigma": None,
    "factors_variance": 0.0,
    "linear_wd": 10.0,
}
CAUTIOUS = {"linear_wd": 10.0, "factors_variance": 1.0}
FIRM = {"linear_wd": 15.0, "factors_wd": 15.0, "factors_variance": 0.3}
CLOSE_TO_LINEAR = {  # for many epochs; the first few hardly overfit, and need less of the variance term
    "linear_wd": 10.0,
    "factors_wd": 60.0,
    "factors_variance": 1.0,
    "bias_lr": 0.3,
    "linear_lr": 0.3,
    "factors_lr": 0.3,
}
CHOSEN = (*{**LINEAR, **CLOSE_TO_LINEAR}, "rescale_grad", "penalty", "optimizer", "use_linear", "use_bias", "family")

Fit = Callable[[Batch, Hyperparameters], Model]


class Outcome(NamedTuple):
    """The result of a pilot. hyperparameters: to train by. record: for a model's info, ready for JSON.

    record: "rows" that took part, "scored" of them, "metric" and "losses" (name -> its value), "behind" (standard
    errors by which the recipe is behind the linear model), "kept" (name), "epochs" (to train).
    """

    hyperparameters: Hyperparameters
    record: dict[str, Any]


def wanted(task: Task) -> bool:
    """Return whether a pilot is to choose how a Task is trained: not where anything that it would choose is given."""
    h = task.hyperparameters
    judged = task.test is not None and h.early_stopping_patience is not None
    if h.pilot != "auto" or task.initial_model is not None or task.rows.streaming or judged:
        return False
    usual = resolve("native", predictor_type=h.predictor_type, num_factors=h.num_factors)
    return all(getattr(h, name) == getattr(usual, name) for name in CHOSEN)


def run(sample: list[Batch], h: Hyperparameters, epochs: int, fit: Fit) -> Outcome | None:
    """Return the Outcome of a pilot; None where the sample has too few rows, or too few that differ.

    sample: rows, raw, of which the first SAMPLE count. epochs: of the training to come. fit: trains a model.
    """
    rows = concatenate(sample).take(slice(SAMPLE))
    if rows.weights is not None:
        rows = rows.take(np.flatnonzero(rows.weights))
    if len(rows) < LEAST_ROWS:
        return None
    hashes = Split(0.0, h.seed).hashes(rows)
    most = MOST * SHORT // min(epochs, SHORT)
    if len(rows) > most:
        kept = np.flatnonzero(hashes <= np.partition(hashes, most)[most])
        rows, hashes = rows.take(kept), hashes[kept]
    pilot = _Pilot(renumbered(rows), hashes, h, epochs, fit)
    return pilot.outcome() if pilot.possible else None


class _Pilot:
    """A pilot under way. hashes: of the rows' features, uint64 (rows,)."""

    def __init__(self, rows: Batch, hashes: np.ndarray, h: Hyperparameters, epochs: int, fit: Fit) -> None:
        self._rows, self._hashes, self._h, self._epochs, self._fit = rows, hashes, h, epochs, fit
        self._few = len(rows) < FEW
        self._losses: dict[str, np.ndarray] = {}
        parts = hashes % np.uint64(FOLDS if self._few else TENTHS)
        self._scored = [np.flatnonzero(parts == part) for part in range(FOLDS if self._few else 1)]
        self._scored_hashes = hashes[np.concatenate(self._scored)]

    @property
    def possible(self) -> bool:
        """Return whether there are rows to score, and others to train on."""
        return 0 < max(map(len, self._scored)) < len(self._rows)

    def outcome(self) -> Outcome:
        """Run it."""
        h, copies = self._h, self._copies()
        kept, changes = self._recipe(copies)
        epochs = self._halved(kept, changes) if h.epochs is None else h.epochs
        losses = self._best(kept)
        behind = _standard_errors(losses - self._judge("linear", LINEAR))
        if (closer := self._closer_to_linear(losses, behind, copies)) is not None:
            (kept, changes), epochs = closer, self._epochs
        record = {
            "rows": len(self._rows),
            "scored": len(self._scored_hashes),
            "metric": next(iter(objective_of(h).epoch_metrics(0.0))),
            "losses": {name: self._metric(losses) for name, losses in self._losses.items()},
            "behind": behind,
            "kept": kept,
            "epochs": epochs,
        }
        return Outcome(replace(h, epochs=epochs, **changes), record)

    def _recipe(self, copies: float) -> tuple[str, Mapping[str, Any]]:
        """Return the recipe to take: its name and its changes."""
        losses, kept, changes = self._judge("recipe", {}), "recipe", {}
        if self._better("cautious recipe", CAUTIOUS, losses, SUSPECTED):
            kept, changes = "cautious recipe", CAUTIOUS
        if copies < REPEATS and self._better("firm recipe", FIRM, self._losses[kept], SURE):
            kept, changes = "firm recipe", FIRM
        return kept, changes

    def _best(self, kept: str) -> np.ndarray:
        """Return the losses of a recipe by the number of epochs that is best for it."""
        return min((losses for name, losses in self._losses.items() if name.startswith(kept)), key=np.mean)

    def _better(self, name: str, changes: Mapping[str, Any], losses: np.ndarray, clearly: float) -> bool:
        """Return whether models of these changes are clearly ahead, by standard errors, of those with these losses."""
        return _standard_errors(losses - self._judge(name, changes)) > clearly

    def _halved(self, kept: str, changes: Mapping[str, Any]) -> int:
        """Return the best number of epochs for a recipe, halving the usual one."""
        epochs, tried, losses = self._epochs, self._tried(kept), self._losses[kept]
        while tried > 1:
            name = f"{kept}, {tried // 2} epoch{'s' * (tried > 3)}"
            if not self._better(name, {**changes, "epochs": tried // 2}, losses, SUSPECTED if self._few else SURE):
                break
            epochs = tried = tried // 2
            losses = self._losses[name]
        return epochs

    def _closer_to_linear(
        self, losses: np.ndarray, behind: float, copies: float
    ) -> tuple[str, Mapping[str, Any]] | None:
        """Return what is better than a recipe: its name and its changes; None where nothing is.

        losses: of the recipe. behind: standard errors by which a linear model is ahead of it.
        """
        close = CLOSE_TO_LINEAR if self._epochs > SHORT else {**CLOSE_TO_LINEAR, "factors_variance": 0.5}
        if behind > (SUSPECTED if copies >= REPEATS else SURE):
            candidates: dict[str, Mapping[str, Any]] = {"linear": LINEAR, "close to linear": close}
            if copies >= REPEATS:
                candidates["repeated rows count once"] = {"rescale_grad": 1 / copies}
            for name in list(candidates)[1:]:
                self._judge(name, candidates[name])
            best = min(candidates, key=lambda name: self._losses[name].mean())
            return best, candidates[best]
        if behind > -SURE and self._better("close to linear", close, losses, SUSPECTED):
            return "close to linear", close
        return None

    def _tried(self, name: str) -> int:
        """Return the epochs by which a candidate is judged."""
        if self._few:
            return min(self._epochs, LONG)
        return min(self._epochs, SHORT if "recipe" in name else SHORTER)

    def _metric(self, losses: np.ndarray) -> float:
        return next(iter(objective_of(self._h).epoch_metrics(float(losses.mean())).values()))

    def _copies(self) -> float:
        """Return how many rows there are by different ones, of features and label together."""
        pairs = np.stack([self._hashes, self._rows.labels.view(np.uint32).astype(np.uint64)], axis=1)
        return len(pairs) / len(np.unique(pairs, axis=0))

    def _judge(self, name: str, changes: Mapping[str, Any]) -> np.ndarray:
        """Return the loss of each different row that is scored, float64, by models of these changes."""
        factors = 1 if changes is LINEAR else self._h.num_factors if self._few else min(FACTORS, self._h.num_factors)
        given: dict[str, Any] = {"pilot": "none", "validation_fraction": None, "feature_dim": None}
        given |= {"epochs": self._tried(name), "num_factors": factors}
        given |= {"factors_init_sigma": FIRST_SIGMA / factors**0.5, **changes}
        losses = np.concatenate([self._of_part(replace(self._h, **given), scored) for scored in self._scored])
        _, row, count = np.unique(self._scored_hashes, return_inverse=True, return_counts=True)
        self._losses[name] = np.bincount(row, losses) / count
        return self._losses[name]

    def _of_part(self, h: Hyperparameters, scored: np.ndarray) -> np.ndarray:
        rest, objective = self._rows.take(scored), objective_of(h)
        model = self._fit(self._rows.take(np.setdiff1d(np.arange(len(self._rows)), scored)), h)
        scores = backend_of(h).score(rest.within(model.feature_dim)[0], model)
        losses = objective.loss(np, bounded(scores, label_range(model)).astype(np.float64), rest.labels)
        return losses if rest.weights is None else losses * rest.weights / self._rows.weights.mean()


def _standard_errors(differences: np.ndarray) -> float:
    """Return the mean by its standard error; 0 where nothing differs."""
    spread = float(differences.std())
    return float(differences.mean()) / spread * len(differences) ** 0.5 if spread > 0 else 0.0
