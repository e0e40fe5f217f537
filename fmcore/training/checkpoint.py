"""Checkpoints: files from which a training is resumed to the same model as without a break.

The file has the form of a model. Its tensors are the weights as in training and the optimizer's state, then all of the
best epoch's, under "state.best.", and of the model that the epoch under way began with, under "state.begun.". Its info
holds, under "checkpoint", the records of the epochs, the progress within the next one, and the facts of the training:
what was trained on which rows.
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
    """The file in which training is saved, and how it is resumed.

    path: of the file. resume: whether to resume from an existing file, which False refuses; None: as True, without a
    note where no file exists.
    minutes: how often training is saved within an epoch as well, or None.
    resumable: whether a stop saves the epoch under way and raises PausedError, instead of ending with the model so far.
    """

    path: str
    resume: bool | None = None
    minutes: float | None = None
    resumable: bool = False


def control(checkpoint=None, stop=None, *, facts, observer=None, target=None):
    """Return the Control of a training; checkpoint: a path or a Saving, None to save nothing. stop: see Control.

    facts: name -> value, what else must be equal to resume, ready for JSON. target: path of the model to come.
    """
    if checkpoint is None:
        return Control(stop)
    saving = checkpoint if isinstance(checkpoint, Saving) else Saving(os.fspath(checkpoint))
    return Checkpoint(saving, stop, facts, observer or Observer(), target)


class Checkpoint(Control):
    """The control of a training that is saved to a file, and resumed from that file where it exists.

    Raises UsageError where the file cannot be written, or exists and must not be used, ModelError where it is damaged
    or no checkpoint.
    """

    def __init__(self, saving, stop, facts, observer, target):
        super().__init__(stop)
        self._saving, self._facts, self._observer, self._target = saving, facts, observer, target
        self.resumable, self._within = saving.resumable, False
        publish.prepare(saving.path)
        exists = Path(saving.path).exists()
        if exists and saving.resume is False:
            raise UsageError(
                f"{saving.path} exists; resume from it with --resume, or remove it to start from the beginning"
            )
        self._found = load(saving.path) if exists else None
        self._saved = None  # time of the last save, of the monotonic clock

    def begin(self, model, placed, *, tested):
        """Return the State in the file, or a new one without a file; raise UsageError for that of another training."""
        facts = {**self._facts, **facts_of(placed), "test rows": "given" if tested else "none"}
        self._facts = json.loads(json.dumps(facts))  # as they are read from a file
        self._within, self._saved = placed.complete, monotonic()  # the rows of a pipe cannot be read again
        found, self._found = self._found, None
        if found is None:
            if self._saving.resume:
                self._observer.restarted(f"there is no checkpoint {self._saving.path} to resume from")
            return super().begin(model, placed, tested=tested)
        state, saved_facts = found
        different = self._differences(state, saved_facts, model.hyperparameters)
        if different and self._is_published(state):
            self._observer.restarted(f"{self._saving.path} is of the training whose model is in {self._target}")
            return super().begin(model, placed, tested=tested)
        if different:
            raise UsageError(
                f"{self._saving.path} is a checkpoint of another training: {', '.join(different)}; remove "
                "it to start from the beginning, or name another file"
            )
        for kept in filter(None, (state.model, state.begun, state.best and state.best.model)):
            kept.hyperparameters = model.hyperparameters  # which may have another number of epochs
        return state

    def save(self, state):
        """Save at the end of an epoch; the file is replaced as a whole. See Control."""
        modelfile.save(encode(state(), self._facts), self._saving.path)
        self._saved = monotonic()

    def pass_by(self, state):
        """Save where `minutes` have passed since the last time; see Control."""
        minutes = self._saving.minutes
        if minutes is not None and self._within and monotonic() - self._saved >= 60 * minutes:
            self.save(state)

    def kept(self):
        """Return the path of the checkpoint, None before one is saved; see Control."""
        return self._saving.path if self._saved is not None and Path(self._saving.path).exists() else None

    def paused(self, state):
        """Save the epoch under way and raise PausedError, where that is wanted; see Control."""
        if not self.resumable:
            return
        path, state = self._saving.path, state()
        if self._within:
            self.save(lambda: state)
            where = f"saved to {path}; run the same command with --resume"
        elif state.epochs:
            where = f"{path} holds the epochs before it; resume with --resume; within one, a pipe's rows are lost"
        else:
            where = "nothing is saved, because within an epoch a pipe's rows are lost"
        raise PausedError(f"interrupted in epoch {state.epoch} after {state.progress.rows:,} rows; {where}")

    def _differences(self, state, facts, hyperparameters):
        """Return the differences between a checkpoint and this training, as clauses.

        The number of epochs is one only where it changes what was trained so far.
        """
        was, now = state.model.hyperparameters.as_dict(), hyperparameters.as_dict()
        begun = len(state.epochs) + (state.progress.rows > 0)
        if was["lr_schedule"] == now["lr_schedule"] == "constant" and begun <= now["epochs"]:
            was["epochs"] = now["epochs"]
        saved, current = {**was, **facts}, {**now, **self._facts}
        return [
            f"{name} was {saved.get(name)} and is {current.get(name)}"
            for name in dict.fromkeys([*current, *saved])
            if saved.get(name) != current.get(name)
        ]

    def _is_published(self, state):
        """Return whether the training ended and published its model, and was killed before it removed the file."""
        if not self.resumable or not state.ended():
            return False
        try:
            model = modelfile.load(self._target)
        except ModelError:
            return False
        return (model.hyperparameters, model.info.get("epochs")) == (state.model.hyperparameters, state.epochs)


def remove(path):
    """Remove a checkpoint that is no longer needed; a link to it stays."""
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
    """Raise TypeError where a count is negative or no count, or a sum of losses or weights is no finite number."""
    counts, sums = (progress.blocks, progress.steps, progress.rows), (progress.loss, progress.weight)
    if not _is_list_of_counts([*counts]) or not all(type(n) in {int, float} and math.isfinite(n) for n in sums):
        raise TypeError


def _is_list_of_counts(value):
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _require_state(model):
    """Raise ModelError where the state's arrays are not those of its solver, or hold values that it never has."""
    table = model.state_table()
    if model.state.keys() != table.keys() or not all(spec.fits(model.state[name]) for name, spec in table.items()):
        raise ModelError("its state is not its optimizer's")
    for name, spec in table.items():
        if not spec.holds(model.state[name]):
            raise ModelError(f"{name} is out of bounds")


def decode(saved):
    """Return the State and the facts of which `encode` made a Model."""
    h, info = saved.hyperparameters, saved.info[KEY]
    own = {name: array for name, array in saved.state.items() if not name.startswith((BEST, BEGUN))}
    state = State(
        Model(h, saved.weights, own),
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
