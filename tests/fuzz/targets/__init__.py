"""The targets by name: functions of bytes that return where a reader behaves, and raise where it does not."""

from importlib import import_module

TARGETS = {  # name -> module:function, imported when run, as a sanitized build loads under its runtime alone
    "archive": "archives:archive",
    "params": "archives:params",
    "meta": "archives:meta",
    "model": "models:model",
    "hyperparameters": "models:hyperparameters",
    "csv": "tables:csv",
    "vocabulary": "tables:vocabulary",
    "detect": "files:detected",
    "compressed": "files:compressed",
    "manifest": "files:manifest",
    "libsvm": "texts:libsvm",
    "libffm": "texts:libffm",
    "record": "records:record",
    "recordio": "records:stream",
    "json": "requests:json_document",
    "jsonlines": "requests:json_lines",
    "libsvm-kernel": "kernels:libsvm",
    "libffm-kernel": "kernels:libffm",
    "record-kernel": "kernels:record",
    "recordio-kernel": "kernels:recordio",
    "json-kernel": "kernels:json",
    "jsonlines-kernel": "kernels:jsonlines",
}


def load(name):
    """Return the target of that name."""
    module, function = TARGETS[name].split(":")
    return getattr(import_module(f"fuzz.targets.{module}"), function)
