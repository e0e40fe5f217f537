"""Measure an epoch over click data in memory, in rows a second: by factors, one thread and two, beside peers.

xLearn trains the same rows by as many threads; modern-fm, myFM (an iteration of its sampler) and Vowpal Wabbit (a pass
over its cache) by one. How long two threads take to answer each other is measured alternately with them.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import bandwidth
import clicks
import numpy as np
import peers
from measure import measured, print_second_processor, print_setting, rates, scaled_parser, spread, threads_word

from fmcore.hyper.presets import resolve
from fmcore.io.text import codec as text
from fmcore.kernels import backend_for
from fmcore.model.model import initial
from fmcore.rows.dataset import Dataset
from fmcore.solvers.epoch import Epoch, Progress, train_epoch
from fmcore.solvers.observer import Observer

FACTORS = (8, 16, 64)
THREADS = (1, 2)
NO_LIMIT = 1 << 62
SLOW_PEERS = (8,)  # factors for which the peers on one thread are run, too


ROUND_TRIP = ("round trip", THREADS[-1])


def epoch(batch, hyperparameters, threads, changed=lambda block: block, device="cpu"):
    """Return a function that trains one more epoch when called; changed: is applied to each prepared block."""
    backend = backend_for(device, threads)
    dataset = Dataset(lambda: [batch], hyperparameters, lambda block: changed(backend.prepare(block)), NO_LIMIT).load()
    return epochs_of(dataset, hyperparameters, backend)


def epochs_of(dataset, hyperparameters, backend):
    """Return a function that trains one more epoch on a loaded Dataset each time it is called."""
    trainer = backend.trainer(initial(hyperparameters, dataset.mean_label))
    done = iter(range(1 << 30))

    def train():
        now = Epoch(next(done), before=0, lr=1.0, hyperparameters=hyperparameters)
        return train_epoch(trainer, dataset, now, Progress(), Observer(), pause=lambda: False)

    return train


def hyperparameters_for(factors, scale=1):
    """Return those of a classifier of clicks, with learning rates that do not fall over the epochs."""
    return resolve(
        predictor_type="binary_classifier",
        num_factors=factors,
        feature_dim=clicks.feature_dim(scale),
        lr_schedule="constant",
    )


def write_for_peers(batch, folder):
    """Write the rows in each form that a peer needs."""
    if "xlearn" in peers.here():
        Path(folder, "clicks.svm").write_bytes(text.encode_libsvm(batch))
    if "vowpalwabbit" in peers.here():
        peers.write_vowpal_wabbit(batch, Path(folder, "clicks.vw"))
    if {"modern_fm", "myfm"} & set(peers.here()):
        np.savez(
            Path(folder, "clicks.npz"),
            indptr=batch.indptr,
            indices=batch.indices,
            labels=batch.labels,
            feature_dim=batch.feature_dim,
        )


def peer_works(folder, factors):
    """Return (peer, threads) -> a function that trains an epoch and returns its seconds."""
    works = {}
    if "xlearn" in peers.here():
        for threads in THREADS:
            works["xlearn", threads] = partial(peers.xlearn_epoch, folder, "clicks.svm", factors, threads)
    if "modern_fm" in peers.here() and factors in SLOW_PEERS:
        works["modern_fm", 1] = partial(peers.modern_fm_epoch, folder, "clicks.npz", factors)
    if "myfm" in peers.here() and factors in SLOW_PEERS:
        works["myfm", 1] = partial(peers.myfm_epoch, folder, "clicks.npz", factors)
    if "vowpalwabbit" in peers.here() and factors in SLOW_PEERS:
        works["vowpalwabbit", 1] = partial(peers.vowpal_wabbit_epoch, folder, "clicks.vw", factors)
    return works


def compare(batch, factors, folder, options):
    """Print a line for each program and number of threads."""
    hyperparameters = hyperparameters_for(factors, options.scale)
    own = {("fmkit", threads): epoch(batch, hyperparameters, threads) for threads in THREADS}
    works = {**own, ROUND_TRIP: bandwidth.round_trip(), **peer_works(folder, factors)}
    times = measured(works, options.runs, f"k = {factors}")
    trips = [1e9 * trip for trip in times.pop(ROUND_TRIP)]
    middle = {work: statistics.median(values) for work, values in times.items()}
    for (name, threads), values in times.items():
        beside = middle["fmkit", 1] if name == "fmkit" else middle[name, threads]
        ratio = beside / middle["fmkit", threads]
        word = "times one thread" if name == "fmkit" else "times as long as fmkit"
        print(
            f"k = {factors:2d}, {name:12} {threads_word(threads):9}: {spread(rates(len(batch), values))} M rows/s, "
            f"{ratio:.2f} {word}",
            flush=True,
        )
    print(f"k = {factors:2d}, from one thread to another and back: {spread(trips, '.0f')} ns", flush=True)


def main():
    """Print a block of lines for each number of factors."""
    options = scaled_parser(__doc__.splitlines()[0], rows=200_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    peers.print_missing()
    batch = clicks.generated(options.rows, scale=options.scale)
    print(
        f"{len(batch):,} rows x {clicks.COLUMNS} features of {clicks.feature_dim(options.scale):,}, adagrad, "
        f"median (range) of {options.runs}"
    )
    with tempfile.TemporaryDirectory() as folder:
        write_for_peers(batch, folder)
        for factors in FACTORS:
            compare(batch, factors, folder, options)


if __name__ == "__main__":
    main()
