"""Rows to a published model: reading, training, checkpoint and file brought together."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from fmcore.errors import DataError, UsageError
from fmcore.hyper.params import Hyperparameters
from fmcore.io.checks import known_features
from fmcore.io.data import Data
from fmcore.io.options import KEPT_OPTIONS, KEPT_WHERE_SET
from fmcore.io.sources import source as sources
from fmcore.io.tables.vocabulary import open_encoder
from fmcore.kernels import backend_for
from fmcore.kernels.devices import settled
from fmcore.model import file as modelfile
from fmcore.model import scaling
from fmcore.model.model import Model, initial
from fmcore.rows.dataset import Dataset
from fmcore.rows.fingerprint import FirstPass
from fmcore.rows.piped import PipedDataset
from fmcore.solvers.estimate import parameter_bytes, require_memory
from fmcore.system import publish
from fmcore.system.memory import budget, give_back
from fmcore.training import checkpoint, warmstart
from fmcore.training.loop import Observer
from fmcore.training.loop import train as train_model


class Job(NamedTuple):
    """What is to be trained: Data, Hyperparameters, Data to test on or None, a Model to go on from or None."""

    data: Data
    hyperparameters: Hyperparameters
    test: Data | None = None
    initial_model: Model | None = None


@dataclass
class Resources:
    """What a command may use.

    memory_limit: bytes for training, as fmcore.system.memory.budget takes it.
    device: as fmcore.kernels.backend_for takes it.
    """

    threads: int = 1
    memory_limit: int | None = None
    device: str = "cpu"

    def trained(self, job, observer, control):
        """The Model that comes of a Job whose encoder is open; see `train`. A subclass may train elsewhere."""
        return _trained_here(job, self, observer, control)


def train(data, hyperparameters, target, *, test=None, resources=None, initial_model=None, observer=None, **control):
    """Train on `data`, telling the observer, and publish the model at `target`; returns the Model.

    initial_model: a trained Model to go on from, with its optimizer's state; for hyperparameters and data.options that
    go with it see fmcore.training.warmstart. A vocabulary then takes in new values.
    observer: a fmcore.training.loop.Observer.
    checkpoint: a path; training is saved there after each epoch, and goes on from it where there is one. Or a
    fmcore.training.checkpoint.Saving, for more to choose.
    stop: a function asked after each slice of a block, and while a pipe is waited for, whether to end with what is
    there; the model's info then says "stopped".
    """
    _require_testable(data, test, hyperparameters)
    resources, observer = resources or Resources(), observer or Observer()
    data.encoder = open_encoder(
        data.options.table, build=initial_model is None, grow=initial_model is not None and data.pipe is None
    )
    _require_known_columns(data)
    with ExitStack() as stack:
        stack.enter_context(publish.all_or_none())
        handle = stack.enter_context(publish.whole(target))
        vocabulary = data.vocabulary_output(stack)
        kept = _kept(data.options)
        facts = {**kept["table"], **{name: value for name, value in kept.items() if name != "table"}}
        if initial_model is not None:
            facts["initial model"] = modelfile.digest(initial_model)
        control = checkpoint.control(**control, facts=facts, observer=observer, target=target)
        for part in filter(None, (data, test)):
            part.stopped = control.stop
        model = resources.trained(Job(data, hyperparameters, test, initial_model), observer, control)
        model.info["input"] = kept
        modelfile.dump(model, handle)
        if vocabulary:
            data.encoder.write(vocabulary)
    return model


def _require_testable(data, test, hyperparameters):
    """Refuse what training would find out only later, or never."""
    if test is None and hyperparameters.early_stopping_patience is not None:
        raise UsageError(
            "early_stopping_patience goes by the loss of test rows, but none are given; name some with "
            "--test, or set it to none"
        )
    if data.pipe is not None and hyperparameters.on_divergence != "fail":
        raise UsageError(
            f"on_divergence is {hyperparameters.on_divergence}, which trains an epoch again, but the rows "
            "of a pipe come once; give files, or take fail"
        )
    if sum(source.path == sources.STDIN for part in (data, test) if part for source in part.sources) > 1:
        raise UsageError("standard input (-) is named for training and for testing, but can be read once")


def _require_known_columns(data):
    if data.pipe is not None and data.encoder.is_new:
        raise UsageError(
            f"the vocabulary {data.options.table.vocabulary} does not exist, and to build one takes all "
            "rows before training begins, which pipes do not give; name one that exists, or take "
            "--hash-bits"
        )


def _require_told(data, stated):
    """Refuse a feature_dim that could only be guessed from the rows of a pipe that have come so far."""
    if data.pipe is not None and not (stated or data.report.facts.get("feature_dim") or data.encoder.feature_dim):
        raise UsageError(
            f"{sources.title(data.sources)}: these rows do not say how many features there are, and those "
            "that are still to come may hold more; give their number with --feature-dim"
        )


def _dataset(data, hyperparameters, backend, limits, initial_model):
    least = least_scale(hyperparameters, initial_model)

    def rows(feature_dim=hyperparameters.feature_dim):
        return data.checked(labels=True, feature_dim=feature_dim)[0]

    def reserved(seen):
        feature_dim = data.feature_dim(seen, hyperparameters.feature_dim)
        require_memory(hyperparameters, feature_dim, limits)
        return limits.reserved(parameter_bytes(hyperparameters, feature_dim))

    if data.pipe is not None:
        return PipedDataset(rows, hyperparameters, backend.prepare, data.cancel, reserved=reserved, least_scale=least)
    return Dataset(
        rows,
        hyperparameters,
        backend.prepare,
        limits.rows,
        rereadable=data.rereadable,
        reserved=reserved,
        least_scale=least,
    )


def least_scale(hyperparameters, initial_model):
    """What the scale of the features that a model knows is at least (see fmcore.rows.scaling); None without any."""
    if initial_model is None or hyperparameters.feature_scaling != "rms":
        return None
    return initial_model.state.get(scaling.NAME)


def _trained_here(job, resources, observer, control):
    data, hyperparameters, test, initial_model = job
    backend = backend_for(resources.device, resources.threads)
    limits = budget(resources.memory_limit)
    before = initial_model.feature_dim if initial_model else None
    require_memory(hyperparameters, max(before or 1, data.feature_dim(1, hyperparameters.feature_dim)), limits)
    dataset = _dataset(data, hyperparameters, backend, limits, initial_model)
    with data.named():
        dataset.load()
        backend = settled(backend, dataset)
        give_back()
        data.encoder.freeze()
        _require_told(data, hyperparameters.feature_dim or before)
        feature_dim = max(before or 1, data.feature_dim(dataset.feature_dim, hyperparameters.feature_dim))
        if initial_model:
            warmstart.require_columns(initial_model.feature_dim, data, hyperparameters.feature_dim)
        require_memory(hyperparameters, feature_dim, limits)
        dataset.widen(feature_dim)
        model = first_model(replace(hyperparameters, feature_dim=feature_dim), dataset, initial_model)
        each_epoch = test is None or test.pipe is None or hyperparameters.early_stopping_patience is not None
        test_rows = rows_to_test(test, data, feature_dim, limits.rows, keep=each_epoch)
        observer.loaded(dataset, model, backend)
        return train_model(
            model, dataset, backend, test=test_rows, test_each_epoch=each_epoch, observer=observer, control=control
        )


def first_model(hyperparameters, dataset, initial_model):
    """What training begins with, of scaled values: a new model, or a copy of the one to go on from."""
    if initial_model is None:
        return initial(hyperparameters, dataset.mean_label)
    larger = warmstart.grown(initial_model, hyperparameters)
    return scaling.rescaled(larger, dataset.scale, initial_model.feature_dim)


def rows_to_test(test, data, feature_dim, limit, *, keep, required=True):
    """A function that gives the test rows anew each epoch, from memory where they fit or cannot be read again.

    A pipe is left alone until the function is first called; keep: whether it will be called again. required: whether no
    rows at all are a DataError, instead of None.
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
        if required:
            raise no_rows_to_test(test)
        return None
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
            raise no_rows_to_test(test)

    return late


def no_rows_to_test(test):
    """The DataError of test Data without a row."""
    return DataError("no rows to test on", source=sources.title(test.sources))


def _kept(options):
    """The read options that a model carries, so that scoring reads as training did.

    "auto" leaves indices as they stand, and what it has to say of the training rows' must not be said of a few others.
    """
    kept = {name: getattr(options, name) for name in KEPT_OPTIONS}
    kept |= {name: True for name in KEPT_WHERE_SET if getattr(options, name)}
    return {**kept, "index_base": "1" if options.index_base == "1" else "0", "table": asdict(options.table)}
