"""What the commands do, each one call: this module alone joins readers, training, backends, models and writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from os import PathLike
from typing import Any

from fmcore.errors import UsageError
from fmcore.families import DEFAULT as FM
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.presets import resolve
from fmcore.io import convert as converting
from fmcore.io import naming
from fmcore.io.convert import Summary
from fmcore.io.data import Data, Reader
from fmcore.io.options import ReadOptions, needed_by
from fmcore.io.parallel import Workers
from fmcore.io.predictions import WRITERS, row_ids, writer_for
from fmcore.io.sources import streams
from fmcore.io.sources.pipes import PipeMode
from fmcore.model import export as exporting
from fmcore.model import file as modelfile
from fmcore.model import info as modelinfo
from fmcore.model import inspection
from fmcore.model.export import Selection
from fmcore.model.info import encoder_for, read_options
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch, counted
from fmcore.rows.checks import known_features
from fmcore.schema import vocabulary as vocabularies
from fmcore.scoring import Scorer
from fmcore.solvers import Judged, Resources, TeamOptions
from fmcore.solvers.observer import Observer
from fmcore.system import publish
from fmcore.system.apart import require_apart
from fmcore.training import checkpoint_file, warmstart
from fmcore.training.checkpoint import Saving
from fmcore.training.checkpoint import remove as remove_checkpoint
from fmcore.training.files import train
from fmcore.training.fit import fit
from fmcore.training.preview import Preview, preview
from fmcore.training.state import Control

__all__ = [
    "Batch",
    "Control",
    "Data",
    "Hyperparameters",
    "Observer",
    "PipeMode",
    "Preview",
    "ReadOptions",
    "Resources",
    "Saving",
    "Scorer",
    "Selection",
    "continued",
    "convert",
    "evaluate",
    "export",
    "fit",
    "import_archive",
    "inspect",
    "load",
    "mpi_leader",
    "predict",
    "preview",
    "read_options",
    "remove_checkpoint",
    "resolve",
    "team",
    "train",
]

PathName = str | PathLike


# --------------------------------------------------------------------------------------------------------- rows
def convert(
    data: Data, target: str, *, to: str | None = None, shards: int = 1, feature_dim: int | None = None
) -> Summary:
    """Write the rows to `target`, and a vocabulary that was built; return a Summary of them.

    to: "recordio", "libsvm", or None to go by the name of the target, else recordio. shards: files beside each other to
    deal rows to. feature_dim: of the rows, or None to count.
    Raises DataError for bad rows, UsageError for what cannot be written.
    """
    output_format = naming.output_format(target, converting.OUTPUT_FORMATS, "recordio", to)
    paths = converting.shard_paths(target, shards)
    outputs = {f"shard {number}": path for number, path in enumerate(paths)} if shards > 1 else {"the rows": target}
    require_apart({**outputs, "the vocabulary": data.options.table.vocabulary}, data.paths)
    if data.options.compact:
        raise UsageError(
            "--compact keeps the ids that it numbers in a model, which fm convert does not write; give it to fm train, "
            "or hash the ids with --hash-bits"
        )
    rows = data.reader(vocabularies.new_encoder(data.options.table, mode="fixed", kept=False))
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handles = [stack.enter_context(streams.open_output(path)) for path in paths]
        vocabulary = rows.vocabulary_output(stack)
        writer = converting.writer_for(rows, paths, output_format, feature_dim)
        workers = stack.enter_context(Workers(data.options.threads))
        batches = rows.whole(*rows.checked(workers, feature_dim=feature_dim), None, training=False)
        summary = converting.convert(batches, handles, writer, workers)
        summary.feature_dim = rows.feature_dim(summary.feature_dim, feature_dim)
        writer.finish(summary.feature_dim, workers)
        converting.note_buckets(rows)
        if vocabulary:
            vocabularies.write(rows.encoder, vocabulary)
    return summary


# ----------------------------------------------------------------------------------------------------- training
def team(
    *,
    engine: str,
    workers: int,
    threads: int | None = None,
    memory_limit: int | None = None,
    dist_state: str = "auto",
    address: str | None = None,
) -> Resources:
    """Return the Resources of several workers that train one model.

    engine, workers, dist_state, address: see fmcore.solvers.TeamOptions. threads, memory_limit: of each worker.
    """
    return Resources(threads, memory_limit, team=TeamOptions(engine, workers, dist_state, address))


def mpi_leader() -> AbstractContextManager[bool]:
    """Return a block that is given True in MPI's rank 0; other ranks follow it to its end, then are given False.

    Raises UsageError, on entry, without mpi4py or an MPI.
    """
    from fmcore.solvers.team.on_mpi import led

    return led()


def continued(model: Model, given: Mapping[str, Any], read: Mapping[str, Any]) -> tuple[Hyperparameters, ReadOptions]:
    """Return the Hyperparameters and ReadOptions of a warm start from a model.

    given, read: the hyperparameters and read options given, by name, which go before the model's own; read as for
    `read_options`. Raises UsageError where one does not go with the model.
    """
    warmstart.require_same_reading(model, read)
    chosen = warmstart.hyperparameters(model, given)
    return chosen, replace(read_options(model, **read), binary=objective_of(chosen).binary)


# ------------------------------------------------------------------------------------------------------- models
def load(path: PathName, *, verify: bool = False, finite: bool = False) -> Model:
    """Return the model at `path`, its arrays mapped.

    verify, finite, errors: as for fmcore.model.file.load. Raises ModelError for a checkpoint as well.
    """
    model = modelfile.load(path, verify=verify, finite=finite)
    checkpoint_file.require_model(model, path)
    modelinfo.require_sound(model, path)
    return model


def import_archive(
    path: PathName, target: PathName, *, predictor_type: str | None = None, limit: int | None = None
) -> Model:
    """Publish the model in SageMaker's archive `path` at `target`, and return it.

    predictor_type, limit, errors: as for fmcore.model.archive.network.load.
    """
    from fmcore.model.archive import network  # with the library of ZIP, which nothing else needs

    require_apart({"the model": target}, [path])
    with publish.whole(target) as handle:
        model = network.load(path, predictor_type=predictor_type, limit=limit)
        modelfile.dump(model, handle)
    return model


# ------------------------------------------------------------------------------------------------------ scoring
def evaluate(model: Model, data: Data, *, threads: int = 1, unseen: str = "ignore") -> dict[str, Any]:
    """Return all metrics of the model on the rows, by name, and how many "rows" those are.

    unseen: see ReadOptions. Raises DataError for bad rows, a row without a label, or a score that is not finite;
    ModelError where the model is not, or its file has changed meanwhile.
    """
    scorer, objective = Scorer(model), objective_of(model.hyperparameters)
    metrics = objective.metrics()
    reader = _reader(model, data, unseen=unseen)

    def judged(batch: Batch) -> Judged:
        return scorer.raw(batch), batch.labels, batch.weights

    with Workers(threads) as workers, reader.named():
        batches, report = reader.checked(workers, labels=objective)
        batches = reader.whole(batches, report, objective, training=False)
        rows = known_features(batches, report, feature_dim=model.feature_dim, unseen=unseen)
        for judgement in workers.map(judged, rows):
            metrics.update(*judgement)
        result = {**metrics.result(), "rows": metrics.rows}
    modelfile.require_unchanged(model)
    return result


def predict(
    model: Model,
    data: Data,
    target: str,
    *,
    to: str | None = None,
    columns: Sequence[tuple[str, str]] | None = None,
    threads: int = 1,
    unseen: str = "ignore",
) -> int:
    """Write a prediction for each row to `target`, in order; return the number of rows.

    to: a format of fmcore.io.predictions, or None to go by the name of the target, else text. columns: those of CSV, as
    fmcore.io.predictions.parse_columns has them. unseen, errors: as for `evaluate`; labels are not needed.
    """
    require_apart({"the predictions": target}, _read_by(model, data))
    scorer, count = Scorer(model), 0
    # any label will do, or none: with a positive label named, every other one is legal
    reader = _reader(model, data, binary=False, positive="1", unseen=unseen)
    output_format = naming.output_format(target, tuple(WRITERS), "text", to)
    writer = writer_for(output_format, objective_of(model.hyperparameters).columns, columns)

    def predictions(item: tuple[int, Batch]) -> tuple[int, bytes]:
        first, batch = item
        return len(batch), writer.rows(scorer.scores(batch), row_ids(batch, writer), first)

    with Workers(threads) as workers, streams.open_output(target) as out:
        batches, report = reader.batches(workers)
        rows = known_features(batches, report, feature_dim=model.feature_dim, unseen=unseen)
        out.write(writer.begin())
        for number, piece in workers.map(predictions, counted(rows)):
            out.write(piece)
            count += number
        out.write(writer.end())
        modelfile.require_unchanged(model)
    return count


def _read_by(model: Model, data: Data) -> list[PathName | None]:
    """Return the paths of what is read where a model scores rows."""
    return [modelfile.path_of(model), data.options.table.vocabulary, *data.paths]


def _reader(model: Model, data: Data, **changes: Any) -> Reader:
    """Return a Reader of rows to score, with what the model needs of them and these ReadOptions changed."""
    options = needed_by(replace(data.options, **changes), objective_of(model.hyperparameters), model.family)
    if sentence := modelinfo.unchecked(model):
        data.report.note(sentence)
    encoder = encoder_for(model, options.table)
    if encoder.columns is not None and (options.by_position or not encoder.buckets):  # else indices are refused
        options = replace(options, width=encoder.feature_dim)
    return data.reader(encoder, options=options)


# ----------------------------------------------------------------------------------------------- looking inside
def inspect(model: Model, *, top: int = 10, vocabulary: PathName | None = None) -> dict[str, Any]:
    """Return what the model is, with its `top` largest weights and, of family fm, pairs: a dict ready for JSON.

    vocabulary: path of a file that names the features of a model that does not know their names.
    Raises ModelError where the model's file has changed.
    """
    names = exporting.feature_names(model, vocabulary)
    found = {**inspection.summary(model), "largest_weights": inspection.largest_weights(model, top, names)}
    if model.family.name == FM:
        pairs = inspection.largest_pairs(model, top, names)
        found |= {"largest_pairs": pairs.pairs, "largest_pairs_exact": pairs.exact}
    modelfile.require_unchanged(model)
    return found


def export(
    model: Model,
    target: str,
    *,
    to: str | None = None,
    selection: Selection | None = None,
    vocabulary: PathName | None = None,
) -> None:
    """Write the model's weights, or vectors of a selection of its features, to `target`.

    to, selection, vocabulary, errors: as for fmcore.model.export.export.
    """
    require_apart({"the export": target}, [modelfile.path_of(model), vocabulary])
    exporting.export(model, target, to=to, selection=selection, vocabulary=vocabulary)
