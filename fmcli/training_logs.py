"""The log of `fm train` on standard error: a table for people, or JSON Lines."""

import json
from contextlib import contextmanager

from fmcli.console import say
from fmcli.progress import Bar, remarks
from fmcore.objectives import objective_of
from fmcore.solvers.estimate import parameter_bytes
from fmcore.solvers.observer import Observer


class TrainingLog(Observer):
    """The common part of all logs of training: remarks on reading, and `records`, one an epoch.

    Records of epochs that another run has trained lack seconds and rows_per_second. `history` has those of rounds as
    well.

    reports: of the training rows, printed before training begins unless rows still come from pipes, and of others,
    printed at the end.
    bar: shown while the rows are read. begun: called once they are read and training begins.
    start: what training starts from, in words.
    """

    def __init__(self, reports, *, bar=None, begun=None, start="the beginning", quiet=False):
        self._reports, self._begun, self._quiet = list(reports), begun, quiet
        self._all, self._start = list(reports), start
        self._bar = bar or Bar(quiet=True)
        self.records, self.history, self._pilot = [], [], ""

    def loaded(self, dataset, model, backend):  # noqa: ARG002 - for subclasses
        """Print what reading the training rows reports, and why this backend trains where none was named."""
        if self._begun is not None:
            self._begun()
        self._bar.close()
        if backend.note:
            self.remark(backend.note)
        if dataset.complete:
            self._remark_next()
        if self._pilot:
            self.remark(self._pilot)

    def piloted(self, record):
        """Keep what a pilot has found, to print it behind the remarks on the rows."""
        self._pilot = pilot_line(record)

    def epoch(self, record):
        """Keep the epoch's record."""
        self.records.append(record)
        self.history.append(record)

    def round(self, record):
        """Keep the round's record."""
        self.history.append(record)

    def resumed(self, records, rows):
        """Print that training resumes."""
        self.records, self.history = list(records), list(records)
        self.remark(
            f"resuming in epoch {len(records) + 1} after {rows:,} rows"
            if rows
            else f"resuming after epoch {len(records)}"
        )

    def restarted(self, why):
        """Print what training starts from, and why."""
        self.remark(f"training starts from {self._start}: {why}")

    def lost(self, workers, why):
        """Print which workers have died."""
        who = f"worker {workers[0]} has" if len(workers) == 1 else f"workers {', '.join(map(str, workers))} have"
        what = f"{who} died and been replaced" if workers else "a message between workers was lost"
        self.remark(f"{what}; the lost work is done again ({why})")

    def halved(self, error, epoch, factor):
        """Print that an epoch begins again."""
        self.remark(f"{error.what}: epoch {epoch} begins again, with learning rates of {factor:g} times those given")

    def finish(self, model):
        """Print how training ended, once the model is published."""
        if "stopped" in model.info:
            where = model.info["stopped"]
            self.remark(f"stopped in epoch {where['epoch']} after {where['rows']:,} rows")

    def close(self):
        """Remove the bar and print the remarks that are left, on failure too."""
        self._bar.close()
        while self._reports:
            self._remark_next()

    @contextmanager
    def warned(self):
        """Print the warnings of what was read after a block, on failure too, however quiet the log is to be."""
        try:
            yield
        finally:
            for sentence in (sentence for report in self._all for sentence in report.warnings):
                say(self.warning(sentence))

    def warning(self, sentence):
        """Return the line of a warning."""
        return f"warning: {sentence}"

    def say(self, text):
        """Print a line, unless silence was asked for."""
        say(text, quiet=self._quiet)

    def remark(self, text):
        """Print a sentence that is for people."""
        self.say(text)

    def _remark_next(self):
        for line in remarks(self._reports.pop(0)) if self._reports else ():
            self.remark(line)


