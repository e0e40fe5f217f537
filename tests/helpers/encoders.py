"""Encoders of tables, and the features that they know."""

import io

from fmcore.schema import vocabulary
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.names import FeatureNames


def hashing(bits):
    """Return an Encoder that hashes values."""
    return Encoder(Hashed(bits))


def names_of(encoder):
    """Return the names of an encoder's features, by index."""
    names = FeatureNames.of(encoder)
    return [names.get(index) for index in range(len(names))]


def vocabulary_bytes(encoder):
    """Return the vocabulary file of an encoder."""
    handle = io.BytesIO()
    vocabulary.write(encoder, handle)
    return handle.getvalue()


def feature_names(entries, lists=()):
    """Return FeatureNames of (column, value or None) pairs, by index; those without a value come first.

    lists: the columns that may have several values in a row.
    """
    values = Listed()
    for column, value in entries:
        if value is not None:
            values.add(column, value)
    return FeatureNames(
        [(column, None) for column, value in entries if value is None],
        values,
        [name for name in values.names if name not in lists],
    )
