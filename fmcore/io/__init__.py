"""Readers, writers and codecs: bytes to `Batch` and back. Nothing in this package knows a model."""
