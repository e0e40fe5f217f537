"""Checkpoints: what is saved of a training, when, and how it is resumed to the same model as without a break."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np

from fmcore.errors import ModelError, PausedError, UsageError
from fmcore.model import file as modelfile
from fmcore.solvers.observer import Observer
from fmcore.system import publish
from fmcore.training.checkpoint_file import encode, load
from fmcore.training.pilot import CHOSEN
from fmcore.training.state import PILOT, Control


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
        self._facts = self._all_facts(placed, tested=tested)
        self._within, self._saved = placed.complete, monotonic()  # the rows of a pipe cannot be read again
        found, self._found = self._found, None
        if found is None:
            if self._saving.resume:
                self._observer.restarted(f"there is no checkpoint {self._saving.path} to resume from")
            return super().begin(model, placed, tested=tested)
        state, saved_facts = found
        different = _differences(state, saved_facts, model.hyperparameters, self._facts)
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
            kept.info = dict(model.info)
        return state

    def piloted(self, hyperparameters, placed, *, tested):
        """Return what a pilot chose for the training in the file, where that is this one; see Control."""
        state, saved_facts = self._found or (None, None)
        record = state and state.model.info.get(PILOT)
        if record is None:
            return None
        chosen = {name: getattr(state.model.hyperparameters, name) for name in CHOSEN}
        if hyperparameters.epochs is None:
            chosen["epochs"] = state.model.hyperparameters.epochs
        same = replace(hyperparameters, feature_dim=placed.feature_dim, **chosen)
        if _differences(state, saved_facts, same, self._all_facts(placed, tested=tested)):
            return None
        return replace(hyperparameters, **chosen), record

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

    def _all_facts(self, placed, *, tested):
        """Return what must be equal to resume, apart from hyperparameters, as it is read from a file."""
        facts = {**self._facts, **facts_of(placed), "test rows": "given" if tested else "none"}
        return json.loads(json.dumps(facts))

    def _is_published(self, state):
        """Return whether the training ended and published its model, and was killed before it removed the file."""
        if not self.resumable or not state.ended():
            return False
        try:
            model = modelfile.load(self._target)
        except ModelError:
            return False
        return (model.hyperparameters, model.info.get("epochs")) == (state.model.hyperparameters, state.epochs)


def _differences(state, saved_facts, hyperparameters, facts):
    """Return the differences between a checkpoint and a training, as clauses.

    The number of epochs is one only where it changes what was trained so far.
    """
    was, now = state.model.hyperparameters.as_dict(), hyperparameters.as_dict()
    begun = len(state.epochs) + (state.progress.rows > 0)
    if was["lr_schedule"] == now["lr_schedule"] == "constant" and begun <= now["epochs"]:
        was["epochs"] = now["epochs"]
    saved, current = {**was, **saved_facts}, {**now, **facts}
    return [
        f"{name} was {saved.get(name)} and is {current.get(name)}"
        for name in dict.fromkeys([*current, *saved])
        if saved.get(name) != current.get(name)
    ]


def remove(path):
    """Remove a checkpoint that is no longer needed; a link to it stays."""
    Path(os.path.realpath(path)).unlink(missing_ok=True)


def facts_of(placed):
    """Return what identifies training rows: counts, and digits of means that no processor rounds otherwise."""
    scale = placed.scaling.scale
    scale = 1 if scale is None else scale.mean(dtype=np.float64)
    return {
        "rows": placed.rows,
        "non-zeros": placed.non_zeros,
        "mean label": f"{placed.mean_label:.6g}",
        "mean feature scale": f"{scale:.6g}",
    }
