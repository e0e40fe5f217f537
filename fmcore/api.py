"""What the commands do, each one call: this room alone joins readers, training, backends, models and writers."""
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fmcore import checkpoint, converting, exporting, inspection, modelfile, publish
from fmcore.backends import backend_for
from fmcore.checks import known_features
from fmcore.data import Data, PipeMode  # noqa: F401 - the callers' way to them
from fmcore.dataset import Dataset
from fmcore.errors import DataError, ModelError, UsageError
from fmcore.io import sources, streams
from fmcore.io.options import ReadOptions, TableOptions
from fmcore.io.predictions import writer_for
from fmcore.io.vocabulary import Vocabulary, open_encoder
from fmcore.memory import default_limit
from fmcore.model import initial
from fmcore.piped import PipedDataset
from fmcore.scoring import Scorer
from fmcore.training import Observer
from fmcore.training import evaluate as evaluate_rows
from fmcore.training import train as train_model

KEPT_OPTIONS = ("index_base", "binary", "positive")  # of ReadOptions, in a model; the table's all


# ------------------------------------------------------------------------------------------------------ convert
def convert(data, target, *, to=None, shards=1, feature_dim=None):
    """Write the rows to `target` (`shards` files beside each other), and a vocabulary that was built; a Summary."""
    paths = converting.shard_paths(target, shards)
    data.encoder = open_encoder(data.options.table)
    with ExitStack() as stack:
        handles = [stack.enter_context(streams.open_output(path)) for path in paths]
        vocabulary = _vocabulary_output(stack, data)
        writer = _writer(data, paths, converting.output_format(target, to), feature_dim)
        batches, _ = data.checked(feature_dim=feature_dim)
        summary = converting.convert(batches, handles, writer)
        summary.feature_dim = _feature_dim(data, summary.feature_dim, feature_dim)
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
        feature_dim = _feature_dim(data, seen)
    return converting.RecordWriter(feature_dim)


def _feature_dim(data, seen, stated=None):
    """The stated feature_dim, else the largest of what rows, records and vocabulary show."""
    return stated or max(seen, data.report.facts.get("feature_dim", 0), data.encoder.feature_dim or 0)


def _vocabulary_output(stack, data):
    """A handle for the vocabulary that this run builds, or None."""
    if not data.encoder.is_new:
        return None
    return stack.enter_context(publish.whole(data.options.table.vocabulary))


# -------------------------------------------------------------------------------------------------------- train
@dataclass
class Resources:
    """What a command may use. memory_limit: bytes that training rows may take, None for half of what is free."""

    threads: int = 1
    memory_limit: int | None = None


def train(data, hyperparameters, target, *, test=None, resources=None, observer=None, **control):
    """Train on `data`, telling the observer, and publish the model at `target`; returns the Model.

    observer: a fmcore.training.Observer.
    checkpoint: a path; training is saved there after each epoch, and goes on from it where there is one.
    stop: a function asked after each block, and while a pipe is waited for, whether to end with what is there; the
    model's info then says "stopped".
    """
    _require_testable(data, test, hyperparameters)
    resources = resources or Resources()
    data.encoder = open_encoder(data.options.table)
    _require_known_columns(data)
    with ExitStack() as stack:
        handle = stack.enter_context(publish.whole(target))
        vocabulary = _vocabulary_output(stack, data)
        kept = _kept(data.options)
        control = checkpoint.control(**control, facts={**kept["table"], **{name: kept[name] for name in KEPT_OPTIONS}})
        for part in filter(None, (data, test)):
            part.stopped = control.stop
        model = _trained(data, hyperparameters, test, resources, observer, control)
        model.info["input"] = kept
        modelfile.dump(model, handle)
        if vocabulary:
            data.encoder.write(vocabulary)
    return model


def _require_testable(data, test, hyperparameters):
    """Refuse what training would find out only later, or never."""
    if test is None and hyperparameters.early_stopping_patience is not None:
        raise UsageError("early_stopping_patience goes by the loss of test rows, but none are given; name some with "
                         "--test, or leave it out")
    if sum(source.path == sources.STDIN for part in (data, test) if part for source in part.sources) > 1:
        raise UsageError("standard input (-) is named for training and for testing, but can be read once")


