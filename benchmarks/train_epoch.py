"""Rows a second of one epoch over click data in memory: several numbers of factors, one thread and two.

Where vowpalwabbit is installed, one of its passes over the same rows (cached, --rank 8) stands beside k = 8.
"""
import importlib.util
import sys
import tempfile
from pathlib import Path

import clicks
from measure import medians, parser, print_second_processor, print_setting, process, seconds

from fmcore.backends import backend_for
from fmcore.dataset import Dataset
from fmcore.epoch import Epoch, Progress, train_epoch
from fmcore.model import initial
from fmcore.params import resolve
from fmcore.training import Observer

FACTORS = (8, 16, 64)
THREADS = (1, 2)
NO_LIMIT = 1 << 62
VW_PASSES = 3
VW = ["-b", "20", "-q", "ff", "--rank", "8", "-l", "0.01", "--power_t", "0", "--loss_function", "logistic",
      "--holdout_off", "--quiet"]


def epoch(batch, hyperparameters, threads):
    """A function that trains one more epoch each time it is called."""
    backend = backend_for("cpu", threads)
    dataset = Dataset(lambda: [batch], hyperparameters, backend.prepare, NO_LIMIT).load()
    trainer = backend.trainer(initial(hyperparameters, dataset.mean_label))
    done = iter(range(1 << 30))

    def train():
        now = Epoch(next(done), before=0, lr=1.0, hyperparameters=hyperparameters)
        return train_epoch(trainer, dataset, now, Progress(), Observer(), go_on=lambda: True)

    return train


def own(batch, factors, runs):
    """Print and return rows a second by number of threads."""
    hyperparameters = resolve(predictor_type="binary_classifier", num_factors=factors, feature_dim=clicks.feature_dim())
    works = {threads: epoch(batch, hyperparameters, threads) for threads in THREADS}
    rates = {threads: len(batch) / median for threads, median in medians(works, runs).items()}
    listed = ", ".join(f"{rate:,.0f} rows/s on {n} thread{'s' * (n > 1)}" for n, rate in rates.items())
    print(f"k = {factors:2d}: {listed}, ratio {rates[2] / rates[1]:.2f}")
    return rates


def vowpal_wabbit(batch, runs):
    """Rows a second of a pass over its cache: what further passes add to the time of the first one."""
    with tempfile.TemporaryDirectory() as folder:
        text, cache = Path(folder, "clicks.vw"), Path(folder, "clicks.cache")
        rows = zip(batch.labels.tolist(), batch.indices.reshape(len(batch), -1).tolist(), strict=True)
        text.write_text("".join(f"{2 * label - 1:g} |f {' '.join(map(str, row))}\n" for label, row in rows))
        command = [sys.executable, "-m", "vowpalwabbit", "-d", text, "--cache_file", cache, *VW, "--passes"]
        process(*command, 1)()
        one, more = (seconds(process(*command, n), runs) for n in (1, 1 + VW_PASSES))
    return len(batch) * VW_PASSES / (more - one)


def main():
    """Print a line for each number of factors, and one for the peer."""
    options = parser(__doc__.splitlines()[0], rows=300_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    batch = clicks.generated(options.rows)
    print(f"{len(batch):,} rows x {clicks.COLUMNS} features of {clicks.feature_dim():,}, adagrad, "
          f"median of {options.runs}")
    rates = {factors: own(batch, factors, options.runs) for factors in FACTORS}
    if importlib.util.find_spec("vowpalwabbit") is None:
        print("vowpalwabbit is not installed: not compared")
        return
    other = vowpal_wabbit(batch, options.runs)
    print(f"vowpalwabbit, rank 8: {other:,.0f} rows/s; on 1 thread fmkit has {rates[8][1] / other:.1f} times that")


if __name__ == "__main__":
    main()
