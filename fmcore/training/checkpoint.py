"""Checkpoints: what training needs to go on, kept in a file, for the same model as without a break.

The file has the form of a model. Its tensors are the weights as training has them and the optimizer's state, then all
of the best epoch's, under "state.best.", and of the model that the epoch under way began with, under "state.begun.".
Its info holds, under "checkpoint", the records of the epochs, how far the next one has come, and what was trained on
what.
"""

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

import numpy as np

from fmcore.errors import ModelError, PausedError, UsageError
from fmcore.model import file as modelfile
from fmcore.model.info import require_records
from fmcore.model.model import Model
from fmcore.solvers.epoch import UNITS, Progress
from fmcore.solvers.observer import Observer
from fmcore.system import publish
from fmcore.training.state import Best, Control, State

KEY, BEST, BEGUN = "checkpoint", "best.", "begun."


@dataclass(frozen=True)
class Saving:
    """Where training is saved, and how it is gone on with.

    path: of the file. resume: whether to go on from what is there, else it is refused; None as True, without a word
    where nothing is there.
    minutes: how often it is saved within an epoch as well, or None.
    resumable: whether a stop saves the epoch under way and raises PausedError, instead of ending with the model so far.
    """

    path: str
    resume: bool | None = None
    minutes: float | None = None
    resumable: bool = False


def control(checkpoint=None, stop=None, *, facts, observer=None, target=None):
    """The Control of a training that asks `stop`, and saves as `checkpoint`, a path or a Saving, says.

    facts: name -> value, what else must be equal for going on, ready for JSON. target: path of the model to come.
    """
    if checkpoint is None:
        return Control(stop)
    saving = checkpoint if isinstance(checkpoint, Saving) else Saving(os.fspath(checkpoint))
    return Checkpoint(saving, stop, facts, observer or Observer(), target)


class Checkpoint(Control):
    """Saves training to a file, and goes on from what is there.

    Raises UsageError where the file cannot be written or is there and not to be used, ModelError where it is damaged or
    no checkpoint.
    """

    def __init__(self, saving, stop, facts, observer, target):
        super().__init__(stop)
        self._saving, self._facts, self._observer, self._target = saving, facts, observer, target
        self.resumable, self._within = saving.resumable, False
        publish.prepare(saving.path)
        there = Path(saving.path).exists()
        if there and saving.resume is False:
            raise UsageError(f"{saving.path} is there already; go on from it with --resume, or remove it to begin anew")
        self._found = load(saving.path) if there else None
        self._saved = None  # when, of the clock that never goes back

    def begin(self, model, placed, *, tested):
        """See Control; UsageError where the file is of another training."""
        facts = {**self._facts, **facts_of(placed), "test rows": "given" if tested else "none"}
        self._facts = json.loads(json.dumps(facts))  # as a file gives them back
        self._within, self._saved = placed.complete, monotonic()  # the rows of a pipe do not come again
        found, self._found = self._found, None
        if found is None:
            if self._saving.resume:
                self._observer.anew(f"there is no checkpoint {self._saving.path} to go on from")
            return super().begin(model, placed, tested=tested)
        state, there = found
        different = self._differences(state, there, model.hyperparameters)
        if different and self._is_published(state):
            self._observer.anew(f"{self._saving.path} is of the training whose model is in {self._target}")
            return super().begin(model, placed, tested=tested)
        if different:
            raise UsageError(
                f"{self._saving.path} is a checkpoint of another training: {', '.join(different)}; remove "
                "it to begin anew, or name another file"
            )
        for kept in filter(None, (state.model, state.begun, state.best and state.best.model)):
            kept.hyperparameters = model.hyperparameters  # which may have another number of epochs
        return state

    def save(self, state):
        """See Control; the file is replaced as a whole."""
        modelfile.save(encode(state(), self._facts), self._saving.path)
        self._saved = monotonic()

    def pass_by(self, state):
        """See Control; saves where the time has come."""
        minutes = self._saving.minutes
        if minutes is not None and self._within and monotonic() - self._saved >= 60 * minutes:
            self.save(state)

    def kept(self):
        """See Control."""
        return self._saving.path if self._saved is not None and Path(self._saving.path).exists() else None

    def paused(self, state):
        """See Control."""
        if not self.resumable:
            return
        path, state = self._saving.path, state()
        if self._within:
            self.save(lambda: state)
            where = f"saved to {path}; run the same command with --resume"
        elif state.epochs:
            where = f"{path} holds the epochs before it, to go on with --resume; within one, a pipe's rows are lost"
        else:
            where = "nothing is saved, for within an epoch a pipe's rows are lost"
        raise PausedError(f"interrupted in epoch {state.epoch} after {state.progress.rows:,} rows; {where}")

    def _differences(self, state, there, hyperparameters):
        """What differs between a checkpoint and this training, in words; the number of epochs where it matters."""
        was, now = state.model.hyperparameters.as_dict(), hyperparameters.as_dict()
        begun = len(state.epochs) + (state.progress.rows > 0)
        if was["lr_schedule"] == now["lr_schedule"] == "constant" and begun <= now["epochs"]:
            was["epochs"] = now["epochs"]
        there, here = {**was, **there}, {**now, **self._facts}
        return [
            f"{name} was {there.get(name)} and is {here.get(name)}"
            for name in dict.fromkeys([*here, *there])
            if there.get(name) != here.get(name)
        ]

    def _is_published(self, state):
        """Whether the training has ended and its model is in place: a kill came just before the file was removed."""
        if not self.resumable or not state.ended():
            return False
        try:
            model = modelfile.load(self._target)
        except ModelError:
            return False
        return (model.hyperparameters, model.info.get("epochs")) == (state.model.hyperparameters, state.epochs)


