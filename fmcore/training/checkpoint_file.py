"""The file of a checkpoint: a State and the facts of its training, in the form of a model.

Its tensors are the weights as in training and the optimizer's state, then all of the best epoch's, under "state.best.",
and of the model that the epoch under way began with, under "state.begun.". Its info holds, under "checkpoint", the
records of the epochs, the progress within the next one, the facts of the training: what was trained on which rows; and
what a pilot found before it.
"""

import math
from dataclasses import asdict

from fmcore.errors import ModelError
from fmcore.model import file as modelfile
from fmcore.model.info import require_records
from fmcore.model.model import Model
from fmcore.solvers.epoch import UNITS, Progress
from fmcore.training.state import PILOT, Best, State

KEY, BEST, BEGUN = "checkpoint", "best.", "begun."


def encode(state, facts):
    """Return the Model that a checkpoint's file holds."""
    model, best, kept = state.model, state.best, {}
    if best:
        kept |= _put(BEST, best.model)
    if state.begun and state.progress.rows:  # else it is the model itself
        kept |= _put(BEGUN, state.begun)
    info = {
        "epochs": state.epochs,
        "progress": asdict(state.progress),
        "halved": state.halved,
        "best": best and [best.epoch, best.value],
        "facts": facts,
        "workers": state.workers,
        "unit": state.unit,
        **{name: record for name, record in model.info.items() if name == PILOT},
    }
    return Model(model.hyperparameters, model.weights, {**model.state, **kept}, {KEY: info})


def load(path):
    """Return the State in a checkpoint's file, and the facts of its training; raise ModelError where it holds none."""
    saved = modelfile.load(path, verify=True)
    if KEY not in saved.info:
        raise ModelError(f"{path}: a model, not a checkpoint of training; name another file")
    try:
        state, facts = decode(saved)
        _require_sound(state, facts)
    except (KeyError, TypeError, ValueError, ModelError):
        raise ModelError(f"{path}: damaged, or written by a newer fmkit") from None
    return state, facts


def _require_sound(state, facts):
    """Raise ModelError or TypeError where training could not be resumed from the content of a file."""
    require_records(state.epochs)
    if not isinstance(facts, dict) or not isinstance(state.model.info.get(PILOT, {}), dict):
        raise TypeError
    if not _is_list_of_counts(state.halved):
        raise TypeError
    _require_progress(state.progress)
    if not _is_list_of_counts([state.workers]) or not state.workers or state.unit not in UNITS:
        raise TypeError
    if state.best:
        require_records(state.epochs, state.best.epoch)
        if not isinstance(state.best.value, (int, float)):
            raise TypeError
    for model in filter(None, (state.model, state.begun, state.best and state.best.model)):
        if model.feature_dim != state.model.feature_dim:
            raise TypeError
        _require_state(model, whole=model is not state.begun)


def _require_progress(progress):
    """Raise TypeError where a count is negative or no count, or a sum of losses or weights is no finite number."""
    counts, sums = (progress.blocks, progress.steps, progress.rows), (progress.loss, progress.weight)
    if not _is_list_of_counts([*counts]) or not all(type(n) in {int, float} and math.isfinite(n) for n in sums):
        raise TypeError


def _is_list_of_counts(value):
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _require_state(model, *, whole):
    """Raise ModelError where the state's arrays are not those of its solver, or hold values that it never has.

    whole: whether there must be all of them; a model that no mini-batch has changed may have none.
    """
    table = model.state_table()
    if not model.state.keys() <= table.keys() or (whole and model.state.keys() != table.keys()):
        raise ModelError("its state is not its optimizer's")
    for name, array in model.state.items():
        if not table[name].fits(array):
            raise ModelError("its state is not its optimizer's")
        if not table[name].holds(array):
            raise ModelError(f"{name} is out of bounds")


def decode(saved):
    """Return the State and the facts of which `encode` made a Model."""
    h, info = saved.hyperparameters, saved.info[KEY]
    own = {name: array for name, array in saved.state.items() if not name.startswith((BEST, BEGUN))}
    state = State(
        Model(h, saved.weights, own, {PILOT: info[PILOT]} if PILOT in info else {}),
        info["epochs"],
        Progress(**{"steps" if name == "turns" else name: count for name, count in {**info["progress"]}.items()}),
        begun=_taken(BEGUN, saved),
        halved=info["halved"],
        workers=info.get("workers", 1),
        unit=info.get("unit", info.get("turns", UNITS[0])),  # "turns" in files of the first version
    )
    if info["best"]:
        epoch, value = info["best"]
        state.best = Best(epoch, value, _taken(BEST, saved))
    if state.best and not state.best.model:
        raise KeyError(BEST)
    return state, info["facts"]


def require_model(model, path):
    """Raise ModelError where a file is a checkpoint, whose weights are of scaled values and would score wrongly."""
    if KEY in model.info:
        raise ModelError(f"{path}: a checkpoint of training, not a model; finish that training to get one")


def _put(prefix, model):
    """Return all tensors of a model under names with that prefix."""
    return {prefix + name: array for name, array in model.tensors().items()}


def _taken(prefix, saved):
    """Return the Model that `_put` put into another one's state, or None."""
    tensors = {
        name.removeprefix(prefix): array.copy()  # because the model is later unscaled in place
        for name, array in saved.state.items()
        if name.startswith(prefix)
    }
    if not tensors:
        return None
    weights = {tensor.name: tensors.pop(tensor.name) for tensor in saved.family.tensors}
    state = {name.removeprefix(modelfile.PREFIX): array for name, array in tensors.items()}
    return Model(saved.hyperparameters, weights, state)
