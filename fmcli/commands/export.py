"""`fm export`."""

import click

from fmcli.option_types import Parsed
from fmcore import api
from fmcore.model.export import VECTOR_FORMATS, VECTORS, WEIGHTS, Selection, parse_range


@click.command("export")
@click.argument("model", metavar="MODEL")
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="OUT",
    help="File to write, compressed where its name ends with .gz, .bz2 or .zst; - is stdout.  [default: -]",
)
@click.option(
    "--to",
    type=click.Choice(tuple(dict.fromkeys((*WEIGHTS, *VECTOR_FORMATS)))),
    help=f"Format: {', '.join(WEIGHTS)} of weights; {', '.join(VECTOR_FORMATS)} of vectors.  "
    "[default: by the name of OUT, else json of weights, csv of vectors]",
)
@click.option(
    "--vectors",
    type=click.Choice(VECTORS),
    help="Instead of all weights, vectors of the features chosen, for nearest-neighbour search: v and then w "
    "of items, v and then 1 of users. Their dot product ranks items for a user as the model does.",
)
@click.option(
    "--range",
    "span",
    type=Parsed("range", parse_range),
    metavar="A:B",
    help="Vectors of the features from index A up to but not including B; either may be left out.",
)
@click.option("--column", metavar="COL", help="Vectors of the values of this categorical column.")
@click.option(
    "--vocabulary",
    metavar="FILE",
    help="Names of the features, as `fm convert --vocabulary` wrote them.  [default: those that the model knows]",
)
def command(
    model: str,
    output: str,
    to: str | None,
    vectors: str | None,
    span: tuple[int | None, int | None] | None,
    column: str | None,
    vocabulary: str | None,
) -> None:
    """Write a model's weights, or vectors of items and users for nearest-neighbour search.

    JSON is one object: feature_dim, num_factors, hyperparameters, bias, linear (a list), factors (a list of lists), and
    names (a list of [column, value]) where they are known. CSV has a line a feature: index, column and value where they
    are known, linear, v0 and so on; the first line's index is `bias`, and its number stands under linear. A vector's id
    is its feature's value, else its index; in recordio the id is the uid and an item's index the label.
    All numbers read back as the same float32.

    \b
    fm export ratings.fm -o weights.csv
    fm export ratings.fm --vectors items --column movie -o movies.csv
    fm export ratings.fm --vectors users --range :943 -o users.rec
    """
    if vectors is None and (span or column):
        raise click.UsageError("--range and --column choose whose vectors are written; give --vectors as well")
    selection = vectors and Selection(vectors, span, column)
    api.export(api.load(model, finite=True), output, to=to, selection=selection, vocabulary=vocabulary)
