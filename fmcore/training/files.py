"""Files around a fit: rows by name, vocabulary, checkpoint, and the model published whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING, TypedDict

from fmcore.errors import UsageError
from fmcore.families import family_of
from fmcore.hyper.params import Hyperparameters
from fmcore.io.data import Data, Reader
from fmcore.io.options import KEPT_OF_IDS, KEPT_OPTIONS, KEPT_WHERE_SET, ReadOptions, needed_by
from fmcore.io.tables.vocabulary import Encoder, open_encoder
from fmcore.model import file
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.solvers import Resources, Task
from fmcore.solvers.observer import Observer
from fmcore.system import publish
from fmcore.training import checkpoint as checkpoints
from fmcore.training.fit import Fitting, require_trainable

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Interruption(TypedDict, total=False):
    """Arguments that say how a training is saved and stopped.

    checkpoint: a path; training is saved there after each epoch, and resumed from it where it exists. Or a Saving, for
    more to choose.
    stop: asked wherever a sweep can pause, and while a pipe is waited for, whether to end with what is trained; the
    model's info then has "stopped".
    """

    checkpoint: str | PathLike | checkpoints.Saving | None
    stop: Callable[[], bool] | None


def train(
    data: Data,
    hyperparameters: Hyperparameters,
    target: str | PathLike,
    *,
    test: Data | None = None,
    resources: Resources | None = None,
    initial_model: Model | None = None,
    observer: Observer | None = None,
    **interruption: Unpack[Interruption],
) -> Model:
    """Train on `data`, publish the model at `target`, and return it.

    initial_model: a trained Model to start from, with its optimizer's state; for hyperparameters and data.options that
    go with it see fmcore.training.warmstart. A vocabulary then takes in new values.
    interruption: see Interruption.
    Raises as fmcore.training.fit.fit; UsageError also where an output cannot be written, ModelError for a checkpoint
    that is damaged.
    """
    observer, stop = observer or Observer(), interruption.get("stop") or _never
    encoder = open_encoder(
        data.options,
        build=initial_model is None,
        grow=initial_model is not None and data.pipe is None,
    )
    _require_stdin_once(data, test)
    rows = _reader(data, encoder, hyperparameters, stop)
    test_rows = None if test is None else _reader(test, encoder, hyperparameters, stop)
    task = Task(rows, hyperparameters, test_rows, initial_model)
    require_trainable(task)
    _require_known_columns(rows)
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handle = stack.enter_context(publish.whole(target))
        vocabulary = rows.vocabulary_output(stack)
        kept = _kept(rows.options)
        facts = _facts(kept, initial_model)
        control = checkpoints.control(**interruption, facts=facts, observer=observer, target=target)
        model = Fitting(resources).fit(task, observer, control)
        if rows.options.id_bits is not None and encoder.feature_dim is None:  # no table was read
            kept[KEPT_OF_IDS] = True
        model.info["input"] = kept
        file.dump(model, handle)
        if vocabulary:
            encoder.write(vocabulary)
    return model


def _reader(data: Data, encoder: Encoder, hyperparameters: Hyperparameters, stop: Callable[[], bool]) -> Reader:
    objective, family = objective_of(hyperparameters), family_of(hyperparameters)
    return data.reader(encoder, options=needed_by(data.options, objective, family), stopped=stop)


def _never() -> bool:
    return False


def _require_stdin_once(*parts: Data | None) -> None:
    if sum(part.uses_stdin for part in parts if part is not None) > 1:
        raise UsageError("standard input (-) is named for training and for testing, but can be read once")


def _require_known_columns(rows: Reader) -> None:
    if rows.streaming and rows.encoder.ids.grows:
        raise UsageError(
            "--compact numbers the ids of all rows before training begins, which pipes do not give; take --hash-bits"
        )
    if rows.streaming and rows.encoder.is_new:
        raise UsageError(
            f"the vocabulary {rows.options.table.vocabulary} does not exist, and to build one takes all "
            "rows before training begins, which pipes do not give; name one that exists, or take "
            "--hash-bits"
        )


def _facts(kept: dict, initial_model: Model | None) -> dict:
    """Return what must be equal for a training to be resumed, beside its hyperparameters and rows."""
    facts = {**kept["table"], **{name: value for name, value in kept.items() if name != "table"}}
    if initial_model is not None:
        facts["initial model"] = file.digest(initial_model)
    return facts


def _kept(options: ReadOptions) -> dict:
    """Return the read options that a model carries, so that scoring reads as training did.

    "auto" leaves indices as they stand, and its note on the training rows must not be repeated for a few others.
    """
    kept = {name: getattr(options, name) for name in KEPT_OPTIONS}
    kept |= {name: True for name in KEPT_WHERE_SET if getattr(options, name)}
    return {**kept, "index_base": "1" if options.index_base == "1" else "0", "table": asdict(options.table)}
