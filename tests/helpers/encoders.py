"""Encoders of tables, and the features that they know."""

import io

from fmcore.schema import vocabulary
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed
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
