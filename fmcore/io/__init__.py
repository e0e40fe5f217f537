"""Readers, writers and codecs: bytes to `Batch` and back. This room never sees a model."""