class TableLog(TrainingLog):
    """A bar over the rows of an epoch, and a table with a line an epoch."""

    def __init__(self, reports, **options):
        super().__init__(reports, **options)
        self._columns, self._rows, self._epochs, self._objective = None, 0, 0, None

    def loaded(self, dataset, model, backend):
        """Print what is trained on what."""
        super().loaded(dataset, model, backend)
        job = facts(dataset, model, backend)
        self.say(
            f"{'' if dataset.complete else 'first block: '}{job['rows']:,} rows, {job['non_zeros']:,} non-zeros, "
            f"feature_dim {job['feature_dim']:,}, {place(dataset)}; mini-batches of {job['mini_batch_size']}; "
            f"model of {job['model_bytes'] / 1e6:,.1f} MB, "
            f"{job['memory_bytes'] / 1e6:,.1f} MB while it trains; {job['backend']}, "
            f"{job['threads']} thread{'s' * (job['threads'] > 1)}"
        )
        self._objective = objective_of(model.hyperparameters)
        self._rows, self._epochs = dataset.rows if dataset.complete else None, model.hyperparameters.epochs
        self._next_bar(1)

    def resumed(self, records, rows):
        """Print that training resumes, and move the bar there."""
        self._bar.close()
        super().resumed(records, rows)
        self._next_bar(len(records) + 1)
        self._bar.add(rows)

    def restarted(self, why):
        """Print that training starts from the beginning, above the bar."""
        self._bar.close()
        super().restarted(why)
        self._next_bar(1)

    def halved(self, error, epoch, factor):
        """Print that an epoch begins again, and start its bar."""
        self._bar.close()
        super().halved(error, epoch, factor)
        self._next_bar(epoch)

    def rows(self, count):
        """Move the bar."""
        self._bar.add(count)

    def round(self, record):
        """Print a line of the round's own."""
        super().round(record)
        self._bar.close()
        metric = next(iter(self._objective.epoch_metrics(0.0)))
        self.say(
            f"epoch {record['epoch']}, round {record['round']} of {record['rounds']}: {record['rows']:,} rows, "
            f"{record['rows_per_second']:,.0f} rows/s, {metric} {record[metric]:.5f}, "
            f"{record['bytes_sent'] / 1e6:,.1f} MB sent by {record['workers']} workers"
        )

    def epoch(self, record):
        """Print the epoch's line, after the table's head for the first."""
        super().epoch(record)
        self._bar.close()
        cells = {"epoch": str(record["epoch"])}
        for part in ("train", "test"):
            cells.update(
                {
                    f"{part} {name}": "-" if value is None else f"{value:.5f}"
                    for name, value in record.get(part, {}).items()
                }
            )
        cells["seconds"], cells["rows/s"] = f"{record['seconds']:.2f}", f"{record['rows_per_second']:,.0f}"
        if self._columns is None or not cells.keys() <= self._columns.keys():  # test rows may come after the last
            self._columns = {name: max(len(name), len(cell), 9) for name, cell in cells.items()}
            self.say("  ".join(name.rjust(width) for name, width in self._columns.items()))
        self.say("  ".join(cells[name].rjust(width) for name, width in self._columns.items()))
        self._next_bar(record["epoch"] + 1)

    def finish(self, model):
        """Print where training was stopped, and which epoch's model is kept where the test rows chose one."""
        super().finish(model)
        if "best_epoch" in model.info:
            self.say(f"best epoch: {model.info['best_epoch']}, whose model is kept")

    def _next_bar(self, epoch):
        if epoch <= self._epochs:
            self._bar = Bar(quiet=self._quiet, desc=f"epoch {epoch}", total=self._rows, unit="row", unit_scale=True)


class JsonLinesLog(TrainingLog):
    """A JSON object for what is trained, one an epoch, and one for each remark."""

    def loaded(self, dataset, model, backend):
        """Print what is trained on what."""
        self.say(json.dumps(facts(dataset, model, backend)))
        super().loaded(dataset, model, backend)

    def round(self, record):
        """Print the round's record."""
        super().round(record)
        self.say(json.dumps(record))

    def epoch(self, record):
        """Print the epoch's record, as a file of metrics holds it."""
        super().epoch(record)
        self.say(json.dumps(record))

    def finish(self, model):
        """Print where training was stopped, and which epoch's model is kept where the test rows chose one."""
        super().finish(model)
        if "best_epoch" in model.info:
            self.say(json.dumps({"best_epoch": model.info["best_epoch"]}))

    def remark(self, text):
        """Print a sentence that is for people, under a name that no other line has."""
        self.say(json.dumps({"remark": text}))

    def warning(self, sentence):
        """Return the line of a warning, under a name that no other line has."""
        return json.dumps({"warning": sentence})


def place(dataset):
    """Return where the training rows are during training."""
    if not dataset.complete:
        return "a pipe each epoch"
    return "in memory" if dataset.in_memory else "streamed each epoch, beyond the memory limit"


def facts(dataset, model, backend):
    """Return what is trained on what, ready for JSON."""
    return {
        "rows": dataset.rows,
        "non_zeros": dataset.non_zeros,
        "feature_dim": model.feature_dim,
        "in_memory": dataset.in_memory,
        "mini_batch_size": dataset.mini_batch_size,
        "model_bytes": sum(array.nbytes for array in model.weights.values()),
        "memory_bytes": parameter_bytes(model.hyperparameters, model.feature_dim) + dataset.memory,
        "backend": backend.name,
        "threads": backend.threads,
    }


def pilot_line(record):
    """Return what a pilot has found, in a sentence; record: see fmcore.training.pilot.Outcome."""
    losses = ", ".join(f"{name} {loss:.5g}" for name, loss in record["losses"].items())
    verdict = {
        "recipe": "training goes by the recipe",
        "cautious recipe": "training goes by the recipe with stronger penalties",
        "firm recipe": "training goes by the recipe with much stronger penalties",
        "linear": "a linear model is ahead and trained: the factors stay 0",
        "close to linear": "a linear model is ahead of the recipe, and factors are kept small",
        "repeated rows count once": "rows repeat, and count less",
    }[record["kept"]]
    epochs = f"{record['epochs']} epoch{'s' * (record['epochs'] != 1)}"
    return (
        f"pilot on {record['rows']:,} rows, {record['metric']}: {losses}; {verdict}, for {epochs} "
        "(--pilot none: do without)"
    )
