"""The encoder that options ask for: of a model's schema, of a vocabulary file, or new."""

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from fmcore.errors import UsageError
from fmcore.schema import vocabulary_file
from fmcore.schema.bucketed import BucketedIds
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed
from fmcore.schema.ids import id_map
from fmcore.schema.names import FeatureNames
from fmcore.schema.options import AUTO, NONE, TableOptions
from fmcore.schema.roles import disagreement, separated
from fmcore.schema.schema import Schema

NOT_KEPT = (
    "need either --vocabulary FILE, which lists their values, or --hash-bits B, which hashes them into 2**B indices"
)
LISTING = "takes all rows before training begins, which pipes do not give"
STREAMED = f"need --hash-bits, or --vocabulary FILE with a file that exists: to list their values {LISTING}"


def new_encoder(
    table: TableOptions, *, compact: bool = False, mode: str = "grow", kept: bool = True, streamed: bool = False
) -> Encoder:
    """Return an Encoder for the rows of a new model, or of a conversion.

    compact: whether the ids of index formats are numbered as they first appear.
    mode: what becomes of a vocabulary file that exists where the options do not say. "new" replaces it, "grow" takes in
    more values, "fixed" adds none. kept: whether a model will keep the values. streamed: whether training begins before
    all rows are read, so that no values can be added.
    Raises UsageError where the options do not fit together, DataError where the vocabulary's file is damaged.
    """
    if table.vocabulary is not None and table.hash_bits is not None:
        raise UsageError("--vocabulary and --hash-bits exclude each other: values are either listed or hashed")
    if compact and streamed:
        raise UsageError(
            "--compact numbers the ids of all rows before training begins, which pipes do not give; take --hash-bits"
        )
    if table.vocabulary is None and not kept and (table.buckets_for or table.buckets not in (None, NONE)):
        raise UsageError(
            "buckets of columns need --vocabulary FILE, which keeps their edges for other rows, and those of ids a "
            "model; take --buckets none"
        )
    ids = id_map(table.hash_bits, compact=compact)
    if kept and table.buckets_of_ids:
        ids = BucketedIds(ids, into=AUTO if table.buckets is None else table.buckets, named=table.buckets_for)
    if table.hash_bits is not None:
        return Encoder(Hashed(table.hash_bits), ids=ids)
    if table.vocabulary is None:
        if table.vocabulary_mode is not None:
            raise UsageError("--vocabulary-mode says what becomes of a vocabulary file; name one with --vocabulary")
        return Encoder(barred=NOT_KEPT if not kept else STREAMED if streamed else None, ids=ids)
    path, mode = Path(table.vocabulary), table.vocabulary_mode or ("fixed" if streamed else mode)
    if streamed and (mode != "fixed" or not path.exists()):
        raise UsageError(f"to list the values of a vocabulary {LISTING}; name one that exists, or take --hash-bits")
    if mode == "new" or not path.exists():
        if mode == "fixed" and table.vocabulary_mode is not None:
            raise UsageError(f"the vocabulary {path} does not exist, so it cannot be fixed")
        encoder = Encoder(ids=ids)
        encoder.output = table.vocabulary
        return encoder
    listing, grows = vocabulary_file.read(path), mode == "grow"
    _require_buckets(table, bool(listing.buckets), f"the vocabulary {path}")
    encoder = Encoder(listing.values, grows=grows, ids=ids)
    encoder.output = table.vocabulary if grows else None
    encoder.expect_own(listing.own, listing.buckets)
    return encoder


