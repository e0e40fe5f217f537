"""From rows and a space to the best model: share the rows, search, train the best once more and publish it."""

import errno
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fmcore.errors import DataError, ResourceError, UsageError
from fmcore.families import DEFAULT as FM
from fmcore.families import FAMILIES
from fmcore.hyper.presets import resolve
from fmcore.io.options import Report, needed_by
from fmcore.io.sources import source as sources
from fmcore.objectives import objective_of
from fmcore.schema.vocabulary import new_encoder
from fmcore.solvers import Resources
from fmcore.system import publish
from fmcore.system.apart import require_apart
from fmcore.system.memory import default_limit
from fmcore.training.files import train
from fmcore.tuning.goals import goal_of
from fmcore.tuning.repeats import repeated
from fmcore.tuning.search import SearchObserver, search
from fmcore.tuning.shared import share
from fmcore.tuning.storage import require
from fmcore.tuning.study import open_study
from fmcore.tuning.verdict import PATIENCE, Verdict, given, require_model, verdict
from fmcore.tuning.worker import TrialContext


@dataclass(frozen=True)
class Plan:
    """The plan of a search.

    objective: a name of goals.goal_names, or None for the first of the objective. strategy: one of STRATEGIES.
    trials: how many may end, over all runs of a study; the untuned model is the first.
    timeout: seconds, or None. jobs: processes that train.
    folds: of cross-validation where there are no test rows, else 0. study: path of the SQLite file, or None.
    repeats: seeds, by whose mean the best few trials are compared. refit: whether the test rows are trained on at last.
    """

    objective: str | None = None
    strategy: str = "bayesian"
    trials: int = 40
    timeout: float | None = None
    jobs: int = 1
    folds: int = 0
    study: str | None = None
    repeats: int = 1
    refit: bool = False


@dataclass(frozen=True)
class Result:
    """The result of a search. verdict: whose best model is published. interrupted: whether Ctrl-C ended it.

    given: name -> value of what the model was given beside the preset; hyperparameters: all that it was given.
    """

    model: object
    verdict: Verdict
    given: dict
    hyperparameters: object
    interrupted: bool

    @property
    def best(self):
        """Return the Tried whose model is published."""
        return self.verdict.best


class TuningObserver(SearchObserver):
    """Methods that `tune` calls while it runs; a command overrides those that it wants to show."""

    def begun(self, study, rows, test_rows):
        """Take note that the rows are decoded and the study is open; test_rows: None in cross-validation."""

    def repeated(self, ended, total):
        """Take note that the search is over, and of how many trainings with other seeds have ended, of `total`."""

    def best_again(self, best, *, interrupted):
        """Take note that the search is over and the best trial is now trained once more."""

    def done(self, study, result):
        """Take note that the model is published; this is the last moment at which the study can be read."""


