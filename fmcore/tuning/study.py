"""What was tried and what to try next: optuna's studies behind a small interface.

A trial counts once it has ended by itself, with a value, stopped early, or diverged. Those of a run that was killed or
that ran out of time were withdrawn, and others take their places.
"""

import json
import secrets
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice

from fmcore.errors import UsageError
from fmcore.tuning import runs, storage
from fmcore.tuning.goals import STEPS, goal_of
from fmcore.tuning.samplers import Sampler
from fmcore.tuning.space import Range

RUN, PLACE, PROBLEM = "run", "place", "problem"  # attributes of a trial: who tries it, as which one, why it failed
WARM_UP = STEPS // 2  # the first step at which a trial is judged: learning rates fall, so a good one may come late
ENOUGH = 4  # trials with a value, for importances to mean something


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


@contextmanager
def open_study(path, settings, space, *, strategy="bayesian", trials=40):
    """A Study while the block lasts."""
    study = Study(path, settings, space, strategy=strategy, trials=trials)
    try:
        yield study
    finally:
        storage.close(study.optuna_study)


class Study:
    """The trials of one search, in memory, or in the SQLite file `path`, which other runs may share.

    optuna_study: optuna's own.
    settings: ready for JSON; what must be the same for all runs of a study, its "objective" among them.
    trials: how many may end.
    Raises UsageError where the file is no study, one of other settings, or stays locked; so do all its methods.
    """

    def __init__(self, path, settings, space, *, strategy, trials):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._path, self._space, self._trials = optuna, path, space, trials
        self.objective = settings["objective"]
        direction = goal_of(self.objective, space.defaults["predictor_type"]).direction
        self.minimize = direction == "minimize"
        self._sampler = Sampler(space, strategy, self._place)
        self.optuna_study = storage.open_study(
            path, direction=direction, sampler=self._sampler, pruner=self._pruner(strategy)
        )
        with self._guarded():
            self._require_same(json.loads(json.dumps(settings)))
            if path is not None:
                self._require_sound()

    def ask(self):
        """The next Trial, or None where enough have ended or are under way."""
        with self._guarded():
            self._bury()
            if len(self._counted()) >= self._last:
                return None
            handle = self._begin()
            if self._sampler.place >= self._last:  # another run was quicker
                self._fail(handle)
                return None
            return Trial(handle.number, self._suggest(handle), handle)

    def waits(self):
        """Whether the last trials are under way in other runs on this machine; `ask` takes over should those end."""
        with self._guarded():
            under_way = [trial for trial in self._counted() if not trial.state.is_finished()]
        return any(runs.is_near(trial.user_attrs[RUN]) for trial in under_way)

    def report(self, trial, step, value):
        """Take in the objective at a step (1 to STEPS) of a trial's way; whether the trial should end there."""
        with self._guarded():
            trial.handle.report(value, step)
            return trial.handle.should_prune()

    def tell(self, trial, value=None, *, pruned=False, **info):
        """End a trial: with its value, pruned, or else failed for its "problem". info: ready for JSON."""
        state = "COMPLETE" if value is not None else "PRUNED" if pruned else "FAIL"
        with self._guarded():
            for name, content in info.items():
                trial.handle.set_user_attr(name, content)
            self.optuna_study.tell(trial.handle, value, state=self._state(state))

    def withdraw(self, trial):
        """End a trial as if it had not been."""
        with self._guarded():
            self._fail(trial.handle)

    def tried(self):
        """All trials that have ended and count, the best first, then those without a value, each as Tried."""
        with self._guarded():
            ended = [_tried(trial) for trial in self._counted() if trial.state.is_finished()]
        sign = 1 if self.minimize else -1
        return sorted(ended, key=lambda t: (t.value is None, sign * (t.value or 0), t.number))

    def importances(self):
        """Name -> share of each hyperparameter in how the values vary, largest first; empty for too few trials."""
        complete = [trial for trial in self.tried() if trial.value is not None]
        if len(complete) < ENOUGH or len({trial.value for trial in complete}) < ENOUGH:
            return {}
        with self._guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._optuna.importance.get_param_importances(self.optuna_study, evaluator=self.evaluator())

    def evaluator(self):
        """How importance is measured: by PED-ANOVA (Watanabe, Bansal, Hutter 2023)."""
        return self._optuna.importance.PedAnovaImportanceEvaluator()

    @property
    def _last(self):
        """How many trials there may be."""
        return self._trials if self._sampler.places is None else min(self._trials, self._sampler.places)

    def _begin(self):
        """Begin a trial that bears our mark from its first moment on, unlike those that optuna begins; its handle."""
        mark = {**runs.mark(), "token": secrets.token_hex(8)}
        self.optuna_study.add_trial(self._optuna.create_trial(state=self._state("RUNNING"), user_attrs={RUN: mark}))
        mine = next(trial for trial in self._counted() if trial.user_attrs[RUN] == mark)
        handle = self._optuna.trial.Trial(self.optuna_study, mine._trial_id)  # noqa: SLF001 - it is named nowhere else
        handle.set_user_attr(PLACE, self._sampler.place)
        return handle

    def _place(self, number):
        """The first place that no other trial has, leaving one to each that was begun before and has none yet."""
        others = [trial for trial in self._counted() if trial.number != number]
        taken = {trial.user_attrs.get(PLACE) for trial in others}
        before = sum(PLACE not in trial.user_attrs for trial in others if trial.number < number)
        return next(islice((place for place in count() if place not in taken), before, None))

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

    def _pruner(self, strategy):
        pruners = self._optuna.pruners
        if strategy == "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=STEPS, reduction_factor=3)
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=WARM_UP, n_min_trials=3)

    def _require_same(self, settings):
        kept = self.optuna_study.user_attrs.get("settings")
        if kept is None:
            self.optuna_study.set_user_attr("settings", settings)
            return
        for name in sorted(settings.keys() | kept.keys()):
            mine, its = (words.get(name, "not given") for words in (settings, kept))
            if mine != its:
                raise UsageError(
                    f"{self._path} holds another search: there, {name} is {its}, here {mine}; name "
                    "another file with --study, or search as it does"
                )

    def _require_sound(self):
        """Refuse trials that no run of this search can have left."""
        expected = {name: _distribution(dimension) for name, dimension in self._space.dimensions.items()}
        try:
            sound = all(_is_sound(trial, expected) for trial in self.optuna_study.get_trials(deepcopy=False))
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            sound = False  # optuna takes what is in the file for its own
        if not sound:
            raise UsageError(
                f"the study {self._path} is damaged: it holds a trial that is none of this search; name "
                "another file with --study"
            )

    def _bury(self):
        """Withdraw the trials under way of runs that are no more."""
        for trial in self._counted():
            if not trial.state.is_finished() and not runs.lives(trial.user_attrs[RUN]):
                self._fail(trial.number)

    def _fail(self, trial):
        self.optuna_study.tell(trial, state=self._state("FAIL"), skip_if_finished=True)

    def _counted(self):
        """The trials, as optuna has them, that are under way or have ended by themselves."""
        return [
            trial
            for trial in self.optuna_study.get_trials(deepcopy=False)
            if trial.state != self._state("FAIL") or PROBLEM in trial.user_attrs
        ]

    def _state(self, name):
        return self._optuna.trial.TrialState[name]

    def _guarded(self):
        return storage.guarded(self._path)


def _distribution(dimension):
    """What optuna makes of a dimension where a value of it is suggested."""
    from optuna import distributions

    if not isinstance(dimension, Range):
        return distributions.CategoricalDistribution(dimension.values)
    kind = distributions.IntDistribution if dimension.integer else distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _is_sound(trial, expected):
    """Whether a trial is such as `Study` leaves them; expected: name -> distribution."""
    told = trial.user_attrs
    return (
        runs.is_mark(told.get(RUN))
        and isinstance(told.get(PLACE, 0), int)
        and isinstance(told.get("seconds", 0.0), (int, float))
        and isinstance(told.get(PROBLEM, ""), str)
        and all(expected.get(name) == found for name, found in trial.distributions.items())
    )


def _tried(trial):
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    return Tried(
        trial.number, dict(trial.params), state, trial.value if state == "complete" else None, dict(trial.user_attrs)
    )
