"""Checkpoints: what training needs to go on after an epoch, kept in a file, for the same model as without a break.

The file has the form of a model. Its tensors are the weights as training has them (of scaled values; to raw ones and
back would lose bits) and the optimizer's state, then all of the best epoch's, under "state.best.". Its info holds,
under "checkpoint", the records of the epochs, the best one's number and value, and what was trained on what.
"""
import json
from pathlib import Path

import numpy as np

from fmcore import modelfile, publish
from fmcore.errors import ModelError, UsageError
from fmcore.model import Model
from fmcore.modelinfo import require_records
from fmcore.optimizers import COUNTED, SLOTS, SQUARES, UPDATES, state_name, updates_in
from fmcore.params import GROUPS
from fmcore.training import Best, Control, State

KEY, BEST = "checkpoint", "best."


def control(checkpoint=None, stop=None, *, facts):
    """The Control of a training that saves to the path `checkpoint` and goes on from it, if given, and asks `stop`."""
    return Control(stop) if checkpoint is None else Checkpoint(checkpoint, stop, facts)


class Checkpoint(Control):
    """Saves training to a file after each epoch, and goes on from what is there.

    facts: name -> value, what else must be equal for going on, ready for JSON.
    Raises UsageError where the file cannot be written, ModelError where it is damaged or no checkpoint.
    """

    def __init__(self, path, stop, facts):
        super().__init__(stop)
        self._path, self._facts = path, facts
        publish.prepare(path)
        self._found = load(path) if Path(path).exists() else None

    def begin(self, model, dataset, *, tested):
        """See Control; UsageError where the file is of another training."""
        facts = {**self._facts, **facts_of(dataset), "test rows": "given" if tested else "none"}
        self._facts = json.loads(json.dumps(facts))  # as a file gives them back
        if self._found is None:
            return super().begin(model, dataset, tested=tested)
        (state, there), self._found = self._found, None
        self._require_equal({**state.model.hyperparameters.as_dict(), **there},
                            {**model.hyperparameters.as_dict(), **self._facts})
        return state

    def save(self, state):
        """See Control; the file is replaced as a whole."""
        modelfile.save(encode(state(), self._facts), self._path)

    def _require_equal(self, there, here):
        different = [f"{name} was {there.get(name)} and is {here.get(name)}"
                     for name in dict.fromkeys([*here, *there]) if there.get(name) != here.get(name)]
        if different:
            raise UsageError(f"{self._path} is a checkpoint of another training: {', '.join(different)}; remove it to "
                             "begin anew, or name another file")


def facts_of(dataset):
    """What tells one loaded Dataset from another: counts, and digits of means that no processor rounds otherwise."""
    scale = 1 if dataset.scale is None else dataset.scale.mean(dtype=np.float64)
    return {"rows": dataset.rows, "non-zeros": dataset.non_zeros, "rows of a mini-batch": dataset.mini_batch_size,
            "mean label": f"{dataset.mean_label:.6g}", "mean feature scale": f"{scale:.6g}"}


def encode(state, facts):
    """The Model that a checkpoint's file holds."""
    model, best, kept = state.model, state.best, {}
    if best:
        kept = {BEST + name: array for name, array in best.model.tensors().items()}
    info = {"epochs": state.epochs, "best": best and [best.epoch, best.value], "facts": facts}
    return Model(model.hyperparameters, model.bias, model.linear, model.factors, {**model.state, **kept}, {KEY: info})


def load(path):
    """The State in a checkpoint's file, and the facts of its training; ModelError where it holds none."""
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
    """Raise ModelError or TypeError where training could not go on from what a file says."""
    require_records(state.epochs)
    if not isinstance(facts, dict):
        raise TypeError
    _require_state(state.model)
    if state.best:
        require_records(state.epochs, state.best.epoch)
        if not isinstance(state.best.value, (int, float)) or state.best.model.linear.shape != state.model.linear.shape:
            raise TypeError
        _require_state(state.best.model)


def _require_state(model):
    """The arrays of an optimizer must be its own and as large as the weights; sums of squares are not negative."""
    optimizer = model.hyperparameters.optimizer
    expected = {state_name(slot, group): (np.float32, getattr(model, group).shape)
                for slot in SLOTS[optimizer] for group in GROUPS}
    if optimizer == "adam":
        expected[UPDATES] = np.int64, (1,)
    found = {name: (array.dtype.type, array.shape) for name, array in model.state.items()}
    if found != expected:
        raise ModelError("its state is not its optimizer's")
    for name, array in model.state.items():
        if name.startswith((*SQUARES, UPDATES)) and array.min() < 0:
            raise ModelError(f"{name} is negative")
    if updates_in(model.state) > COUNTED:
        raise ModelError(f"{UPDATES} is beyond what any training counts")


def decode(saved):
    """The State and the facts that `encode` made a Model of."""
    h, info = saved.hyperparameters, saved.info[KEY]
    best = {name.removeprefix(BEST): array for name, array in saved.state.items() if name.startswith(BEST)}
    own = {name: array for name, array in saved.state.items() if not name.startswith(BEST)}
    state = State(Model(h, saved.bias, saved.linear, saved.factors, own), info["epochs"])
    if info["best"]:
        epoch, value = info["best"]
        copies = {name: array.copy() for name, array in best.items()}  # the model that comes out is unscaled in place
        groups = {group: copies.pop(group) for group in GROUPS}
        optimizer = {name.removeprefix(modelfile.PREFIX): array for name, array in copies.items()}
        state.best = Best(epoch, value, Model(h, **groups, state=optimizer))
    return state, info["facts"]


def require_model(model, path):
    """Raise ModelError where a file is a checkpoint, whose weights are of scaled values and would score wrongly."""
    if KEY in model.info:
        raise ModelError(f"{path}: a checkpoint of training, not a model; finish that training to get one")