def _require_known_columns(data):
    if data.pipe is not None and data.encoder.is_new:
        raise UsageError(f"the vocabulary {data.options.table.vocabulary} does not exist, and to build one takes all "
                         "rows before training begins, which pipes do not give; name one that exists, or take "
                         "--hash-bits")


def _require_told(data, stated):
    """Refuse a feature_dim that could only be guessed from the rows of a pipe that have come so far."""
    if data.pipe is not None and not (stated or data.report.facts.get("feature_dim") or data.encoder.feature_dim):
        raise UsageError(f"{sources.title(data.sources)}: these rows do not say how many features there are, and those "
                         "that are still to come may hold more; give their number with --feature-dim")


def _dataset(data, hyperparameters, backend, limit):
    def rows(feature_dim=hyperparameters.feature_dim):
        return data.checked(labels=True, feature_dim=feature_dim)[0]

    if data.pipe is not None:
        return PipedDataset(rows, hyperparameters, backend.prepare, data.cancel)
    return Dataset(rows, hyperparameters, backend.prepare, limit, rereadable=data.rereadable)


def _trained(data, hyperparameters, test, resources, observer, control):
    backend = backend_for("cpu", resources.threads)
    limit = default_limit() if resources.memory_limit is None else resources.memory_limit
    dataset = _dataset(data, hyperparameters, backend, limit)
    with data.named():
        dataset.load()
        data.encoder.freeze()
        _require_told(data, hyperparameters.feature_dim)
        feature_dim = max(1, _feature_dim(data, dataset.feature_dim, hyperparameters.feature_dim))
        dataset.widen(feature_dim)
        model = initial(replace(hyperparameters, feature_dim=feature_dim), dataset.mean_label)
        each_epoch = test is None or test.pipe is None or hyperparameters.early_stopping_patience is not None
        test_rows = _test_rows(test, data, feature_dim, limit, keep=each_epoch)
        observer = observer or Observer()
        observer.loaded(dataset, model, backend)
        return train_model(model, dataset, backend, test=test_rows, test_each_epoch=each_epoch, observer=observer,
                           control=control)


def _test_rows(test, data, feature_dim, limit, *, keep):
    """A function that gives the test rows anew each epoch, from memory where they fit or cannot be read again.

    A pipe is left alone until the function is first called; keep: whether it will be called again.
    """
    if test is None:
        return None
    test.encoder = data.encoder

    def rows():
        batches, report = test.checked(labels=True)
        return known_features(batches, report, feature_dim=feature_dim, unseen="ignore")

    if test.pipe is not None:
        return _read_late(test, rows, keep=keep)
    count, size, kept = 0, 0, []
    for batch in rows():
        count += len(batch)
        size += batch.nbytes
        if size > limit and test.rereadable:
            kept = None
        if kept is not None:
            kept.append(batch)
    if not count:
        raise DataError("no rows to test on", source=sources.title(test.sources))
    return rows if kept is None else lambda: kept


def _read_late(test, rows, *, keep):
    """A function for an iterator over rows that are read when it is first called, and kept where it is called again."""
    kept = []

    def late():
        known, empty = list(kept), True
        for batch in known or rows():
            empty = False
            if keep and not known:
                kept.append(batch)
            yield batch
        if empty:
            raise DataError("no rows to test on", source=sources.title(test.sources))

    return late


def _kept(options):
    """The read options that a model carries, so that scoring reads as training did.

    "auto" leaves indices as they stand, and what it has to say of the training rows' must not be said of a few others.
    """
    kept = {name: getattr(options, name) for name in KEPT_OPTIONS}
    return {**kept, "index_base": "1" if options.index_base == "1" else "0", "table": asdict(options.table)}


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
    return count


def inspect(model, *, top=10, names=None):
    """What the model is, with its `top` largest weights and pairs: a dict ready for JSON."""
    pairs = inspection.largest_pairs(model, top, names)
    return {**inspection.summary(model), "largest_weights": inspection.largest_weights(model, top, names),
            "largest_pairs": pairs.pairs, "largest_pairs_exact": pairs.exact}


def export(model, target, **choice):
    """Write the model's weights, or vectors of some of its features; choice: as for fmcore.exporting.export."""
    exporting.export(model, target, **choice)


def names(vocabulary):
    """Index -> name of each feature of a vocabulary file."""
    return dict(enumerate(Vocabulary.read(Path(vocabulary)).names()))
