"""`fm convert`."""

import click

from fmcli import options
from fmcli.console import say
from fmcli.option_types import Described
from fmcli.progress import byte_bar, reading
from fmcore import api
from fmcore.io.convert import OUTPUT_FORMATS
from fmcore.objectives import OBJECTIVES, objective_of


def classes():
    """The predictor types of two classes."""
    return " or ".join(name for name, objective in OBJECTIVES.items() if objective.binary)


@click.command("convert")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="File to write, compressed where its name ends with .gz, .bz2 or .zst; - is stdout.",
)
@click.option(
    "--to",
    type=click.Choice(OUTPUT_FORMATS),
    help="Format to write.  [default: libsvm where OUT is named .svm, .libsvm or .txt, else recordio]",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 99_999),
    default=1,
    metavar="N",
    help="Deal the rows over N files, OUT-00000-of-N and so on.  [default: 1]",
)
@click.option(
    "--feature-dim",
    type=click.IntRange(1),
    metavar="N",
    help="Dimension that the records state; an index beyond is an error.  [default: as the rows have it]",
)
@click.option(
    "--predictor-type",
    type=options.typed("predictor_type"),
    cls=Described,
    help=lambda: f"{classes()} checks labels and maps -1 and 1 to 0 and 1.  [default: labels are kept]",
)
@options.read_options
@options.table_options
@options.threads_option
@options.quiet_option
def command(inputs, output, quiet, **values):
    """Turn rows of any format into recordIO-protobuf, or back into libsvm.

    IN is a file, folder, pattern, manifest, pipe or - (stdin): libsvm, libffm, CSV, TSV, Parquet or recordIO-protobuf,
    each also compressed by gzip, bzip2 or zstd. Rows stream through in constant memory.

    \b
    fm convert train.csv -o train.rec --label-column clicked --positive-label yes \\
        --categorical site,device --ignore time --vocabulary columns.tsv
    fm convert test.csv -o test.rec --label-column clicked --positive-label yes \\
        --categorical site,device --ignore time --vocabulary columns.tsv
    """
    threads = options.chosen_threads(values.pop("threads"))
    kind = values.pop("predictor_type")
    binary = kind is not None and objective_of(kind).binary
    read = options.to_read_options(options.given_read_options(values, threads), binary=binary)
    bar = byte_bar("reading", quiet=quiet)
    data = api.Data(inputs, read, on_bytes=bar.reach)
    with reading(data.report, bar, quiet=quiet):
        summary = api.convert(data, output, **values)
    for line in summary_lines(summary.as_dict()):
        say(line, quiet=quiet)


def summary_lines(summary):
    """The summary as a person reads it."""
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
