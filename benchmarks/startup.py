"""Measure how long `fm` takes to start, beside the imports that it needs."""

import sys

from measure import FM, medians, parser, print_setting, process


def main():
    """Print a line for each process."""
    options = parser(__doc__).parse_args()
    print_setting()
    python = [sys.executable, "-c"]
    times = medians(
        {
            "import numpy": process(*python, "import numpy"),
            "import click, numpy": process(*python, "import click, numpy"),
            "fm --help": process(*FM, "--help"),
            "fm train --help": process(*FM, "train", "--help"),
            "fm --version": process(*FM, "--version"),
        },
        options.runs,
    )
    print(f"median of {options.runs} processes; the ratio is to import click, numpy")
    for name, time in times.items():
        print(f"{name:20} {time * 1000:6.0f} ms  {time / times['import click, numpy']:.2f}")


if __name__ == "__main__":
    main()
