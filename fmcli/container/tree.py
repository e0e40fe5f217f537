"""The /opt/ml tree of a container: the places of its files, and its configuration files, read and checked."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from fmcore.errors import DataError, UsageError
from fmcore.hyper import file as hyperfile
from fmcore.hyper import params
from fmcore.hyper.presets import resolve
from fmcore.system import publish

ROOT = "/opt/ml"
REQUIRED = ("feature_dim", "num_factors", "predictor_type")  # by SageMaker; fmkit's own preset needs only the last
PRESET = "preset"  # a key that only fmkit knows: which defaults to use
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}

root_option = click.option(
    "--root",
    envvar="FMKIT_ML_ROOT",
    default=ROOT,
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="The tree to use in place of /opt/ml.",
)


@dataclass(frozen=True)
class Tree:
    """The places of all files below `root` (a Path)."""

    root: Path

    @property
    def config(self):
        """Return the folder of the configuration files."""
        return self.root / "input" / "config"

    @property
    def data(self):
        """Return the folder of the channels."""
        return self.root / "input" / "data"

    @property
    def models(self):
        """Return the folder that becomes, or was, model.tar.gz."""
        return self.root / "model"

    @property
    def model(self):
        """Return the file of the trained model."""
        return self.models / "model.fm"

    @property
    def metrics(self):
        """Return the file with a JSON line an epoch."""
        return self.root / "output" / "data" / "metrics.jsonl"

    @property
    def failure(self):
        """Return the file with the reason why training failed."""
        return self.root / "output" / "failure"

    @property
    def checkpoint(self):
        """Return the file to resume from; None without a folder for it, where checkpoints are not configured."""
        folder = self.root / "checkpoints"
        return folder / "training.checkpoint" if folder.is_dir() else None

    def prepare(self):
        """Make the output folders; remove an old failure file, and files that a killed run left half written."""
        for folder in (self.models, self.metrics.parent):
            _make(folder)
        with suppress(OSError):  # where it cannot be removed, a new reason cannot be written either
            self.failure.unlink(missing_ok=True)
        for path in (self.model, self.metrics):
            publish.prepare(path)

    def configuration(self, name):
        """Return the JSON object in a configuration file, its numbers as texts; None without such a file."""
        path = self.config / name
        return hyperfile.read_object(path, "expected a JSON object") if path.exists() else None

    def host(self):
        """Return the name of this machine; UsageError for several, DataError where the file is malformed."""
        path = self.config / "resourceconfig.json"
        content = self.configuration(path.name)
        if content is None:
            return "algo-1"
        hosts = typed(path, content, "hosts", list)
        if len(hosts) > 1:
            raise UsageError(
                f"{path}: hosts are {', '.join(map(str, hosts))}, but one machine trains the whole model; "
                "set the number of instances to 1, and choose a larger instance type where it is too slow"
            )
        return typed(path, content, "current_host", str)

    def hyperparameters(self):
        """Return (Hyperparameters, the names in hyperparameters.json that were ignored)."""
        path = self.config / "hyperparameters.json"
        given = self.configuration(path.name)
        if given is None:
            raise DataError("no such file; it gives the job's hyperparameters", source=path)
        preset = given.pop(PRESET, "sagemaker")
        values, ignored = hyperfile.typed(given, path)
        for name in REQUIRED:
            if name not in values and (preset == "sagemaker" or name == "predictor_type"):
                raise UsageError(
                    f"{name!r} is a required property of the hyperparameters; expected {params.PARAMETERS[name].valid}"
                )
        return resolve(preset, **values), ignored


def typed(place, content, key, kind, default=None):
    """Return content[key], an instance of kind (dict, list or str), or the default; raise DataError otherwise."""
    if key not in content and default is not None:
        return default
    if not isinstance(content.get(key), kind):
        found = f"is {KINDS[type(content[key])]}" if key in content else "is missing"
        raise DataError(f"{found}; expected {KINDS[kind]}", source=place, field=key)
    return content[key]


def _make(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}") from error
