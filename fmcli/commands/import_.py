"""`fm import`; the file cannot be called so in Python."""

import click

from fmcli.console import say
from fmcli.hyperparameters import typed
from fmcli.option_types import Parsed
from fmcli.options import quiet_option
from fmcore import api
from fmcore.system.memory import parse_size


@click.command("import")
@click.argument("archive", metavar="ARCHIVE")
@click.option("-o", "--output", required=True, metavar="MODEL", help="Model file to write; - is stdout.")
@click.option(
    "--predictor-type",
    type=typed("predictor_type"),
    help="What the model predicts.  [default: from the archive]",
)
@click.option(
    "--memory-limit",
    type=Parsed("size", parse_size),
    metavar="SIZE",
    help="What the archive may unpack to, such as 4G.  [default: 100 times its size, at least 64M]",
)
@quiet_option
def command(archive: str, output: str, predictor_type: str | None, memory_limit: int | None, *, quiet: bool) -> None:
    """Make a model from an archive that Amazon SageMaker's factorization machines wrote.

    ARCHIVE is model.tar.gz, the ZIP model_algo-1 in it, or a folder with what they hold. The sparse and the dense form
    of the network are read. The model can be used as any other: fm eval, predict, inspect, export. An archive is read
    as data: nothing in it is run, and nothing is unpacked to the disk.

    \b
    fm import model.tar.gz -o clicks.fm
    fm predict clicks.fm today.rec > scores.txt
    """
    model = api.import_archive(archive, output, predictor_type=predictor_type, limit=memory_limit)
    imported = model.info["imported"]
    say(
        f"{model.hyperparameters.predictor_type}, feature_dim {model.feature_dim:,}, num_factors {model.num_factors}, "
        f"from a {imported['network']} network",
        quiet=quiet,
    )
    if imported["ignored"]:
        say(f"note: arrays ignored, as they are no parameter: {', '.join(imported['ignored'])}", quiet=quiet)
