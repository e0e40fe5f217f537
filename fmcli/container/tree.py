"""The /opt/ml tree of a container: where everything is, and its configuration files, read and checked."""

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
REQUIRED = ("feature_dim", "num_factors", "predictor_type")  # by SageMaker; fmkit's own preset asks for the last alone
PRESET = "preset"  # a key that no other reader of the file knows: which defaults to begin with
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
    """Where everything is below `root` (a Path)."""

    root: Path

    @property
    def config(self):
        """The folder of the configuration files."""
        return self.root / "input" / "config"

    @property
    def data(self):
        """The folder of the channels."""
        return self.root / "input" / "data"

    @property
    def models(self):
        """The folder that becomes, or was, model.tar.gz."""
        return self.root / "model"

    @property
    def model(self):
        """The file of the trained model."""
        return self.models / "model.fm"

    @property
    def metrics(self):
        """The file with a JSON line an epoch."""
        return self.root / "output" / "data" / "metrics.jsonl"

    @property
    def failure(self):
        """The file that says why training failed."""
        return self.root / "output" / "failure"

    @property
    def checkpoint(self):
        """The file to go on from; None where there is no folder for it, as checkpoints are not configured then."""
        folder = self.root / "checkpoints"
        return folder / "training.checkpoint" if folder.is_dir() else None

    def prepare(self):
        """Make the folders to write to; take away an old reason of failure, and what a killed run left half written."""
        for folder in (self.models, self.metrics.parent):
            _make(folder)
        with suppress(OSError):  # where it cannot be taken away, a new reason cannot be written either
            self.failure.unlink(missing_ok=True)
        for path in (self.model, self.metrics):
            publish.prepare(path)

    def configuration(self, name):
        """The JSON object in a configuration file, its numbers as texts; None where there is no such file."""
        path = self.config / name
        return hyperfile.read_object(path, "expected a JSON object") if path.exists() else None

    def host(self):
        """The name of this machine; UsageError where there are several, DataError where the file is malformed."""
        path = self.config / "resourceconfig.json"
        content = self.configuration(path.name)
        if content is None:
            return "algo-1"
        hosts = typed(path, content, "hosts", list)
        if len(hosts) > 1:
            raise UsageError(
                f"{path}: hosts are {', '.join(map(str, hosts))}, but one machine trains the whole model; "
                "set the number of instances to 1, and take a larger instance type where it is too slow"
            )
        return typed(path, content, "current_host", str)

    def hyperparameters(self):
        """(Hyperparameters, the names of hyperparameters.json that were ignored)."""
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
    """content[key], an instance of kind (dict, list or str), else DataError; without a default it must be there."""
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
