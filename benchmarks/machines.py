"""Extrapolate the cost of rounds to machines that are not here, from CPU seconds measured here and a feature law."""

from typing import NamedTuple

import clicks
import numpy as np

from fmcore.solvers.team.rounds import LEAST, LONGEST

SINGLY = 1 << 16  # values of a column whose likelihood is taken one by one; of the rarer ones in bins
ID = 4  # bytes of a feature's number on the wire
CORES = 16
JOB_ROWS = 1_000_000_000
EPOCHS = 3
MACHINES = (4, 16, 64)
MOST = 1024  # machines, the most that are considered
NETWORKS = {"10 GbE": 10e9 / 8, "25 GbE": 25e9 / 8}  # bytes a second each way
GOODPUT = 0.9  # share of these bytes that are data
SHARED = 0.17  # speed of all cores together, relative to each being as fast as one alone; see RESULTS.md
THREADED = ("begin", "answer", "take", "split", "apply")  # steps that mostly move rows of a table, by all threads
EXCHANGES = {"replica": 1, "sharded": 2}
WAYS = (("replica", 1), ("sharded", 1), ("sharded", CORES))  # state, workers on each machine, which share its cores
WORTH = 1.05  # times sooner that twice the machines have to be


class Costs(NamedTuple):
    """CPU seconds measured here, at one k.

    row: floats of a feature. train, read: of a row. plan, renumber: of a row, before it is trained (renumber: where the
    state is sharded), and scan of each feature that there is. steps: by state and step, of a feature touched by the
    worker; "apply" of these and of those that any worker has touched.
    """

    row: int
    train: float
    read: float
    plan: float
    renumber: float
    scan: float
    steps: dict


class Engine(NamedTuple):
    """The costs that an engine adds: CPU seconds a byte; of the leader for each worker, and each pair, in a round."""

    byte: float
    worker: float
    pair: float


class Round(NamedTuple):
    """Seconds of one round. alone: the seconds that its rows take one machine alone."""

    alone: float
    steps: float
    engine: float
    network: float
    leader: float

    @property
    def efficiency(self):
        """Return the rows a second of each machine, as a share of those of one alone."""
        return self.alone / sum(self)

    @property
    def bound(self):
        """Return the efficiency where only the network takes time."""
        return self.alone / (self.alone + self.network)


def touched(rows, scale):
    """Return how many features a number of rows hold together, by the distribution of their columns (float)."""
    found = float(sum(clicks.BUCKETS))
    for size in clicks.sizes(scale)[len(clicks.BUCKETS) :]:
        ranks, counts = binned(int(size))
        likely = ranks**-clicks.ZIPF
        likely /= float(np.sum(likely * counts))
        found += float(np.sum(counts * -np.expm1(rows * np.log1p(-np.minimum(likely, 1 - 1e-12)))))
    return found


def binned(size):
    """Return (middle rank, number of ranks) of bins of a column's values, likely values each in a bin of its own."""
    if size <= SINGLY:
        return np.arange(1, size + 1, dtype=np.float64), np.ones(size)
    edges = np.unique(np.geomspace(SINGLY + 1, size + 1, 2000).astype(np.int64))
    bins, sizes = (edges[:-1] + edges[1:] - 1) / 2, np.diff(edges)
    return np.append(np.arange(1.0, SINGLY + 1), bins), np.append(np.ones(SINGLY), sizes)


def counted(rows, scale):
    """Return how many features rows of clicks really hold, for each of several numbers of rows."""
    seen, found, random = np.zeros(clicks.feature_dim(scale), np.uint8), {}, np.random.default_rng([2013, 7])
    columns, done = clicks.drawn_columns(scale), 0
    while done < max(rows):
        part = np.stack([draw(random) for draw in columns])
        for many in sorted(rows):
            if done < many <= done + clicks.CHUNK:
                seen[part[:, : many - done]] = 1
                found[many] = int(np.count_nonzero(seen))
        seen[part] = 1
        done += clicks.CHUNK
    return found


def round_of(costs, engine, way, machines, rows, network, scale):
    """Return the Round of `rows` rows a worker. way: one of WAYS. network: bytes a second."""
    state, each = way
    workers, mine, steps = machines * each, touched(rows, scale), costs.steps[state]
    everyone = touched(rows * workers, scale) if state == "replica" else 0
    at_once = CORES * SHARED / each  # what all threads of a worker get done, in the work of one that has all memory
    each_row = costs.plan + costs.renumber * (state == "sharded")
    spent = each_row * rows + mine * sum(steps[name] for name in THREADED) + everyone * steps["apply"]
    spent /= at_once
    spent += (
        costs.scan * clicks.feature_dim(scale)
        + mine * sum(cost for name, cost in steps.items() if name not in THREADED)
    ) / min(1, at_once)
    size = ID + 4 * costs.row
    bulk = (mine + everyone) * size if state == "replica" else mine * (2 * size + ID)  # each way, with one's own
    return Round(
        costs.train * rows / at_once,
        spent,
        engine.byte * bulk * (workers - 1) / workers,
        each * bulk * (machines - 1) / machines / (network * GOODPUT),
        EXCHANGES[state] * (engine.worker * workers + engine.pair * workers**2),
    )


def longest(rows, workers):
    """Return the rows of a round of each worker, where `rows` asks for so many; None: as many as LEAST rounds allow."""
    most = JOB_ROWS // workers // LEAST
    return most if rows is None else min(rows, most)


def speedup(costs, one, machines, *, reading):
    """Return the speedup over one machine; reading: with all rows read once and EPOCHS epochs, else of one epoch."""
    read, train = (cost / (CORES * SHARED) for cost in (costs.read / EPOCHS * reading, costs.train))
    return (read + train) / ((read + train / one.efficiency) / machines)


def stops(costs, engine, way, asked, network, scale):
    """Return (machines, speedup) of the fastest number of machines, ignoring gains of less than WORTH."""
    best, found = (1, 1.0), 1
    while (found := 2 * found) <= MOST:
        one = round_of(costs, engine, way, found, longest(asked, found * way[1]), network, scale)
        sooner = speedup(costs, one, found, reading=False)
        if sooner >= WORTH * best[1]:
            best = found, sooner
    return best


LENGTHS = {f"{LONGEST:,} rows": LONGEST, f"{LEAST} rounds an epoch": None}
