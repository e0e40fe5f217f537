"""The best trials once more with other seeds, so that the luck of one seed does not decide which of them is best."""

from collections import deque
from dataclasses import replace
from statistics import fmean

from fmcore.hyper.params import MAX_SEED
from fmcore.tuning.search import SearchObserver, search
from fmcore.tuning.trials import Trial

FEW = 5  # trials that are repeated, beside the untuned model


def repeated(study, space, context, plan, observer):
    """Return the trials with a value, best first, those in front by their means over plan.repeats seeds.

    observer: called with the number of trainings that have ended, and of all, first before any of this run has begun.
    """
    complete = [tried for tried in study.tried() if tried.value is not None]
    chosen = complete[:FEW] + [tried for tried in complete[FEW:] if tried.untuned]
    first = space.defaults["seed"]
    seeds = [(first + number) % (MAX_SEED + 1) for number in range(1, plan.repeats)]
    queue = Repeats(study, space, chosen, seeds)
    if queue.left:
        observer(queue.total - queue.left, queue.total)
        search(queue, context, jobs=plan.jobs, observer=_Progress(queue, observer))
    means = {tried.number: queue.mean(tried) for tried in chosen}
    sign = 1 if study.minimize else -1
    return sorted(
        (replace(tried, mean=means.get(tried.number)) for tried in complete),
        key=lambda tried: (tried.mean is None, sign * tried.score, not tried.untuned, tried.number),
    )


class Repeats:
    """Trials with other seeds, in place of a Study, until all have ended; what is known of them is not trained again.

    left: how many are still to end. total: of how many.
    """

    def __init__(self, study, space, chosen, seeds):
        self._study, self._seeds = study, seeds
        wanted = [(tried, seed) for seed in seeds for tried in chosen]
        self._waiting = deque(
            Trial(tried.number, tried.values, replace(h, seed=seed), untuned=tried.untuned, handle=seed)
            for tried, seed in wanted
            if study.again(tried.number, seed) is None
            for h in [space.untuned() if tried.untuned else space.hyperparameters(tried.values)]
        )
        self.left, self.total = len(self._waiting), len(wanted)

    def mean(self, tried):
        """Return the mean of a trial's values with all seeds; None where one of them ended without."""
        values = [tried.value, *(self._study.again(tried.number, seed) for seed in self._seeds)]
        return None if None in values else fmean(values)

    def ask(self):
        """See Study."""
        return self._waiting.popleft() if self._waiting else None

    def waits(self):
        """See Study."""
        return False

    def report(self, trial, step, value):  # noqa: ARG002 - all of them are trained to their end
        """See Study."""
        return False

    def tell(self, trial, value=None, **_info):
        """See Study."""
        self.left -= 1
        if value is not None:
            self._study.tell_again(trial.number, trial.handle, value)

    def withdraw(self, trial):
        """See Study."""

    def tried(self):
        """See Study."""
        return self._study.tried()


class _Progress(SearchObserver):
    def __init__(self, queue, observer):
        self._queue, self._observer = queue, observer

    def ended(self, tried, best):  # noqa: ARG002 - they are the search's
        self._observer(self._queue.total - self._queue.left, self._queue.total)
