"""`fm predict`."""

from dataclasses import dataclass

import click

from fmcli.option_types import Parsed
from fmcli.options import chosen_threads, gathered, quiet_option, stacked, threads_option, unseen_option
from fmcli.progress import byte_bar, reporting, warned
from fmcli.reading import Reading, read_options
from fmcore import api
from fmcore.io.predictions import KEYS, WRITERS, parse_columns


@dataclass(frozen=True)
class PredictionFile:
    """The file of predictions: output, a path or "-"; to, a name of WRITERS or None; columns (key, name), or None."""

    output: str
    to: str | None
    columns: list[tuple[str, str]] | None


file_options = stacked(
    click.option(
        "-o",
        "--output",
        default="-",
        metavar="OUT",
        help="File to write, compressed where its name ends with .gz, .bz2 or .zst; - is stdout.  [default: -]",
    ),
    click.option(
        "--to",
        type=click.Choice(tuple(WRITERS)),
        help="Format of predictions.  [default: by the name of OUT, as .csv, .json, .jsonl or .rec; else text]",
    ),
    click.option(
        "--columns",
        type=Parsed("columns", parse_columns),
        metavar="COL=NAME,...",
        help=f"CSV: exactly these columns, of {', '.join(KEYS)}, in this order under these names, such as "
        "id=PassengerId,predicted_label=Survived; names with commas stand in quotes.",
    ),
    gathered("file", PredictionFile),
)


@click.command("predict")
@click.argument("model", metavar="MODEL")
@click.argument("inputs", nargs=-1, metavar="[DATA...]")
@file_options
@unseen_option
@read_options
@threads_option
@quiet_option
def command(
    model: str,
    inputs: tuple[str, ...],
    file: PredictionFile,
    unseen: str,
    reading: Reading,
    threads: int | None,
    *,
    quiet: bool,
) -> None:
    """Score rows: one prediction each, in their order.

    DATA is as for `fm train`, or JSON or JSON Lines requests; stdin by default. Labels are not needed. A classifier's
    score is the probability of label 1. Rows are read as they were for training, except for what is given here.

    \b
    cat today.rec | fm predict clicks.fm > scores.txt
    fm predict clicks.fm today.csv -o scores.csv
    fm predict titanic.fm test.csv -o submission.csv --columns id=PassengerId,predicted_label=Survived
    """
    threads = chosen_threads(threads)
    loaded = api.load(model)
    bar = byte_bar("scoring", quiet=quiet)
    data = api.Data(list(inputs) or ["-"], api.read_options(loaded, **reading.given(threads)), on_bytes=bar.reach)
    with warned(data.report), reporting(data.report, bar, quiet=quiet):
        api.predict(loaded, data, file.output, to=file.to, columns=file.columns, threads=threads, unseen=unseen)
