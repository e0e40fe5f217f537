"""The choice of the next trial's values: optuna's samplers, seeded by each trial's place among those that count.

The first place is the untuned model's, with every strategy, so that all others are compared with it.
"""

import warnings

import numpy as np

from fmcore.tuning.grid import Grid
from fmcore.tuning.trials import UNTUNED

STRATEGIES = ("bayesian", "random", "grid", "hyperband")
LEARNING = ("bayesian", "hyperband")
RANDOM_TRIALS = 4  # before these begin to learn, the untuned model included; ranges lie around good defaults


class Sampler:
    """A sampler as optuna calls it, for trials of a space.

    place_of: a function from a new trial's number to its place. place: that of the last trial begun.
    The values at place n depend only on (seed, n) and on the trials that have ended. So one job with one seed tries the
    same values again, and a search that was killed continues as if it had not been.
    """

    def __init__(self, space, strategy, place_of):
        self._space, self._strategy, self._place_of = space, strategy, place_of
        self._grid = Grid(space) if strategy == "grid" else None
        self._given, self._chooser, self.place = {}, None, None

    @property
    def places(self):
        """Return how many different trials there are, or None where their number is unlimited."""
        return self._grid and 1 + self._grid.size

    def before_trial(self, study, trial):
        """Prepare the values of a trial that begins; called by optuna."""
        self.place = self._place_of(trial.number)
        self._given = self._grid.point(self.place - 1) if self._grid and self.place != UNTUNED else {}
        self._chooser = self._seeded(np.random.SeedSequence([self._space.defaults["seed"], self.place]))
        self._chooser.before_trial(study, trial)

    def give(self, values):
        """Set the values that dimensions have where they are asked for, by name."""
        self._given = values

    def infer_relative_search_space(self, study, trial):
        """Return the dimensions whose values are chosen together; called by optuna."""
        return {} if self._is_given() else self._chooser.infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        """Return the values chosen together; called by optuna."""
        return {} if self._is_given() else self._chooser.sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        """Return a value chosen alone, or the given one for this place; called by optuna."""
        if param_name in self._given:
            return self._given[param_name]
        return self._chooser.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study, trial, state, values):
        """Do nothing; called by optuna."""

    def _is_given(self):
        return bool(self._given) or self.place == UNTUNED

    def _seeded(self, sequence):
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(sequence.generate_state(1)[0])
        if self._strategy not in LEARNING:
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna warns that multivariate is experimental
            return TPESampler(
                seed=seed, n_startup_trials=RANDOM_TRIALS, multivariate=True, group=True, constant_liar=True
            )
