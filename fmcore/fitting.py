"""Rows to a published model: reading, training, checkpoint and file brought together."""
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from fmcore import checkpoint, modelfile, publish
from fmcore.backends import backend_for
from fmcore.checks import known_features
from fmcore.dataset import Dataset
from fmcore.errors import DataError, UsageError
from fmcore.estimate import parameter_bytes, require_memory
from fmcore.io import sources
from fmcore.io.vocabulary import open_encoder
from fmcore.memory import budget
from fmcore.model import initial
from fmcore.piped import PipedDataset
from fmcore.training import Observer
from fmcore.training import train as train_model
from fmcore.unchanged import FirstPass

KEPT_OPTIONS = ("index_base", "binary", "positive")  # of ReadOptions, in a model; the table's all


@dataclass
class Resources:
    """What a command may use. memory_limit: bytes for training, as fmcore.memory.budget takes it."""

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
        stack.enter_context(publish.all_or_none())
        handle = stack.enter_context(publish.whole(target))
        vocabulary = data.vocabulary_output(stack)
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


def _dataset(data, hyperparameters, backend, limits):
    def rows(feature_dim=hyperparameters.feature_dim):
        return data.checked(labels=True, feature_dim=feature_dim)[0]

    def reserved(seen):
        feature_dim = data.feature_dim(seen, hyperparameters.feature_dim)
        require_memory(hyperparameters, feature_dim, limits)
        return limits.reserved(parameter_bytes(hyperparameters, feature_dim))

    if data.pipe is not None:
        return PipedDataset(rows, hyperparameters, backend.prepare, data.cancel, reserved=reserved)
    return Dataset(rows, hyperparameters, backend.prepare, limits.rows, rereadable=data.rereadable, reserved=reserved)


def _trained(data, hyperparameters, test, resources, observer, control):
    backend = backend_for("cpu", resources.threads)
    limits = budget(resources.memory_limit)
    require_memory(hyperparameters, data.feature_dim(1, hyperparameters.feature_dim), limits)
    dataset = _dataset(data, hyperparameters, backend, limits)
    with data.named():
        dataset.load()
        data.encoder.freeze()
        _require_told(data, hyperparameters.feature_dim)
        feature_dim = max(1, data.feature_dim(dataset.feature_dim, hyperparameters.feature_dim))
        require_memory(hyperparameters, feature_dim, limits)
        dataset.widen(feature_dim)
        model = initial(replace(hyperparameters, feature_dim=feature_dim), dataset.mean_label)
        each_epoch = test is None or test.pipe is None or hyperparameters.early_stopping_patience is not None
        test_rows = _test_rows(test, data, feature_dim, limits.rows, keep=each_epoch)
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
    count, size, kept, first_pass = 0, 0, [], FirstPass()
    for batch in rows():
        first_pass.add(batch)
        count += len(batch)
        size += batch.nbytes
        if size > limit and test.rereadable:
            kept = None
        if kept is not None:
            kept.append(batch)
    if not count:
        raise DataError("no rows to test on", source=sources.title(test.sources))
    return (lambda: _again(test, first_pass, rows())) if kept is None else lambda: kept


def _again(test, first_pass, batches):
    with test.named():
        yield from first_pass.again(batches)


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
