"""What was tried and what to try next: optuna's samplers, pruners and its SQLite storage behind a small interface.

Trial n is suggested by a sampler seeded with (seed, n) from the trials that ended before it. So one job with one seed
tries the same again, and a search that was killed goes on as if it had not been.
"""
import json
import os
import socket
import sqlite3
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from fmcore.errors import ResourceError, UsageError
from fmcore.tuning.objectives import STEPS, direction_of
from fmcore.tuning.space import Range

STRATEGIES = ("bayesian", "random", "grid", "hyperband")
LEARNING = ("bayesian", "hyperband")  # these start from the defaults: no search should end worse than without it
RANDOM_TRIALS = 10  # of the bayesian strategy, before it learns from them
GRID_POINTS = 5  # of a range of numbers
NAME = "fmkit"
HEADER = b"SQLite format 3\0"
LOCKED = 30  # seconds to wait for another run that writes


@dataclass
class Trial:
    """One set of hyperparameters to try. number: from 0. values: those searched, by name."""

    number: int
    values: dict
    handle: object = field(repr=False, default=None)


@dataclass(frozen=True)
class Tried:
    """A trial that has ended: state is "complete", "pruned" or "failed", value None unless it is complete."""

    number: int
    values: dict
    state: str
    value: float | None
    info: dict


