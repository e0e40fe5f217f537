"""What the commands do, each one call: this room alone joins readers, training, backends, models and writers."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from fmcore.errors import UsageError
from fmcore.families import DEFAULT as FM
from fmcore.io import convert as converting
from fmcore.io.data import Data, PipeMode  # noqa: F401 - the callers' way to them
from fmcore.io.parallel import Workers
from fmcore.io.predictions import writer_for
from fmcore.io.sources import streams
from fmcore.io.tables.vocabulary import Vocabulary, open_encoder
from fmcore.model import export as exporting
from fmcore.model import file as modelfile
from fmcore.model import info as modelinfo
from fmcore.model import inspection
from fmcore.model.info import read_options
from fmcore.objectives import objective_of
from fmcore.rows.batch import counted
from fmcore.rows.checks import known_features
from fmcore.scoring import Scorer
from fmcore.solvers import Resources, TeamOptions
from fmcore.system import publish
from fmcore.training import checkpoint, warmstart
from fmcore.training.checkpoint import Saving  # noqa: F401 - the callers' way to it
from fmcore.training.checkpoint import remove as remove_checkpoint  # noqa: F401 - as above
from fmcore.training.files import train  # noqa: F401 - as above
from fmcore.training.fit import fit  # noqa: F401 - as above


# -------------------------------------------------------------------------------------------------------- train
def machines(*, threads=None, memory_limit=None, **team):
    """Return the Resources of a team of workers, with threads and memory of each; team: see TeamOptions."""
    return Resources(threads, memory_limit, team=TeamOptions(**team))


def ranks():
    """A block that MPI's rank 0 goes through alone; see fmcore.solvers.team.on_mpi.led."""
    from fmcore.solvers.team.on_mpi import led

    return led()


# ------------------------------------------------------------------------------------------------------ convert
def convert(data, target, *, to=None, shards=1, feature_dim=None):
    """Write the rows to `target` (`shards` files beside each other), and a vocabulary that was built; a Summary."""
    paths = converting.shard_paths(target, shards)
    rows = data.reader(open_encoder(data.options.table))
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handles = [stack.enter_context(streams.open_output(path)) for path in paths]
        vocabulary = rows.vocabulary_output(stack)
        writer = _writer(rows, paths, converting.output_format(target, to), feature_dim)
        workers = stack.enter_context(Workers(data.options.threads))
        batches, _ = rows.checked(workers, feature_dim=feature_dim)
        summary = converting.convert(batches, handles, writer, workers)
        summary.feature_dim = rows.feature_dim(summary.feature_dim, feature_dim)
        writer.finish(summary.feature_dim, workers)
        if vocabulary:
            rows.encoder.write(vocabulary)
    return summary


def _writer(rows, paths, output_format, feature_dim):
    if output_format == "libsvm":
        return converting.LibsvmWriter()
    if feature_dim is None and not converting.fills_in_later(paths):
        if not rows.rereadable:
            target = "standard output" if paths[0] == "-" else paths[0]
            raise UsageError(
                "a record states feature_dim, which is known only after all rows are read: from a pipe to "
                f"{target}, give it with --feature-dim, or write to an uncompressed file"
            )
        seen = converting.counted_feature_dim(rows.batches()[0])
        feature_dim = rows.feature_dim(seen)
    return converting.RecordWriter(feature_dim)


# ------------------------------------------------------------------------------------- score with a trained model
def load(path, *, verify=False, finite=False):
    """The model at `path`, its arrays mapped; verify, finite: as for fmcore.model.file.load."""
    model = modelfile.load(path, verify=verify, finite=finite)
    checkpoint.require_model(model, path)
    modelinfo.require_sound(model, path)
    return model


def import_archive(path, target, **told):
    """Publish the model in SageMaker's archive `path`; returns it. told: as for fmcore.model.archive.network.load."""
    from fmcore.model.archive import network  # with the library of ZIP, which nothing else needs

    with publish.whole(target) as handle:
        model = network.load(path, **told)
        modelfile.dump(model, handle)
    return model


def continued(model, given, read):
    """(Hyperparameters, ReadOptions) to go on training a model with; given, read: what was given, as for read_options.

    Raises UsageError where something given does not go with the model.
    """
    warmstart.require_same_reading(model, read)
    chosen = warmstart.hyperparameters(model, given)
    return chosen, replace(read_options(model, **read), binary=objective_of(chosen).binary)


def evaluate(model, data, *, threads=1, unseen="ignore"):
    """All metrics of the model on the rows, and how many rows those are."""
    scorer, objective = Scorer(model), objective_of(model.hyperparameters)
    metrics = objective.metrics()
    encoder = open_encoder(data.options.table, build=False)
    reader = data.reader(encoder, options=replace(data.options, unseen=unseen))

    def judged(batch):
        return scorer.raw(batch), batch.labels, batch.weights

    with Workers(threads) as workers, reader.named():
        batches, report = reader.checked(workers, labels=objective)
        rows = known_features(batches, report, feature_dim=model.feature_dim, unseen=unseen)
        for judgement in workers.map(judged, rows):
            metrics.update(*judgement)
        result = {**metrics.result(), "rows": metrics.rows}
    modelfile.require_unchanged(model)
    return result


def predict(model, data, target, *, to="text", threads=1, unseen="ignore"):
    """Write a score for each row to `target`, in order; returns the number of rows."""
    scorer, count = Scorer(model), 0
    # any label will do, or none: with a positive label named, every other one is legal
    encoder = open_encoder(data.options.table, build=False)
    reader = data.reader(encoder, options=replace(data.options, binary=False, positive="1", unseen=unseen))
    writer = writer_for(to, objective_of(model.hyperparameters).columns)

    def predictions(item):
        first, batch = item
        return len(batch), writer.rows(scorer.scores(batch), batch.ids, first)

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


def inspect(model, *, top=10, names=None):
    """What the model is, with its `top` largest weights and, of family fm, pairs: a dict ready for JSON."""
    found = {**inspection.summary(model), "largest_weights": inspection.largest_weights(model, top, names)}
    if model.family.name == FM:
        pairs = inspection.largest_pairs(model, top, names)
        found |= {"largest_pairs": pairs.pairs, "largest_pairs_exact": pairs.exact}
    modelfile.require_unchanged(model)
    return found


def export(model, target, **choice):
    """Write the model's weights, or vectors of some of its features; choice: as for fmcore.model.export.export."""
    exporting.export(model, target, **choice)


def names(vocabulary):
    """Index -> name of each feature of a vocabulary file."""
    return dict(enumerate(Vocabulary.read(Path(vocabulary)).names()))