def encoder_of(
    schema: Schema | None, table: TableOptions, *, features: int, of_tables: bool = True, grows: bool = False
) -> Encoder:
    """Return the Encoder for rows to score by a model, or to train it further.

    schema: of the model; None for one that keeps none, whose vocabulary the options name. grows: whether values that
    the model does not know are added. features: how many the model has. of_tables: whether a model without a schema may
    have been trained on tables.
    Raises UsageError for options that contradict the model, such as a vocabulary that is not its own, DataError for one
    that cannot be read.
    """
    if schema is None and of_tables:
        return _of_options(table, grows=grows)
    if schema is None or schema.columns is None:
        _require_bits(table, None if schema is None else schema.hash_bits)
        encoder = Encoder(learns=False, grows=False) if schema is None else schema.encoder(grows=grows)
        _require_buckets(table, encoder.ids.own > 0, "the model", of_model=True)
        encoder.indexed = features if not encoder.ids.own else True  # a column beside buckets is no index
        return encoder
    if (columns := separated(schema.columns, table)) != schema.columns:
        schema = replace(schema, columns=columns)
    _require_agreement(schema, table)
    _require_buckets(table, bool(schema.buckets()), "the model", of_model=True)
    grows = _still_grows(table.vocabulary_mode, grows=grows)
    path = None if table.vocabulary is None else Path(table.vocabulary)
    if path is not None and (path.exists() or not grows) and not schema.lists(vocabulary_file.read(path)):
        raise UsageError(
            f"the vocabulary {path} is not the one that the model holds; leave it out, as the model needs none"
        )
    encoder = schema.encoder(grows=grows)
    encoder.output = table.vocabulary if grows else None
    return encoder


def _still_grows(mode: str | None, *, grows: bool) -> bool:
    """Return whether values are added to those of a model; raise UsageError for a mode that cannot be."""
    if mode == "new":
        raise UsageError("--vocabulary-mode new is for new models: what this one knows keeps its meaning")
    if mode == "grow" and not grows:
        raise UsageError("--vocabulary-mode grow is for training on files, which alone adds values to a model")
    return grows and mode != "fixed"


def _require_bits(table: TableOptions, bits: int | None) -> None:
    """Raise UsageError for other --hash-bits than those of the ids of a model."""
    if table.hash_bits != bits:
        of_model = "does not hash ids" if bits is None else f"hashes ids into {bits} bits"
        raise UsageError(f"--hash-bits is {table.hash_bits}, but the model {of_model}; leave it out")


def _require_agreement(schema: Schema, table: TableOptions) -> None:
    """Raise UsageError for options that say of columns what the model knows otherwise."""
    found = disagreement(schema.columns or (), table)
    if found is None and table.hash_bits != schema.hash_bits:
        of_model = "lists values" if schema.hash_bits is None else f"hashes values into {schema.hash_bits} bits"
        found = f"--hash-bits is {table.hash_bits}, but the model {of_model}"
    if found is not None:
        raise UsageError(f"{found}; leave it out, as the model knows its columns")


def _require_buckets(table: TableOptions, known: bool, what: str, *, of_model: bool = False) -> None:
    """Raise UsageError for options that want other buckets than `what` has; known: whether it has any.

    of_model: whether AUTO is what the user gave; else it may be what a new model has by itself.
    """
    other = isinstance(table.buckets, int) or (table.buckets == NONE and known)
    if table.buckets_for or other or (of_model and table.buckets == AUTO and not known):
        found = "--buckets-for is given" if table.buckets_for else f"--buckets is {table.buckets}"
        has = "has buckets, whose edges are kept" if known else "has no buckets"
        raise UsageError(f"{found}, but {what} {has}; leave it out")


def write(encoder: Encoder, handle: BinaryIO) -> None:
    """Write the vocabulary file of an encoder's features to a binary handle."""
    vocabulary_file.write(handle, FeatureNames.of(encoder))


def _of_options(table: TableOptions, *, grows: bool) -> Encoder:
    """Return the Encoder of a model of format 1, by the options that it keeps."""
    if table.hash_bits is not None:
        return Encoder(Hashed(table.hash_bits), learns=False, grows=False)
    if table.vocabulary is None:
        return Encoder(learns=False, grows=False, barred=NOT_KEPT)
    path = Path(table.vocabulary)
    if not path.exists():
        raise UsageError(f"the vocabulary {path} does not exist; name the one of the training rows with --vocabulary")
    listing = vocabulary_file.read(path)
    encoder = Encoder(listing.values, learns=False, grows=grows)
    encoder.output = table.vocabulary if grows else None
    encoder.expect_own(listing.own, listing.buckets)
    return encoder
