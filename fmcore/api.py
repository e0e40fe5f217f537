"""What the commands do, each one call: this room alone joins readers, training, backends, models and writers."""
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from fmcore import checkpoint, converting, exporting, inspection, modelfile, publish
from fmcore.backends import backend_for
from fmcore.checks import known_features
from fmcore.data import Data, PipeMode  # noqa: F401 - the callers' way to them
from fmcore.errors import ModelError, UsageError
from fmcore.fitting import Resources, train  # noqa: F401 - as above
from fmcore.io import streams
from fmcore.io.options import ReadOptions, TableOptions
from fmcore.io.predictions import writer_for
from fmcore.io.vocabulary import Vocabulary, open_encoder
from fmcore.scoring import Scorer
from fmcore.training import evaluate as evaluate_rows


# ------------------------------------------------------------------------------------------------------ convert
def convert(data, target, *, to=None, shards=1, feature_dim=None):
    """Write the rows to `target` (`shards` files beside each other), and a vocabulary that was built; a Summary."""
    paths = converting.shard_paths(target, shards)
    data.encoder = open_encoder(data.options.table)
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handles = [stack.enter_context(streams.open_output(path)) for path in paths]
        vocabulary = data.vocabulary_output(stack)
        writer = _writer(data, paths, converting.output_format(target, to), feature_dim)
        batches, _ = data.checked(feature_dim=feature_dim)
        summary = converting.convert(batches, handles, writer)
        summary.feature_dim = data.feature_dim(summary.feature_dim, feature_dim)
        writer.finish(handles, summary.feature_dim)
        if vocabulary:
            data.encoder.write(vocabulary)
    return summary


def _writer(data, paths, output_format, feature_dim):
    if output_format == "libsvm":
        return converting.LibsvmWriter()
    if feature_dim is None and not converting.fills_in_later(paths):
        if not data.rereadable:
            target = "standard output" if paths[0] == "-" else paths[0]
            raise UsageError("a record states feature_dim, which is known only after all rows are read: from a pipe to "
                             f"{target}, give it with --feature-dim, or write to an uncompressed file")
        seen = converting.counted_feature_dim(data.batches()[0])
        feature_dim = data.feature_dim(seen)
    return converting.RecordWriter(feature_dim)


# ------------------------------------------------------------------------------------- score with a trained model
def load(path, *, verify=False):
    """The model at `path`, its arrays mapped."""
    model = modelfile.load(path, verify=verify)
    checkpoint.require_model(model, path)
    return model


def import_archive(path, target, **told):
    """Publish the model in SageMaker's archive `path`; returns it. told: as for fmcore.archive.network.load."""
    from fmcore.archive import network  # with the library of ZIP, which nothing else needs

    with publish.whole(target) as handle:
        model = network.load(path, **told)
        modelfile.dump(model, handle)
    return model


def read_options(model, **given):
    """ReadOptions as the model's training had them, but for what is given (table: names of TableOptions)."""
    kept = dict(model.info.get("input", {}))
    table = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.pop("table", {}).items()}
    table.update(given.pop("table", {}))
    try:
        return ReadOptions(**{**kept, **given, "table": TableOptions(**table)})
    except TypeError as error:
        raise ModelError(f"the model holds read options that this version does not know: {error}") from None


def evaluate(model, data, *, threads=1, unseen="ignore"):
    """All metrics of the model on the rows, and how many rows those are."""
    backend = backend_for("cpu", threads)
    data.options = replace(data.options, unseen=unseen)
    data.encoder = open_encoder(data.options.table, build=False)
    batches, report = data.checked(labels=True)
    rows = known_features(batches, report, feature_dim=model.feature_dim, unseen=unseen)
    count = 0

    def counted():
        nonlocal count
        for batch in rows:
            count += len(batch)
            yield batch

    with data.named():
        metrics = evaluate_rows(
            lambda batch: backend.score(batch, model), counted(), model.hyperparameters.predictor_type)
    modelfile.require_unchanged(model)
    return {**metrics, "rows": count}


def predict(model, data, target, *, to="text", threads=1, unseen="ignore"):
    """Write a score for each row to `target`, in order; returns the number of rows."""
    scorer, count = Scorer(model, threads), 0
    # any label will do, or none: with a positive label named, every other one is legal
    data.options = replace(data.options, binary=False, positive="1", unseen=unseen)
    data.encoder = open_encoder(data.options.table, build=False)
    writer = writer_for(to, model.hyperparameters.predictor_type)
    batches, report = data.batches()
    with streams.open_output(target) as out:
        out.write(writer.begin())
        for batch in known_features(batches, report, feature_dim=model.feature_dim, unseen=unseen):
            out.write(writer.rows(scorer.scores(batch), batch.ids))
            count += len(batch)
        out.write(writer.end())
        modelfile.require_unchanged(model)
    return count


def inspect(model, *, top=10, names=None):
    """What the model is, with its `top` largest weights and pairs: a dict ready for JSON."""
    pairs = inspection.largest_pairs(model, top, names)
    found = {**inspection.summary(model), "largest_weights": inspection.largest_weights(model, top, names),
             "largest_pairs": pairs.pairs, "largest_pairs_exact": pairs.exact}
    modelfile.require_unchanged(model)
    return found


def export(model, target, **choice):
    """Write the model's weights, or vectors of some of its features; choice: as for fmcore.exporting.export."""
    exporting.export(model, target, **choice)


def names(vocabulary):
    """Index -> name of each feature of a vocabulary file."""
    return dict(enumerate(Vocabulary.read(Path(vocabulary)).names()))
