"""Measure the decoding of libsvm text on one thread and two, beside scikit-learn's reader where it is installed."""

import importlib.util
import io

import clicks
from measure import medians, parser, print_second_processor, print_setting

from fmcore.io.parallel import Workers
from fmcore.io.text import codec as text
from fmcore.system.memory import keep_freed

THREADS = (1, 2)


def decoded(data, threads):
    """Decode all bytes as the reader does; return the number of rows."""
    keep_freed()
    with Workers(threads) as workers:
        return sum(len(piece.batch) for piece in workers.map(text.decode_libsvm, text.chunks(io.BytesIO(data))))


def by_scikit_learn(data):
    """Read all bytes with scikit-learn."""
    from sklearn.datasets import load_svmlight_file

    return load_svmlight_file(io.BytesIO(data), zero_based=True)


def main():
    """Print one line a reader."""
    options = parser(__doc__, rows=300_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    data = text.encode_libsvm(clicks.generated(options.rows))
    megabytes = len(data) / 1e6
    print(f"{options.rows:,} rows, {megabytes:.0f} MB of text in memory, median of {options.runs}")
    works = {n: lambda n=n: decoded(data, n) for n in THREADS}
    if importlib.util.find_spec("sklearn") is None:
        print("scikit-learn is not installed: not compared")
    else:
        works["scikit-learn"] = lambda: by_scikit_learn(data)
    times = medians(works, options.runs)
    for n in THREADS:
        peer = f", {times['scikit-learn'] / times[n]:.1f} times scikit-learn" if "scikit-learn" in times else ""
        print(
            f"{n} thread{'s' * (n > 1)}: {megabytes / times[n]:.0f} MB/s, {times[1] / times[n]:.2f} times one thread"
            f"{peer}"
        )


if __name__ == "__main__":
    main()
