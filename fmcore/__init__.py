"""Factorization machines: the library under the `fm` command. No click, no printing."""

__version__ = "0.1.0"
