"""Rows a second of one epoch over dense rows in memory: the kernels, PyTorch on the processor, and a GPU if any.

    python benchmarks/device.py [--rows N] [--columns 784,4096] [--factors 16,64] [--mini-batches 256,4096]

Beside PyTorch's rows stands how much of the device is used: of its bandwidth, as a copy of 256 MB gets it, by the bytes
that an epoch cannot do without (each row twice, and for each mini-batch the parameters and their state, read and
written), and of what it multiplies in float32, as a product of large matrices gets it, by the two products of each
mini-batch. All of a process is measured in turn, so that each meets the same noise.
"""

import importlib.util
import statistics
import time

import numpy as np
from measure import figure, medians, parser, print_second_processor, print_setting, threads_word
from train_epoch import epoch

from fmcore.hyper.presets import resolve
from fmcore.rows.batch import Batch
from fmcore.system.threads import default_threads

FLOAT, COPIED, PRODUCT = 4, 1 << 26, {"cpu": 1024, "cuda": 8192}  # bytes; floats; rows and columns
STATE = 2  # numbers a weight with adagrad: itself and its sum of squares


def full_rows(rows, columns):
    """Return a Batch without zeros."""
    rng = np.random.default_rng(0)
    return Batch(
        np.arange(rows + 1, dtype=np.int64) * columns,
        np.tile(np.arange(columns, dtype=np.int32), rows),
        rng.random(rows * columns, np.float32),
        rng.integers(0, 2, rows).astype(np.float32),
    )


def devices():
    """Return (device, threads) of all that can be measured here, the kernels first."""
    found = [("cpu", 1), ("cpu", 2)]
    if importlib.util.find_spec("torch"):
        from fmcore.kernels.pytorch.library import torch

        found += [("torch:cpu", min(2, default_threads()))] + [("cuda", 1)] * torch.cuda.is_available()
    return found


def ceilings(device, threads, runs):
    """Return (bytes a second of a copy, counting both ways, operations a second of a product of float32 matrices)."""
    from fmcore.kernels.pytorch.library import full_precision, torch

    torch.set_num_threads(threads)
    at, size = device.removeprefix("torch:"), PRODUCT[device.removeprefix("torch:")]
    source, target = torch.rand(COPIED, device=at), torch.empty(COPIED, device=at)
    one, product = torch.rand(size, size, device=at), torch.empty(size, size, device=at)

    def seconds(work):
        times = []
        for _ in range(runs + 1):
            begin = time.perf_counter()
            work()
            if at == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return statistics.median(times[1:] or times)

    with full_precision():
        return (
            2 * FLOAT * COPIED / seconds(lambda: target.copy_(source)),
            2 * size**3 / seconds(lambda: torch.mm(one, one, out=product)),
        )


def shares(rate, columns, factors, mini_batch_size, ceiling):
    """Return the shares of the ceilings that a number of rows a second uses."""
    weights = columns * (factors + 1) * FLOAT
    moved = 2 * FLOAT * columns + weights * (2 + 2 * STATE) / mini_batch_size  # read for scores, then the step
    return rate * moved / ceiling[0], rate * 4 * columns * factors / ceiling[1]


def measure(batch, columns, factors, mini_batch_size, options):
    """Print the rows a second of each device."""
    hyperparameters = resolve(
        predictor_type="binary_classifier",
        num_factors=factors,
        feature_dim=columns,
        mini_batch_size=mini_batch_size,
        lr_schedule="constant",
    )
    works = {at: epoch(batch, hyperparameters, at[1], device=at[0]) for at in options.devices}
    for at, work in works.items():
        for _ in range(3 if at[0] == "cuda" else 0):  # until its graphs are captured
            work()
    times = medians(works, options.runs, f"{columns} columns, k = {factors}, mini-batches of {mini_batch_size}")
    first, cells = None, []
    for (device, threads), seconds in times.items():
        rate = len(batch) / seconds
        first = first or rate
        result = f"{rate / 1e3:10,.0f} k rows/s, {rate / first:6.1f} x"
        if device in options.ceilings:
            memory, products = shares(rate, columns, factors, mini_batch_size, options.ceilings[device])
            result += f", {memory:5.1%} of bandwidth, {products:5.1%} of products"
        name = "cuda" if device == "cuda" else f"{device}, {threads_word(threads)}"
        cells.append(f"  {name:21s}{result}")
    print(f"{columns} columns, k = {factors}, mini-batches of {mini_batch_size}:", *cells, sep="\n", flush=True)


def numbers(text):
    """Return integers separated by commas."""
    return [int(number) for number in text.split(",")]


def main():
    """Print a table for each number of columns, factors and mini-batch size."""
    arguments = parser(__doc__.splitlines()[0], rows=8_000)
    arguments.add_argument("--columns", type=numbers, default=[784, 4096])
    arguments.add_argument("--factors", type=numbers, default=[16, 64])
    arguments.add_argument("--mini-batches", type=numbers, default=[256, 4096])
    arguments.add_argument("--quick", action="store_true", help="784 columns, k = 16, mini-batches of 256 alone")
    options = arguments.parse_args()
    if options.quick:
        options.columns, options.factors, options.mini_batches = [784], [16], [256]
    print_setting()
    print_second_processor(options.runs)
    options.devices, options.ceilings = devices(), {}
    for device, threads in options.devices[2:]:
        options.ceilings[device] = copied, multiplied = ceilings(device, threads, options.runs)
        print(f"{device}: copies {copied / 1e9:,.1f} GB/s, multiplies {multiplied / 1e12:,.2f} TFLOP/s in float32")
        figure(f"{device}, seconds to copy a GB", [1e9 / copied])
    for columns in options.columns:
        batch = full_rows(options.rows, columns)
        for factors in options.factors:
            for mini_batch_size in options.mini_batches:
                measure(batch, columns, factors, mini_batch_size, options)


if __name__ == "__main__":
    main()
