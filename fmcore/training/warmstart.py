"""Warm start from a trained model: which hyperparameters and options match it, and its tables for new features."""

import numpy as np

from fmcore.errors import ModelError, UsageError
from fmcore.hyper.given import layered
from fmcore.hyper.groups import GROUPS
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.solvers import SOLVERS
from fmcore.model.model import initial
from fmcore.model.scaling import NAME
from fmcore.optimizers.state import Spec
from fmcore.training.loop import trained_epochs

FIXED = ("predictor_type", "family", "num_factors", "use_bias", "use_linear", "optimizer")
READ_FIXED = ("index_base", "positive", "compact")  # of ReadOptions: they decide which index and label a value has
TABLE_FIXED = ("numeric", "categorical", "hash_bits")


def hyperparameters(model, given):
    """Return the `Hyperparameters` of a warm start: the typed values given, by name, else the model's own.

    The model's learning rates are those that its training ended with, where divergence has halved them; feature_dim is
    open, for new features. Raises UsageError where a given value does not match the model.
    """
    own = model.hyperparameters.as_dict()
    require_same_model(model, given)
    for group in GROUPS:
        own[f"{group}_lr"] *= 0.5 ** len(model.info.get("halved", ()))
    return Hyperparameters(**layered({**own, "feature_dim": None}, given))


def require_same_model(model, given):
    """Raise UsageError where hyperparameters, given by name, are of another model, or of one with fewer features."""
    _require_same([(name, getattr(model.hyperparameters, name), given[name]) for name in FIXED if name in given])
    feature_dim = given.get("feature_dim")
    if feature_dim is not None and feature_dim < model.feature_dim:
        raise UsageError(
            f"cannot warm-start: feature_dim is {feature_dim}, but the model has {model.feature_dim} features, "
            "which may become more but never fewer"
        )


def require_same_reading(model, given):
    """Raise UsageError where read options (a dict, the table's under "table") give values another index or label."""
    kept = model.info.get("input")
    if kept is None:  # the model was imported
        return
    kept = {"compact": False, **kept}
    pairs = [(name, kept.get(name), given[name]) for name in READ_FIXED if name in given]
    if model.schema is None:
        pairs += _of_tables(kept.get("table", {}), given.get("table", {}))
    _require_same(
        [
            ("index_base", was, "1" if now == "1" else "0") if name == "index_base" else (name, was, now)
            for name, was, now in pairs
        ]
    )


def grown(model, hyperparameters):
    """Return a copy of a model with hyperparameters.feature_dim features; new ones as in a new model, without state.

    Raises ModelError where its state does not have the shapes of its solver.
    """
    larger = initial(hyperparameters)
    for name, array in larger.weights.items():
        array[: len(model.weights[name])] = model.weights[name]
    was = SOLVERS[hyperparameters.solver].table(hyperparameters, larger.family, model.feature_dim)
    for name, spec in larger.state_table().items():
        if name in model.state:
            larger.state[name] = _extended(model.state[name], name, was[name], spec.shape, 0)
    if NAME in model.state:
        scales = Spec((model.feature_dim,), np.float32)
        larger.state[NAME] = _extended(model.state[NAME], NAME, scales, (larger.feature_dim,), 1)
    larger.info["trained_epochs"] = trained_epochs(model)
    return larger


def _extended(kept, name, was, shape, rest):
    """Return an array of that shape: `kept`, which must fit the Spec `was`, then `rest`."""
    if not was.fits(kept):
        raise ModelError(f"cannot warm-start: the model is damaged: its {name} is {kept.dtype} {kept.shape}")
    array = np.full(shape, rest, was.dtype)
    array[: len(kept)] = kept
    return array


def _of_tables(table, given):
    """Return (name, the value of a model of format 1, the given one) of options of tables."""
    pairs = [
        (name, table.get(name) and _plain(table[name]), _plain(given[name])) for name in TABLE_FIXED if name in given
    ]
    if "vocabulary" in given and table.get("vocabulary") is None:  # else the file may have moved since
        pairs.append(("vocabulary", None, given["vocabulary"]))
    return pairs


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def _require_same(pairs):
    """Raise UsageError for those (name, the model's value, the given one) whose values differ."""
    different = [f"{name} is {now}, but {was} in the model" for name, was, now in pairs if was != now]
    if different:
        raise UsageError(f"cannot warm-start: {', '.join(different)}; leave it out, or train a new model")