def remove(path):
    """Remove a checkpoint that is needed no more; a link to it stays."""
    Path(os.path.realpath(path)).unlink(missing_ok=True)


def facts_of(placed):
    """Return what identifies training rows: counts, and digits of means that no processor rounds otherwise."""
    scale = 1 if placed.scale is None else placed.scale.mean(dtype=np.float64)
    return {
        "rows": placed.rows,
        "non-zeros": placed.non_zeros,
        "mean label": f"{placed.mean_label:.6g}",
        "mean feature scale": f"{scale:.6g}",
    }


def encode(state, facts):
    """The Model that a checkpoint's file holds."""
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
    }
    return Model(model.hyperparameters, model.weights, {**model.state, **kept}, {KEY: info})


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
    if not isinstance(facts, dict) or not _is_list_of_counts(state.halved):
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
        _require_state(model)


def _require_progress(progress):
    """Counts must not be negative, and sums of losses and weights must be numbers."""
    counts, sums = (progress.blocks, progress.steps, progress.rows), (progress.loss, progress.weight)
    if not _is_list_of_counts([*counts]) or not all(type(n) in {int, float} and math.isfinite(n) for n in sums):
        raise TypeError


def _is_list_of_counts(told):
    return isinstance(told, list) and all(type(n) is int and 0 <= n < 2**63 for n in told)


def _require_state(model):
    """Raise ModelError where the state's arrays are not those that a solver keeps, or hold what it never would."""
    table = model.state_table()
    if model.state.keys() != table.keys() or not all(spec.fits(model.state[name]) for name, spec in table.items()):
        raise ModelError("its state is not its optimizer's")
    for name, spec in table.items():
        if not spec.holds(model.state[name]):
            raise ModelError(f"{name} is out of bounds")


def decode(saved):
    """The State and the facts that `encode` made a Model of."""
    h, info = saved.hyperparameters, saved.info[KEY]
    own = {name: array for name, array in saved.state.items() if not name.startswith((BEST, BEGUN))}
    state = State(
        Model(h, saved.weights, own),
        info["epochs"],
        Progress(**{"steps" if name == "turns" else name: count for name, count in info["progress"].items()}),
        begun=_taken(BEGUN, saved),
        halved=info["halved"],
        workers=info.get("workers", 1),
        unit=info.get("unit", info.get("turns", UNITS[0])),  # as the first version called it
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
    """All tensors of a model under names with that prefix."""
    return {prefix + name: array for name, array in model.tensors().items()}


def _taken(prefix, saved):
    """The Model that `_put` put into another one's state, or None."""
    tensors = {
        name.removeprefix(prefix): array.copy()  # the model that comes out is unscaled in place
        for name, array in saved.state.items()
        if name.startswith(prefix)
    }
    if not tensors:
        return None
    weights = {tensor.name: tensors.pop(tensor.name) for tensor in saved.family.tensors}
    state = {name.removeprefix(modelfile.PREFIX): array for name, array in tensors.items()}
    return Model(saved.hyperparameters, weights, state)
