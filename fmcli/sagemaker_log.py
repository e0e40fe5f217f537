"""The log lines of SageMaker's Factorization Machines, for users that read metrics off them by regular expressions."""

import json
import threading
import time

from fmcli.training_logs import TrainingLog
from fmcore.objectives import objective_of
from fmcore.training.batchmetrics import BatchMetrics

NAMES = {  # fmkit's name -> SageMaker's and its kind, in the order of its lines; others keep theirs (see `named`)
    "rmse": "rmse <loss>",
    "mse": "mse <loss>",
    "mae": "absolute_loss <loss>",
    "accuracy": "binary_classification_accuracy <score>",
    "logloss": "binary_classification_cross_entropy <loss>",
    "f1": "binary_f_1.000 <score>",
    "auc": None,  # which SageMaker does not log
}


class SageMakerLog(TrainingLog):
    """Quality lines at intervals of mini-batches, at the end of each epoch, and of the job; progress and throughput.

    host: the name of this machine within the job.
    """

    def __init__(self, reports, *, host="algo-1", **options):
        super().__init__(reports, **options)
        self._host, self._started = host, time.time()
        self._new_metrics = self._running = None  # the latter also in an epoch that another run has begun
        self._epochs, self._train, self._objective = 0, {}, None

    def loaded(self, dataset, model, backend):
        """Prepare to measure."""
        super().loaded(dataset, model, backend)
        h = model.hyperparameters
        interval = h.batch_metrics_publish_interval
        self._epochs, self._objective = h.epochs, objective_of(h)
        self._new_metrics = lambda: BatchMetrics(self._objective.metrics(auc=False), interval)
        self._running = self._new_metrics()

    def block(self, epoch, block, order, scores):
        """Print quality lines of the mini-batches at whose end an interval is over."""
        if self._running and not self._quiet:
            for batch, metrics in self._running.add(block, order, scores):
                self._quality(f"epoch={epoch}, batch={batch} train", metrics)

    def round(self, record):
        """Print how fast a round was; of what several workers have trained only the whole is known."""
        super().round(record)
        self._running = None
        self.remark(
            f"#throughput_metric: host={self._host}, epoch={record['epoch'] - 1}, round={record['round'] - 1}, "
            f"train throughput={record['rows_per_second']} records/second, {record['bytes_sent']} bytes sent "
            f"by {record['workers']} workers"
        )

    def epoch(self, record):
        """Print the lines of an epoch, which SageMaker counts from 0."""
        super().epoch(record)
        epoch = record["epoch"] - 1
        self._train[epoch] = self._running.result() if self._running else record["train"]
        self._running = self._new_metrics()
        self._quality(f"epoch={epoch}, train", self._train[epoch])
        completed = 100 * record["epoch"] / self._epochs
        self.remark(f"#progress_metric: host={self._host}, completed {completed} % of epochs")
        self.remark(
            f"#throughput_metric: host={self._host}, train throughput={record['rows_per_second']} records/second"
        )

    def resumed(self, records, rows):
        """Print that training resumes; of an epoch that another run has begun only the whole is known."""
        super().resumed(records, rows)
        if rows:
            self._running = None

    def halved(self, error, epoch, factor):
        """Print that an epoch begins again, and measure it from its start."""
        super().halved(error, epoch, factor)
        self._running = self._new_metrics()

    def finish(self, model):
        """Print the lines of the job, about the epoch whose model is kept."""
        super().finish(model)
        done = model.info["epochs"]
        if done:
            kept = done[model.info.get("best_epoch", len(done)) - 1]
            self._quality("train", self._train.get(kept["epoch"] - 1, kept["train"]))
            test = kept.get("test", {})
            for name, value in named(test, self._objective):
                self.remark(f"#test_score ({self._host}) : ({name.split()[0]!r}, {value})")
            self._quality("test", test)
        self._metrics({"epochs": aggregate([len(done)])})
        self._metrics(
            {
                "update.time": aggregate([1000 * record["seconds"] for record in self.records if "seconds" in record]),
                "totaltime": aggregate([1000 * (time.time() - self._started)]),
            }
        )

    def remark(self, text):
        """Print a line with its time."""
        self.say(stamped("INFO", text))

    def warning(self, sentence):
        """Return the line of a warning, with its time."""
        return stamped("WARNING", sentence)

    def _quality(self, of, metrics):
        for name, value in named(metrics, self._objective):
            self.remark(f"#quality_metric: host={self._host}, {of} {name}={value}")

    def _metrics(self, metrics):
        dimensions = {"Algorithm": "factorization-machines", "Host": self._host, "Operation": "training"}
        line = {"StartTime": self._started, "EndTime": time.time(), "Dimensions": dimensions, "Metrics": metrics}
        self.say(f"#metrics {json.dumps(line)}")


def stamped(level, text):
    """Return a line with its time."""
    return f"[{time.strftime('%m/%d/%Y %H:%M:%S')} {level} {threading.get_ident()}] {text}"


def named(metrics, objective):
    """Return (SageMaker's name and kind, value) of an Objective's metrics.

    One that SageMaker does not know keeps its name, as a score where the objective has it made large, else as a loss.
    """
    large = {metric for metric, direction in objective.goals.values() if direction == "maximize"}
    known = [(name, metrics[ours]) for ours, name in NAMES.items() if name and ours in metrics]
    return known + [
        (f"{name} <{'score' if name in large else 'loss'}>", value)
        for name, value in metrics.items()
        if name not in NAMES
    ]


def aggregate(values):
    """Return the sum, count and bounds of some numbers, times in milliseconds."""
    return {
        "sum": float(sum(values)),
        "count": len(values),
        "min": min(values, default=0),
        "max": max(values, default=0),
    }
