"""The trials of a search, and the choice of the next one: optuna's studies behind a small interface.

A trial counts once it has ended by itself: with a value, stopped early, or diverged. Trials of a run that was killed or
that ran out of time are withdrawn, and others take their places. The first place has the untuned model, whose values
are known only once it is trained.
"""

import json
import secrets
import warnings
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice

from fmcore.errors import UsageError
from fmcore.tuning import runs, storage
from fmcore.tuning.dimensions import Range
from fmcore.tuning.goals import STEPS, goal_of
from fmcore.tuning.samplers import Sampler
from fmcore.tuning.sound import AGAIN, is_sound
from fmcore.tuning.trials import FOUND, PLACE, PROBLEM, RUN, UNTUNED, Trial, Tried

WARM_UP = STEPS // 2  # the first step at which a trial may be pruned: as learning rates fall, good ones may be late
ENOUGH = 4  # trials with a value that importances need


@contextmanager
def open_study(path, settings, space, *, strategy="bayesian", trials=40):
    """Provide a Study for the duration of the block."""
    study = Study(path, settings, space, strategy=strategy, trials=trials)
    try:
        yield study
    finally:
        storage.close(study.optuna_study)


class Study:
    """The trials of one search, in memory, or in the SQLite file `path`, which other runs may share.

    optuna_study: the study of optuna behind it.
    settings: ready for JSON; must be the same for all runs of a study, its "objective" among them.
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
        """Return the next Trial, or None where enough have ended or are running.

        Values that do not go together are trials that have failed.
        """
        with self._guarded():
            self._withdraw_orphans()
            while len(self._counted()) < self._last:
                handle = self._begin()
                if self._sampler.place >= self._last:  # another run began its trial first
                    self._fail(handle)
                    break
                if self._sampler.place == UNTUNED:
                    return Trial(handle.number, {}, self._space.untuned(), untuned=True, handle=handle)
                trial = Trial(handle.number, self._suggest(handle), handle=handle)
                try:
                    return replace(trial, hyperparameters=self._space.hyperparameters(trial.values))
                except UsageError as error:
                    self.tell(trial, **{PROBLEM: str(error)})
            return None

    def waits(self):
        """Return whether the last trials are running in other runs on this machine; if those end, `ask` takes over."""
        with self._guarded():
            running = [trial for trial in self._counted() if not trial.state.is_finished()]
        return any(runs.is_near(trial.user_attrs[RUN]) for trial in running)

    def report(self, trial, step, value):
        """Record the objective at a step (1 to STEPS) of a trial; return whether the trial should end there.

        The untuned model is trained to its end, as all others are compared with it.
        """
        with self._guarded():
            trial.handle.report(value, step)
            return not trial.untuned and trial.handle.should_prune()

    def tell(self, trial, value=None, *, pruned=False, found=None, **info):
        """Record how a trial ended: with a value, pruned, or else failed with a "problem". info: ready for JSON.

        found: name -> value of all hyperparameters of its model.
        """
        state = "COMPLETE" if value is not None else "PRUNED" if pruned else "FAIL"
        with self._guarded():
            if trial.untuned and found is not None:
                info[FOUND] = self._space.values_of(found)
                if self._space.holds(found):
                    self._sampler.give(info[FOUND])
                    self._suggest(trial.handle)
            for name, content in info.items():
                trial.handle.set_user_attr(name, content)
            self.optuna_study.tell(trial.handle, value, state=self._state(state))

    def withdraw(self, trial):
        """End a trial so that it does not count."""
        with self._guarded():
            self._fail(trial.handle)

    def tried(self):
        """Return all ended trials that count, as Tried: the best first, those without a value last."""
        with self._guarded():
            ended = [Tried.of(trial) for trial in self._counted() if trial.state.is_finished()]
        sign = 1 if self.minimize else -1
        return sorted(ended, key=lambda t: (t.value is None, sign * (t.value or 0), not t.untuned, t.number))

    def again(self, number, seed):
        """Return the value of a trial with another seed, None where it is not known."""
        with self._guarded():
            return self.optuna_study.user_attrs.get(f"{AGAIN}{number} {seed}")

    def tell_again(self, number, seed, value):
        """Record the value of a trial with another seed."""
        with self._guarded():
            self.optuna_study.set_user_attr(f"{AGAIN}{number} {seed}", value)

    def importances(self):
        """Return name -> how much each hyperparameter explains of the values' variation, largest first, or {}."""
        if len({trial.value for trial in self._comparable()}) < ENOUGH:
            return {}
        with self._guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._optuna.importance.get_param_importances(
                self.optuna_study, evaluator=self.evaluator(), params=self.common()
            )

    def common(self):
        """Return the names of what all trials of the space with a value have in common."""
        trials = self._comparable()
        return [name for name in self._space.dimensions if trials and all(name in trial.values for trial in trials)]

    def _comparable(self):
        return [trial for trial in self.tried() if trial.value is not None and trial.inside]

    def evaluator(self):
        """Return the measure of importance: PED-ANOVA (Watanabe, Bansal, Hutter 2023)."""
        return self._optuna.importance.PedAnovaImportanceEvaluator()

    @property
    def _last(self):
        """Return how many trials there may be."""
        return self._trials if self._sampler.places is None else min(self._trials, self._sampler.places)

    def _begin(self):
        """Begin a trial that carries this run's mark from its beginning, unlike those that optuna begins."""
        mark = {**runs.mark(), "token": secrets.token_hex(8)}
        self.optuna_study.add_trial(self._optuna.create_trial(state=self._state("RUNNING"), user_attrs={RUN: mark}))
        mine = next(trial for trial in self._counted() if trial.user_attrs[RUN] == mark)
        handle = self._optuna.trial.Trial(self.optuna_study, mine._trial_id)  # noqa: SLF001 - optuna has no public name
        handle.set_user_attr(PLACE, self._sampler.place)
        return handle

    def _place(self, number):
        """Return the first free place, leaving one to each trial that began earlier and has none yet."""
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
                    f"{self._path} holds another search: its {name} is {its}, but here {name} is {mine}; name "
                    "another file with --study, or use the same settings"
                )

    def _require_sound(self):
        """Raise UsageError for trials that no run of this search can have left."""
        if not is_sound(self.optuna_study, self._space.dimensions):
            raise UsageError(
                f"the study {self._path} is damaged: it holds a trial that is not of this search; name "
                "another file with --study"
            )

    def _withdraw_orphans(self):
        """Withdraw the running trials of runs that have ended."""
        for trial in self._counted():
            if not trial.state.is_finished() and not runs.lives(trial.user_attrs[RUN]):
                self._fail(trial.number)

    def _fail(self, trial):
        self.optuna_study.tell(trial, state=self._state("FAIL"), skip_if_finished=True)

    def _counted(self):
        """Return the trials, as optuna has them, that are running or have ended by themselves."""
        return [
            trial
            for trial in self.optuna_study.get_trials(deepcopy=False)
            if trial.state != self._state("FAIL") or PROBLEM in trial.user_attrs
        ]

    def _state(self, name):
        return self._optuna.trial.TrialState[name]

    def _guarded(self):
        return storage.guarded(self._path)
