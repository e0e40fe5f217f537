"""Training by teams in one process, and a log of its events, for several tests."""

from pathlib import Path

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions
from fmcore.solvers.observer import Observer


class Log(Observer):
    """An observer that records all events."""

    def __init__(self):
        self.rounds, self.epochs, self.halvings, self.reasons = [], [], [], []
        self.trained, self.resumed_at, self.data, self.first = 0, None, None, None

    def loaded(self, dataset, model, backend):
        self.data, self.first = dataset, model

    def rows(self, count):
        self.trained += count

    def round(self, record):
        self.rounds.append(record)

    def epoch(self, record):
        self.epochs.append(record)

    def halved(self, error, epoch, factor):
        self.halvings.append((epoch, factor))

    def resumed(self, records, rows):
        self.resumed_at = (len(records), rows)

    def restarted(self, why):
        self.reasons.append(why)


class After:
    """A control that stops training from its n-th call on."""

    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left < 0


def team(workers, **options):
    """Return Resources of so many workers in this process."""
    return api.team(engine="local", workers=workers, **{"threads": 1, **options})


def trained(
    path,
    names=("train.svm",),
    *,
    test=None,
    read=None,
    resources=None,
    observer=None,
    initial_model=None,
    saving=None,
    stop=None,
    preset="native-1",
    **hyperparameters,
):
    """Return the bytes of the trained model; hyperparameters: besides those of the tests themselves."""
    given = {"predictor_type": "binary_classifier", "epochs": 3, **hyperparameters}
    read = read or ReadOptions(binary=given["predictor_type"] == "binary_classifier")
    tests = api.Data([test], read) if test else None
    api.train(
        api.Data(list(names), read),
        resolve(preset, **given),
        path,
        test=tests,
        resources=resources,
        observer=observer,
        initial_model=initial_model,
        checkpoint=saving,
        stop=stop,
    )
    return Path(path).read_bytes()