def tune(data, test, space, target, plan, *, resources=None, observer=None):
    """Search the space for the model that is best on the test rows, or over folds of `data`, and publish it; a Result.

    data, test: fmcore.io.data.Data, test None in cross-validation. space: space.Space. plan: Plan.
    observer: TuningObserver, which is called on the way.
    The published model is the one that training on `data`, and where plan.refit on `test` as well, with the best
    hyperparameters gives, to the byte; without a search where no trial is better.
    Raises UsageError for what cannot be searched, DivergedError where no trial ended with a value.
    """
    observer, resources = observer or TuningObserver(), resources or Resources()
    goal = goal_of(plan.objective, space.fixed["predictor_type"])
    _require_searchable(data, test, space, plan)
    require()
    require_apart(
        {"the model": target, "the study": plan.study, "the vocabulary": data.options.table.vocabulary},
        [path for part in (data, test) if part for path in part.paths],
    )
    publish.prepare(target)
    with tempfile.TemporaryDirectory(prefix="fmkit-tune-") as folder:
        with _fits(folder):
            job = _shared(data, test, space, folder)
        job = replace(
            job,
            folds=plan.folds,
            goal=goal,
            threads=max(1, resources.threads // plan.jobs),
            memory_limit=_limit(resources) // plan.jobs,
        )
        _require_rows(job)
        with open_study(plan.study, _settings(space, job), space, strategy=plan.strategy, trials=plan.trials) as study:
            observer.begun(study, job.train.rows, job.test and job.test.rows)
            found, interrupted = _searched(study, space, job, plan, observer)
            if found is None:
                require_model(study.tried(), plan.timeout)
            observer.best_again(found.best, interrupted=interrupted)
            values = given(space, found.best, refit=plan.refit)
            hyperparameters = resolve(space.preset, **values)
            rows, test_rows = _for_the_best(data, test, refit=plan.refit)
            model = train(rows, hyperparameters, target, test=test_rows, resources=resources)
            result = Result(model, found, values, hyperparameters, interrupted)
            observer.done(study, result)
    return result


def _for_the_best(data, test, *, refit):
    """Return the rows that the best model is trained on, and those that it is tested on, or None."""
    if refit:
        return replace(data, names=[*data.names, *test.names], report=Report()), None
    return replace(data, report=Report()), test and replace(test, report=Report())  # as first passes are over


def _require_searchable(data, test, space, plan):
    if test is None and not plan.folds:
        raise UsageError(
            "a search needs rows to judge by; name some with --test, or test on parts of the training rows, "
            "one after the other, with --cv 5"
        )
    if test is not None and plan.folds:
        raise UsageError("--test and --cv are two ways to judge; leave one of them out")
    if plan.refit and test is None:
        raise UsageError("--refit trains on the test rows too, but with --cv there are none; leave it out")
    if plan.folds and (PATIENCE in space.dimensions or space.defaults[PATIENCE] is not None):
        raise UsageError(
            f"{PATIENCE} needs test rows, which the last training after --cv does not have; leave it out, "
            "or name test rows with --test"
        )
    if space.defaults["validation_fraction"] is not None:
        raise UsageError("validation_fraction holds out rows to test on, but a search has its own; leave it out")
    for part in (data, test):
        if part is not None and not part.rereadable:
            raise UsageError(
                f"{sources.title(part.sources)} can be read once, but the best model is trained from the "
                "rows again; give files"
            )


def _limit(resources):
    return default_limit() if resources.memory_limit is None else resources.memory_limit


@contextmanager
def _fits(folder):
    """Raise an error that states what to do where the folder of temporary files has no room."""
    try:
        yield
    except OSError as error:
        if error.errno not in {*publish.LACKS, None}:  # NumPy gives none where it could write less than it wanted
            raise
        reason = publish.LACKS[error.errno or errno.ENOSPC].split(";")[0]
        raise ResourceError(
            f"the rows for all trials do not fit into {Path(folder).parent}: {reason}; name a larger "
            "folder in the variable TMPDIR"
        ) from error


def _shared(data, test, space, folder):
    """Return a TrialContext with the rows decoded into files of the folder."""
    objective, encoder = (
        objective_of(space.fixed["predictor_type"]),
        new_encoder(data.options.table, compact=data.options.compact),
    )
    family = FAMILIES[space.fixed.get("family", FM)]
    reader = data.reader(encoder, options=needed_by(data.options, objective, family))
    if encoder.output is not None:
        publish.prepare(encoder.output)
    with reader.named():
        if data.options.table.min_count > 1:
            reader.learn(objective)
        rows = share(reader.read(objective, space.fixed.get("feature_dim")), Path(folder, "train"))
        if not rows.rows:
            raise DataError("no rows to train on")
    encoder.freeze()
    feature_dim = max(1, reader.feature_dim(rows.feature_dim, space.fixed.get("feature_dim")))
    test_rows = None
    if test is not None:
        test_reader = test.reader(encoder, options=needed_by(test.options, objective, family))
        test_rows = share(test_reader.read_known(objective, feature_dim), Path(folder, "test"))
        if not test_rows.rows:
            raise DataError("no rows to test on", source=sources.title(test.sources))
    return TrialContext(feature_dim, rows, test_rows)


def _require_rows(job):
    if job.train.rows < job.folds:
        raise UsageError(f"--cv {job.folds} needs at least as many training rows; there are {job.train.rows}")


def _settings(space, job):
    """Return what all runs of a study must have in common, by what to call it."""
    return {
        "objective": job.goal.name,
        "first trial": "untuned",
        "preset": space.preset,
        "--cv": job.folds,
        **{f"the value of {name}": value for name, value in space.fixed.items()},
        **{f"what is searched of {name}": asdict(dimension) for name, dimension in space.dimensions.items()},
        "feature_dim of the rows": job.feature_dim,
        "the checksum of the training rows": job.train.checksum,
        "the checksum of the test rows": job.test and job.test.checksum,
    }


def _searched(study, space, job, plan, observer):
    """Search until the plan is fulfilled; return the Verdict, or None, and whether Ctrl-C ended the search before."""
    try:
        search(study, job, jobs=plan.jobs, timeout=plan.timeout, observer=observer)
        trials = repeated(study, space, job, plan, observer.repeated) if plan.repeats > 1 else _complete(study)
    except KeyboardInterrupt:
        if (found := verdict(space, _complete(study))) is None:
            raise
        return found, True
    return verdict(space, trials), False


def _complete(study):
    """Return the trials with a value, the best first."""
    return [tried for tried in study.tried() if tried.value is not None]
