"""How near training, scoring and decoding come to what this machine's memory allows; traffic.py has the model of it.

Prints the bandwidth of each level of memory, then for each kind of work the bytes a non-zero, the time that they must
take, the time that was measured, and the first as a share of the second. Of training by one thread also the time that
remains where all features have their parameters in the nearest cache: what no better use of memory can save.
"""

import io
import statistics
from dataclasses import replace
from functools import partial

import bandwidth
import clicks
import parse_libsvm
import traffic
from measure import figure, measured, print_second_processor, print_setting, scaled_parser, spread, threads_word
from train_epoch import FACTORS, THREADS, epoch, hyperparameters_for

from fmcore.io.recordio import codec as recordio
from fmcore.io.text import codec as text
from fmcore.kernels import backend_for
from fmcore.model.model import initial
from fmcore.rows.blocks import auto_mini_batch_size

SCORED = 16  # factors
DECODED = 100_000  # rows at most


def measured_rates(runs):
    """Return for each number of threads (kind, level) -> lines a second, and print them."""
    found = {}
    for threads in THREADS:
        rates = bandwidth.rates(runs, threads)
        for (kind, level), values in rates.items():
            gigabytes = [value * bandwidth.LINE / 1e9 for value in values]
            print(f"{level:3} {kind:15} {threads_word(threads):9}: {spread(gigabytes, '.1f')} GB/s")
        found[threads] = {at: statistics.median(values) for at, values in rates.items()}
    return found


def compare(name, touched, rates, works, non_zeros, runs):
    """Print a line for each number of threads; works: threads -> a function that does it all."""
    print(f"{name}: {touched.bytes:.0f} bytes a non-zero ({traffic.described(touched)})")
    for threads, times in measured(works, runs, name).items():
        limit = touched.seconds(rates[threads])
        shares = [limit * non_zeros / time for time in times]
        figure(f"{name}, {threads}, share of the limit", shares, "share")
        own = statistics.median(times) / non_zeros
        print(
            f"  {threads_word(threads):9}: limit {limit * 1e9:.2f} ns, measured {own * 1e9:.2f} ns a non-zero; "
            f"{spread(shares, '.0%')} of the limit",
            flush=True,
        )


def near(block, features):
    """Return a prepared sparse block whose mini-batches touch as many parameters, but of `features` features alone."""
    groups = block.groups._replace(features=block.groups.features % features)
    return replace(block, batch=replace(block.batch, indices=block.batch.indices % features), groups=groups)


def train(batch, rates, options):
    """Compare training, for each number of factors."""
    size, levels = auto_mini_batch_size(len(batch), len(batch.indices)), bandwidth.levels()
    for factors in FACTORS:
        hyperparameters = hyperparameters_for(factors, options.scale)
        works = {threads: epoch(batch, hyperparameters, threads) for threads in THREADS}
        touched, name = traffic.training(batch, factors, size, levels), f"training, k = {factors}"
        compare(name, touched, rates, works, len(batch.indices), options.runs)
        kept = levels["L1"] // 2 // (bandwidth.LINE * traffic.row_lines(factors))
        works = {"as it is": works[1], "in L1": epoch(batch, hyperparameters, 1, partial(near, features=max(1, kept)))}
        times = measured(works, options.runs, name)
        shares = [one / whole for one, whole in zip(times["in L1"], times["as it is"], strict=True)]
        figure(f"{name}, share that is not memory's", shares, "growth")
        print(f"  1 thread : {spread(shares, '.0%')} of the time remains with all parameters in L1", flush=True)


def score(batch, rates, options):
    """Compare scoring with the weights that a model starts with."""
    model = initial(hyperparameters_for(SCORED, options.scale))
    backends = {threads: backend_for("cpu", threads) for threads in THREADS}
    works = {threads: partial(backend.score, batch, model) for threads, backend in backends.items()}
    touched = traffic.scoring(batch, SCORED, bandwidth.levels())
    compare(f"scoring, k = {SCORED}", touched, rates, works, len(batch.indices), options.runs)


def decode(batch, rates, options):
    """Compare decoding of both formats, from memory to batches."""
    batch = batch.take(slice(DECODED))
    figure("rows decoded", [len(batch)], "rows")
    data = text.encode_libsvm(batch)
    works = {threads: lambda threads=threads: parse_libsvm.decoded(data, threads) for threads in THREADS}
    compare("decoding libsvm", traffic.decoding(len(data), batch), rates, works, len(batch.indices), options.runs)
    records = recordio.encode(batch, clicks.feature_dim(options.scale))
    works = {1: lambda: sum(len(recordio.decode(chunk).batch) for chunk in recordio.chunks(io.BytesIO(records)))}
    compare("decoding recordIO", traffic.decoding(len(records), batch), rates, works, len(batch.indices), options.runs)


def main():
    """Print all of them."""
    options = scaled_parser(__doc__.splitlines()[0], rows=300_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    rates = measured_rates(options.runs)
    batch = clicks.generated(options.rows, scale=options.scale)
    print(
        f"{len(batch):,} rows x {clicks.COLUMNS} features of {clicks.feature_dim(options.scale):,}, "
        f"median (range) of {options.runs}"
    )
    for part in (train, score, decode):
        part(batch, rates, options)


if __name__ == "__main__":
    main()