class Study:
    """The trials of one search, in memory's stead in the SQLite file `path`, which other runs may share.

    settings: ready for JSON; what must be the same for all runs of a study, its "objective" among them.
    trials: how many may end.
    Raises UsageError where the file is no study, or one of other settings, ResourceError where it stays locked.
    """

    def __init__(self, path, settings, space, *, strategy, seed, trials):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._path, self._space = optuna, Path(path), space
        self._strategy, self._seed, self._trials = strategy, seed, trials
        self.objective = settings["objective"]
        self.minimize = direction_of(self.objective) == "minimize"
        _require_study_file(self._path)
        with self._guarded():
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{self._path}", engine_kwargs={"connect_args": {"timeout": LOCKED}})
            self._study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True,
                                              direction=direction_of(self.objective), pruner=self._pruner())
            self._require_same(json.loads(json.dumps(settings)))

    def ask(self):
        """The next Trial, or None where enough have ended or are under way."""
        with self._guarded():
            self._bury()
            if len(self._counted()) >= self._trials:
                return None
            number = len(self._study.get_trials(deepcopy=False))
            if number == 0 and self._strategy in LEARNING:
                self._study.enqueue_trial(self._space.start())
            self._study.sampler = self._sampler(number)
            handle = self._study.ask()
            handle.set_user_attr("run", _me())
            if self._strategy == "grid" and _exhausted(self._study):
                self._study.tell(handle, state=self._state("FAIL"))
                return None
            return Trial(handle.number, self._suggest(handle), handle)

    def report(self, trial, step, value):
        """Take in the objective at a step (1 to STEPS) of a trial's way; whether the trial should end there."""
        with self._guarded():
            trial.handle.report(value, step)
            return trial.handle.should_prune()

    def tell(self, trial, value=None, *, pruned=False, **info):
        """End a trial: with its value, pruned, or failed where there is neither. info: ready for JSON."""
        state = "COMPLETE" if value is not None else "PRUNED" if pruned else "FAIL"
        with self._guarded():
            for name, content in {**info, "ended": True}.items():
                trial.handle.set_user_attr(name, content)
            self._study.tell(trial.handle, value, state=self._state(state))

    def tried(self):
        """All trials that have ended, the best first, then those without a value, each as Tried."""
        with self._guarded():
            ended = [self._tried(trial) for trial in self._study.get_trials(deepcopy=False) if _has_ended(trial)]
        sign = 1 if self.minimize else -1
        return sorted(ended, key=lambda t: (t.value is None, sign * (t.value or 0), t.number))

    def importances(self):
        """Name -> share of each hyperparameter in how the values vary, largest first; empty for too few trials."""
        complete = [trial for trial in self.tried() if trial.value is not None]
        if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
            return {}
        with self._guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._optuna.importance.get_param_importances(self._study, evaluator=self.evaluator())

    def evaluator(self):
        """How importance is measured: by PED-ANOVA (Watanabe, Bansal, Hutter 2023)."""
        return self._optuna.importance.PedAnovaImportanceEvaluator()

    @property
    def optuna_study(self):
        """What optuna's own plots take."""
        return self._study

    def _suggest(self, handle):
        values = {}
        for name, dimension in self._space.dimensions.items():
            if not self._space.applies(name, values):
                continue
            if isinstance(dimension, Range):
                suggest = handle.suggest_int if dimension.integer else handle.suggest_float
                values[name] = suggest(name, dimension.low, dimension.high, log=dimension.log)
            else:
                values[name] = handle.suggest_categorical(name, dimension.values)
        return values

    def _sampler(self, number):
        samplers, seed = self._optuna.samplers, int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._strategy == "random":
            return samplers.RandomSampler(seed=seed)
        if self._strategy == "grid":
            return samplers.GridSampler({name: grid(d) for name, d in self._space.dimensions.items()}, seed=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # multivariate is called experimental
            return samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, multivariate=True, group=True,
                                       constant_liar=True)

    def _pruner(self):
        pruners = self._optuna.pruners
        if self._strategy == "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=STEPS, reduction_factor=3)
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2, n_min_trials=3)

    def _require_same(self, settings):
        kept = self._study.user_attrs.get("settings")
        if kept is None:
            self._study.set_user_attr("settings", settings)
            return
        for name in settings.keys() | kept.keys():
            if settings.get(name) != kept.get(name):
                raise UsageError(f"{self._path} holds a search whose {name} is {kept.get(name)}, not "
                                 f"{settings.get(name)}; name another file, or search as it does")

    def _bury(self):
        """Fail the trials under way of runs on this machine that are no more."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == self._state("RUNNING") and not _lives(trial):
                self._study.tell(trial.number, state=self._state("FAIL"), skip_if_finished=True)

    def _counted(self):
        running = self._state("RUNNING")
        return [trial for trial in self._study.get_trials(deepcopy=False)
                if trial.state == running or _has_ended(trial)]

    def _tried(self, trial):
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        return Tried(trial.number, dict(trial.params), state, trial.value if state == "complete" else None,
                     dict(trial.user_attrs))

    def _state(self, name):
        return self._optuna.trial.TrialState[name]

    @contextmanager
    def _guarded(self):
        """Turn what SQLite and optuna refuse into a sentence."""
        import sqlalchemy

        try:
            yield
        except (sqlalchemy.exc.OperationalError, self._optuna.exceptions.StorageInternalError) as error:
            raise ResourceError(f"the study {self._path} cannot be used: {_cause(error)}") from None
        except sqlalchemy.exc.DatabaseError as error:
            raise UsageError(f"{self._path} is no study, or is damaged: {_cause(error)}") from None


def grid(dimension):
    """The values of a dimension that a grid search tries: all choices, or up to GRID_POINTS of a range."""
    if not isinstance(dimension, Range):
        return list(dimension.values)
    spread = np.geomspace if dimension.log else np.linspace
    points = spread(dimension.low, dimension.high, GRID_POINTS).tolist()
    points[0], points[-1] = dimension.low, dimension.high  # not as rounding has them
    return sorted({round(point) for point in points}) if dimension.integer else points


def _exhausted(study):
    return not study.sampler._get_unvisited_grid_ids(study)  # noqa: SLF001


def _require_study_file(path):
    try:
        with path.open("rb") as handle:
            head = handle.read(len(HEADER))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {path.parent}") from None
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if head and head != HEADER:
        raise UsageError(f"{path} is no study: it is not an SQLite file; name a new file or one that fm tune made")
    if not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written: it is write-protected")


def _has_ended(trial):
    """Whether a trial came to its own end; those of a run that was killed did not."""
    return "ended" in trial.user_attrs


def _me():
    return {"host": socket.gethostname(), "process": os.getpid(), "since": _since(os.getpid())}


def _lives(trial):
    """Whether the run that asked for a trial goes on, as far as can be told: another machine's is taken for alive."""
    run = trial.user_attrs.get("run")
    if run is None:  # asked for a moment ago, or killed in that moment
        return (datetime.now() - trial.datetime_start).total_seconds() < LOCKED  # noqa: DTZ005 - as optuna has it
    return run["host"] != socket.gethostname() or _since(run["process"]) == run["since"] != ""


def _since(process):
    """When a process began, which tells it from a later one of its number; "" where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except OSError:
        return ""
    return "unknown"  # not Linux


def _cause(error):
    cause = error.__cause__ if error.__cause__ is not None else error
    return getattr(cause, "orig", cause) if not isinstance(cause, sqlite3.Error) else cause
