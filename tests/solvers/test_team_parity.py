"""Four workers learn as well as one machine, and would not if they were merged otherwise.

With the learning rates that are the default one machine knows these rows by heart after an epoch, and whoever learns
less of them looks the better for it. That rates have to grow with the workers shows where they are small.
"""

import clicks
import numpy as np
import pytest
from teams import Log, team, trained

from fmcore import api
from fmcore.io.recordio import codec as recordio
from fmcore.solvers.team import deltas, solver
from fmcore.solvers.team.solver import TeamDescent

ROWS, TEST_ROWS, SCALE, SORTED_ROWS = 200_000, 20_000, 0.2, 60_000
ALONE, TEAM = api.Resources(2), team(4, threads=2)
FIRST, THIRD = 1.01, 1.002  # most, times one machine's test loss after that epoch
RATES = {"default": {}, "small": {"bias_lr": 0.01, "linear_lr": 0.01, "factors_lr": 0.01}}
SEEDS = {"default": (0, 1, 2), "small": (0,)}


class Unscaled(TeamDescent):
    """Training with the learning rates of one machine."""

    def sweep(self, epoch, progress, pause):
        return super().sweep(epoch._replace(lr=epoch.lr / self.workers**0.5), progress, pause)


def mean_of_those_that_have_it(parts, threads, mean=deltas.mean):
    """Replace `deltas.mean`: return means over those workers that have changed a feature."""
    merged = mean(parts, threads)
    count = np.zeros(len(merged.features), np.float32)
    for part in parts:
        count[np.searchsorted(merged.features, part.features)] += 1
    return merged._replace(rows=merged.rows * (np.float32(len(parts)) / count)[:, None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Provide files of clicks: to train on, to test on, and fewer of them, in mixed order and sorted by label."""
    folder = tmp_path_factory.mktemp("clicks")
    rows = clicks.generated(ROWS, 1, SCALE)
    few = rows.take(slice(0, SORTED_ROWS))
    files = {
        "train": rows,
        "test": clicks.generated(TEST_ROWS, 2, SCALE),
        "few": few,
        "sorted": few.take(np.argsort(few.labels, kind="stable")),
    }
    for name, batch in files.items():
        (folder / name).write_bytes(recordio.encode(batch, clicks.feature_dim(SCALE)))
    clicks.forget()
    return folder


def losses(folder, resources, name="train", **hyperparameters):
    """Return the test loss after each epoch."""
    log = Log()
    trained(
        folder / "x.fm",
        [str(folder / name)],
        test=str(folder / "test"),
        resources=resources,
        observer=log,
        **hyperparameters,
    )
    return np.array([record["test"]["logloss"] for record in log.epochs])


@pytest.fixture(scope="module")
def alone(folder):
    """Provide test losses of one machine: rates -> (seeds, epochs)."""
    return {
        rates: np.array([losses(folder, ALONE, seed=seed, **h) for seed in SEEDS[rates]]) for rates, h in RATES.items()
    }


def marks(found, alone):
    """Return which of the two limits the mean loss over seeds meets, which are some of those of one machine."""
    ratio = found.mean(0) / alone[: len(found)].mean(0)
    return bool(ratio[0] <= FIRST), bool(ratio[2] <= THIRD)


@pytest.mark.parametrize("rates", RATES)
def test_four_workers_learn_as_well_as_one_machine(folder, alone, rates):
    found = np.array([losses(folder, TEAM, seed=seed, **RATES[rates]) for seed in SEEDS[rates]])
    assert marks(found, alone[rates]) == (True, True)


@pytest.mark.parametrize(("control", "rates"), [("mean", "default"), ("rates", "small")])
def test_four_workers_learn_worse_with_rounds_merged_otherwise(folder, alone, monkeypatch, control, rates):
    if control == "mean":
        monkeypatch.setattr(deltas, "mean", mean_of_those_that_have_it)
    else:
        monkeypatch.setattr(solver, "TeamDescent", Unscaled)
    found = np.array([losses(folder, TEAM, **RATES[rates])])
    assert marks(found, alone[rates]) == (False, False)


def test_four_workers_learn_as_well_from_rows_sorted_by_label(folder):
    found, mixed = (losses(folder, TEAM, name)[-1] for name in ("sorted", "few"))
    assert found < 1.01 * mixed
