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
from fmcore.io.options import KEPT_OPTIONS, KEPT_TABLE, KEPT_WHERE_SET, ReadOptions, needed_by
from fmcore.io.parallel import Workers
from fmcore.model import file
from fmcore.model.info import encoder_for, unchecked
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.schema import vocabulary as vocabularies
from fmcore.schema.encoder import Encoder
from fmcore.solvers import Resources, Task
from fmcore.solvers.observer import Observer
from fmcore.system import publish
from fmcore.system.apart import require_apart
from fmcore.training import checkpoint as checkpoints
from fmcore.training.fit import Fitting, require_trainable, with_validation

if TYPE_CHECKING:
    from typing_extensions import Unpack

PathName = str | PathLike
Kept = PathName | checkpoints.Saving | None  # where a training is saved


class Interruption(TypedDict, total=False):
    """Arguments that say how a training is saved and stopped.

    checkpoint: a path; training is saved there after each epoch, and resumed from it where it exists. Or a Saving, for
    more to choose.
    stop: asked wherever a sweep can pause, and while a pipe is waited for, whether to end with what is trained; the
    model's info then has "stopped".
    """

    checkpoint: Kept
    stop: Callable[[], bool] | None


def train(
    data: Data,
    hyperparameters: Hyperparameters,
    target: PathName,
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
    _require_apart(target, interruption.get("checkpoint"), (data, test), initial_model)
    _require_stdin_once(data, test)
    rows = reader_of(data, hyperparameters, initial_model, stop)
    test_rows = None if test is None else _reader(test, rows.encoder, hyperparameters, stop)
    task = with_validation(Task(rows, hyperparameters, test_rows, initial_model))
    require_trainable(task)
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handle = stack.enter_context(publish.whole(target))
        vocabulary = rows.vocabulary_output(stack)
        learn_first(rows, hyperparameters, resources)
        kept = read_as(rows.options)
        facts = _facts(rows.options, kept, initial_model)
        control = checkpoints.control(**interruption, facts=facts, observer=observer, target=target)
        model = Fitting(resources).fit(task, observer, control)
        model.info["input"], model.schema = kept, rows.schema()
        file.dump(model, handle)
        if vocabulary:
            vocabularies.write(rows.encoder, vocabulary)
    return model


def reader_of(
    data: Data,
    hyperparameters: Hyperparameters,
    initial_model: Model | None = None,
    stop: Callable[[], bool] | None = None,
) -> Reader:
    """Return a Reader of training rows, whose encoder learns what they mean, or goes by the model to start from."""
    return _reader(data, _encoder(data, initial_model), hyperparameters, stop or _never)


def learn_first(rows: Reader, hyperparameters: Hyperparameters, resources: Resources | None = None) -> None:
    """Read the rows once before training where what they show must be known by then; see Reader.learn."""
    with rows.named(), Workers(rows.options.threads) as workers:
        if resources is not None and resources.team is not None and not rows.streaming:
            rows.look(workers)  # workers read at the same time, and must agree on what columns are
            if rows.encoder.lists_values or rows.options.table.min_count > 1:
                rows.learn(objective_of(hyperparameters), workers)
            rows.report.count("values added to the vocabulary", rows.encoder.added)
        elif rows.options.table.min_count > 1:
            rows.learn(objective_of(hyperparameters), workers)


def _encoder(data: Data, initial_model: Model | None) -> Encoder:
    """Return the Encoder of the training rows; a warm start adds values, except from pipes."""
    table = data.options.table
    if initial_model is not None:
        if sentence := unchecked(initial_model):
            data.report.note(sentence)
        return encoder_for(initial_model, table, grows=data.pipe is None)
    return vocabularies.new_encoder(table, compact=data.options.compact, streamed=data.pipe is not None)


def _reader(data: Data, encoder: Encoder, hyperparameters: Hyperparameters, stop: Callable[[], bool]) -> Reader:
    objective, family = objective_of(hyperparameters), family_of(hyperparameters)
    return data.reader(encoder, options=needed_by(data.options, objective, family), stopped=stop)


def _require_apart(target: PathName, checkpoint: Kept, parts: tuple[Data, Data | None], start: Model | None) -> None:
    """Refuse outputs that are inputs; the model that a training starts from may be replaced by what becomes of it."""
    saved = checkpoint.path if isinstance(checkpoint, checkpoints.Saving) else checkpoint
    others = {"the checkpoint": saved, "the vocabulary": parts[0].options.table.vocabulary}
    require_apart({"the model": target, **others}, [path for part in parts if part for path in part.paths])
    require_apart(others, [file.path_of(start)] if start else [])


def _never() -> bool:
    return False


def _require_stdin_once(*parts: Data | None) -> None:
    if sum(part.uses_stdin for part in parts if part is not None) > 1:
        raise UsageError("standard input (-) is named for training and for testing, but can be read once")


def _facts(options: ReadOptions, kept: dict, initial_model: Model | None) -> dict:
    """Return what must be equal for a training to be resumed, beside its hyperparameters and rows.

    Whether columns have buckets shows in the number of non-zeros, so that checkpoints of rows with indices are those of
    before there were any.
    """
    facts = {**asdict(options.table), **{name: value for name, value in kept.items() if name != "table"}}
    if not isinstance(facts["buckets"], int):
        del facts["buckets"]
    if not facts["buckets_for"]:
        del facts["buckets_for"]
    if initial_model is not None:
        facts["initial model"] = file.digest(initial_model)
    return facts


def read_as(options: ReadOptions) -> dict:
    """Return the read options that a model carries, so that scoring reads as training did.

    "auto" leaves indices as they stand, and its note on the training rows must not be repeated for a few others.
    """
    kept = {name: getattr(options, name) for name in KEPT_OPTIONS}
    kept |= {name: True for name in KEPT_WHERE_SET if getattr(options, name)}
    table = {name: getattr(options.table, name) for name in KEPT_TABLE}
    return {**kept, "index_base": "1" if options.index_base == "1" else "0", "table": table}
