"""Checks of a model's info: values are of the types that its readers expect, as a file may hold anything."""

import math
from typing import get_type_hints

from fmcore.errors import ModelError, UsageError
from fmcore.io.options import KEPT_OPTIONS, KEPT_WHERE_SET, ReadOptions
from fmcore.model.scaling import RANGE
from fmcore.schema.features import MAX_HASH_BITS
from fmcore.schema.options import TableOptions
from fmcore.schema.vocabulary import encoder_of

INPUT, TABLE = "input", "table"
CHOICES = {"index_base": ("auto", "0", "1"), "missing": ("zero", "error"), "hash_bits": range(1, MAX_HASH_BITS + 1)}
KINDS = get_type_hints(ReadOptions)
READ = {name: KINDS[name] for name in (*KEPT_OPTIONS, *KEPT_WHERE_SET)} | {TABLE: dict}


def require_sound(model, path):
    """Raise ModelError, which begins with the path, where the model's info cannot be used."""
    try:
        read_options(model)
        require_records(model.info.get("epochs", []), model.info.get("best_epoch"))
        require_range(model.info.get(RANGE))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def read_options(model, **given):
    """Return ReadOptions as the model's training had them, but for what is given (table: names of TableOptions).

    Raises UsageError for compact where the model does not number ids; other ways to know them: see encoder_for.
    """
    if given.get("compact") and not (model.schema is not None and model.schema.compact):
        raise UsageError("--compact is given, but the model does not number ids; leave it out, or train a new model")
    kept = _known(model.info.get(INPUT, {}), READ, "read options")
    table = _known(kept.pop(TABLE, {}), get_type_hints(TableOptions), "options of tables")
    table = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    if table and model.schema is None:  # of format 1, which took texts as they are written
        table.setdefault("canonical", False)
    kept["hash_ids"] = model.schema is not None and model.schema.columns is None
    table.update(given.pop(TABLE, {}))
    return ReadOptions(**{**kept, **given, TABLE: TableOptions(**table)})


def encoder_for(model, table, *, grows=False):
    """Return the Encoder of rows that a model is to score or to be trained further on; see fmcore.schema.vocabulary.

    table: TableOptions, as `read_options` has them.
    """
    of_tables = TABLE in model.info.get(INPUT, {})
    return encoder_of(model.schema, table, features=model.feature_dim, of_tables=of_tables, grows=grows)


def unchecked(model):
    """Return what cannot be checked of rows for a model of format 1, as a sentence; None for any other."""
    table = model.info.get(INPUT, {}).get(TABLE)
    if model.schema is not None or not table:
        return None
    vocabulary = table.get("vocabulary")
    of = f", nor that {vocabulary} is the vocabulary of training" if vocabulary else ""
    return f"an earlier fmkit wrote the model, without its columns: their names and order cannot be checked{of}"


def require_records(records, best=None):
    """Raise ModelError for what is no list of epochs: each has train and perhaps test, metric -> number or None.

    best: the number of one of them, from 1, or None.
    """
    if not isinstance(records, list) or not all(map(_is_record, records)):
        raise ModelError("damaged: its epochs are no list of metrics")
    if best is not None and not (type(best) is int and 1 <= best <= len(records)):
        raise ModelError(f"damaged: best_epoch is {best!r:.40}; it has {len(records)} epochs")


def require_range(ends):
    """Raise ModelError for what is no least and largest score, and not None."""
    if ends is not None and not (
        isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] <= ends[1]
    ):
        raise ModelError(f"damaged: {RANGE} is {ends!r:.80}")


def _known(found, kinds, what):
    """Return the options by name; refuse names of a newer version, and values of a wrong kind."""
    if not isinstance(found, dict):
        raise ModelError(f"damaged: its {what} are no JSON object")
    for name, value in found.items():
        if name not in kinds:
            raise ModelError(f"the model holds {what} that this version does not know: {name!r:.80}")
        if not _fits(name, value, kinds[name]):
            raise ModelError(f"damaged: {name} is {value!r:.80} among its {what}")
    return dict(found)


def _fits(name, value, kind):
    if kind is tuple or (kind == tuple | None and value is not None):
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    return isinstance(value, kind) and (value is None or name not in CHOICES or value in CHOICES[name])


def _is_record(record):
    return (
        isinstance(record, dict)
        and type(record.get("epoch")) is int
        and all(
            isinstance(part, dict) and all(map(_is_metric, part.values()))
            for part in (record.get("train", {}), record.get("test", {}))
        )
    )


def _is_metric(value):
    return value is None or _is_number(value)


def _is_number(value):
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and -(2**63) <= value < 2**63)
