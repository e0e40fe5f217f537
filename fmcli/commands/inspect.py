"""`fm inspect`."""

import json
from collections.abc import Iterator

import click

from fmcli.console import printable
from fmcli.preview import counted_buckets
from fmcore import api
from fmcore.schema.columns import NUMBERS
from fmcore.system import publish
from fmcore.system.apart import require_apart


@click.command("inspect")
@click.argument("model", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--verify", is_flag=True, help="Read the whole file and compare its checksum; exit 4 if it differs.")
@click.option(
    "--top",
    type=click.IntRange(0),
    default=10,
    metavar="N",
    help="How many of the largest weights and pairs to show.  [default: 10]",
)
@click.option(
    "--vocabulary",
    metavar="FILE",
    help="Names of the features, as `fm convert --vocabulary` wrote them.  [default: those that the model knows]",
)
def command(model: str, *, as_json: bool, verify: bool, top: int, vocabulary: str | None) -> None:
    """Show a model: hyperparameters, metrics, norms, the largest weights and factor pairs.

    \b
    fm inspect clicks.fm --vocabulary columns.tsv
    fm inspect clicks.fm --json | jq .hyperparameters
    """
    require_apart({"the description": "-"}, [model, vocabulary])
    with publish.whole("-") as out:
        loaded = api.load(model, verify=verify, finite=True)
        found = api.inspect(loaded, top=top, vocabulary=vocabulary)
        if verify:
            found["verified"] = True
        for line in [json.dumps(found)] if as_json else map(printable, lines(found)):
            out.write(f"{line}\n".encode())


def lines(found: dict) -> Iterator[str]:
    """Yield what was found, as a person reads it."""
    h, norms = found["hyperparameters"], found["norms"]
    yield f"{h['predictor_type']}, feature_dim {found['feature_dim']:,}, num_factors {found['num_factors']}"
    if "verified" in found:
        yield "checksum: correct"
    bias = f"bias: {found['bias']:.6g}; " if "bias" in found else ""
    yield f"{bias}norms: " + ", ".join(f"{name} {norm:.6g}" for name, norm in norms.items() if name != "bias")
    yield f"features with a weight: {found['non_zero']['either']:,}"
    yield from metric_lines(found["info"])
    yield "hyperparameters: " + ", ".join(f"{name} {value}" for name, value in h.items() if value is not None)
    yield from column_lines(found["schema"])
    for name, tensor in found["tensors"].items():
        yield f"tensor {name}: {tensor['dtype']} {tensor['shape']}, {tensor['bytes']:,} bytes"
    yield "largest weights:"
    for weight in found["largest_weights"]:
        yield f"  {weight['weight']:+.6g}  {label(weight['feature'], weight['name'])}"
    if "largest_pairs" not in found:  # of another family
        return
    yield "largest factor pairs:" + ("" if found["largest_pairs_exact"] else " (among the longest factors only)")
    for pair in found["largest_pairs"]:
        names = " x ".join(map(label, pair["features"], pair["names"]))
        yield f"  {pair['weight']:+.6g}  {names}"


def column_lines(schema: dict | None) -> Iterator[str]:
    """Yield a line a column: its name, its kind and what training saw of it."""
    if schema is None or schema["columns"] is None:
        return
    yield f"columns, by {'name' if schema['named'] else 'number'}:"
    for column in schema["columns"]:
        facts = schema["label"] if column["kind"] == "label" else schema["seen"].get(column["name"], {})
        buckets = schema.get("buckets", {}).get(column["name"], {}) if column["kind"] in NUMBERS else {}
        more = f", {counted_buckets(buckets['features'])}" if buckets else ""
        yield f"  {column['name']}: {column['kind']}{seen(facts)}{more}"


def seen(facts: dict) -> str:
    """Return what training saw of a column, to follow its kind."""
    found = []
    if "values" in facts:
        found.append(f"{facts['values']:,} values")
    if facts.get("positive") is not None:
        found.append(f"1 is {facts['positive']!r}")
    if "classes" in facts:
        found.append("rows of 0 and of 1: {:,} and {:,}".format(*facts["classes"]))
    if "range" in facts:
        found.append("{:g} to {:g}".format(*facts["range"]))
    if "min" in facts:
        found.append(f"{facts['min']:g} to {facts['max']:g}")
    if facts.get("missing"):
        found.append(f"{facts['missing']:,} missing")
    return f", {', '.join(found)}" if found else ""


def metric_lines(info: dict) -> Iterator[str]:
    """Yield the metrics of the epoch whose model this is: the best where test rows chose one, else the last."""
    epochs = info.get("epochs", [])
    best = info.get("best_epoch", len(epochs))
    for record in epochs[best - 1 : best]:
        metrics = [
            f"{part} {name} {value:.6g}"
            for part in ("train", "test")
            for name, value in record.get(part, {}).items()
            if value is not None
        ]
        yield f"epoch {best} of {len(epochs)}{' (the best)' * ('best_epoch' in info)}: {', '.join(metrics)}"


def label(feature: int, name: str | None) -> str:
    """Return a feature's name, or its number."""
    return name or f"feature {feature}"
