"""`fm convert`."""

from collections.abc import Iterator
from dataclasses import dataclass

import click

from fmcli.console import say
from fmcli.hyperparameters import typed
from fmcli.option_types import Described
from fmcli.options import chosen_threads, gathered, quiet_option, stacked, threads_option
from fmcli.progress import byte_bar, reporting, warned
from fmcli.reading import Reading, read_options
from fmcore import api
from fmcore.io.convert import OUTPUT_FORMATS
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema.options import AUTO


def classes() -> str:
    """Return the predictor types of two classes."""
    return " or ".join(name for name, objective in OBJECTIVES.items() if objective.binary)


@dataclass(frozen=True)
class ConvertedFiles:
    """Files to write: output, a path; to, one of OUTPUT_FORMATS or None; shards, their number; feature_dim or None."""

    output: str
    to: str | None
    shards: int
    feature_dim: int | None


file_options = stacked(
    click.option(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="File to write, compressed where its name ends with .gz, .bz2 or .zst; - is stdout.",
    ),
    click.option(
        "--to",
        type=click.Choice(OUTPUT_FORMATS),
        help="Format to write.  [default: libsvm where OUT is named .svm, .libsvm or .txt, else recordio]",
    ),
    click.option(
        "--shards",
        type=click.IntRange(1, 99_999),
        default=1,
        metavar="N",
        help="Distribute the rows over N files, OUT-00000-of-N and so on.  [default: 1]",
    ),
    click.option(
        "--feature-dim",
        type=click.IntRange(1, MAX_FEATURE_DIM),
        metavar="N",
        help="Dimension that the records state; an index beyond is an error.  [default: from the rows]",
    ),
    gathered("files", ConvertedFiles),
)


@click.command("convert")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@file_options
@click.option(
    "--predictor-type",
    type=typed("predictor_type"),
    cls=Described,
    help=lambda: f"{classes()} checks labels and maps -1 and 1 to 0 and 1.  [default: labels are kept]",
)
@read_options
@threads_option
@quiet_option
def command(
    inputs: tuple[str, ...],
    files: ConvertedFiles,
    predictor_type: str | None,
    reading: Reading,
    threads: int | None,
    *,
    quiet: bool,
) -> None:
    """Turn rows of any format into recordIO-protobuf, or back into libsvm.

    IN is a file, folder, pattern, manifest, pipe or - (stdin): libsvm, libffm, CSV, TSV, Parquet or recordIO-protobuf,
    each also compressed by gzip, bzip2 or zstd. Rows stream through in constant memory.

    \b
    fm convert train.csv -o train.rec --label-column clicked --positive-label yes \\
        --categorical site,device --ignore time --vocabulary columns.tsv
    fm convert test.csv -o test.rec --label-column clicked --positive-label yes \\
        --categorical site,device --ignore time --vocabulary columns.tsv
    """
    binary = predictor_type is not None and objective_of(predictor_type).binary
    kept = AUTO if reading.vocabulary is not None else None  # what the rows to train on have must be that of all others
    read = reading.options(chosen_threads(threads), binary=binary, buckets=kept)
    bar = byte_bar("reading", quiet=quiet)
    data = api.Data(list(inputs), read, on_bytes=bar.reach)
    with warned(data.report):
        with reporting(data.report, bar, quiet=quiet):
            summary = api.convert(data, files.output, to=files.to, shards=files.shards, feature_dim=files.feature_dim)
        for line in summary_lines(summary.as_dict()):
            say(line, quiet=quiet)


def summary_lines(summary: dict) -> Iterator[str]:
    """Yield the lines of the summary as a person reads it."""
    yield f"rows: {summary['rows']:,}"
    yield f"non-zeros: {summary['non_zeros']:,}"
    yield f"feature_dim: {summary['feature_dim']:,}"
    if summary["label_counts"] is not None:
        yield "labels: " + (", ".join(f"{label} ({n:,})" for label, n in summary["label_counts"].items()) or "none")
    else:
        low, high = summary["label_range"]
        yield f"labels: {low:g} to {high:g}, many different"
    if summary["unlabelled"]:
        yield f"rows without a label: {summary['unlabelled']:,}"
    if summary["value_range"]:
        low, high = summary["value_range"]
        yield f"values: {low:g} to {high:g}"
