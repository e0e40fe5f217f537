"""The input channels of a training job: their names, whether files or pipes bring them, and their content types."""

import re
from dataclasses import dataclass
from pathlib import Path

from fmcli.container.tree import typed
from fmcore import api
from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, TableOptions

NAMES = ("train", "test")
MODES = ("File", "FastFile", "Pipe")
FORMATS = {  # content type -> format of ReadOptions
    "application/x-recordio-protobuf": "recordio",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "text/csv": "csv",
    "application/x-parquet": "parquet",
}
TIMEOUT = 1800  # seconds to wait for a pipe's first byte: a slow start is no failure, and a job has its own time limit
TABLES = ("csv", "parquet")
PIPE = re.compile(r"(.+)_\d+")


@dataclass(frozen=True)
class Channel:
    """One channel.

    path: the folder of its files, or the path of its pipes without their _0, _1, ...; pipe: whether it is the latter.
    format, header: of ReadOptions; the first column of a table is the label.
    """

    path: Path
    pipe: bool
    format: str = "auto"
    header: bool | None = None

    def data(self, threads, *, binary):
        """Return the rows as api.Data."""
        options = ReadOptions(
            format=self.format, binary=binary, threads=threads, table=TableOptions(label="0", header=self.header)
        )
        return api.Data([str(self.path)], options, pipe=api.PipeMode(TIMEOUT) if self.pipe else None)


def channels(tree):
    """Return the Channels of a job by name, "train" and perhaps "test", by inputdataconfig.json, else by the folders.

    Raises UsageError for other channels, for none named train, and for settings that are not supported; DataError for
    a malformed file.
    """
    path = tree.config / "inputdataconfig.json"
    content = tree.configuration(path.name)
    configs = (
        _existing_channels(tree.data)
        if content is None
        else {name: typed(path, content, name, dict) for name in content}
    )
    for name in configs:
        if name not in NAMES:
            raise UsageError(f"unknown channel {name!r}; expected train, and test where there are test rows")
    if "train" not in configs:
        raise UsageError(
            f"there is no channel 'train' (found {', '.join(configs) or 'none'}); it holds the training rows"
        )
    return {name: _channel(tree.data / name, path, config) for name, config in configs.items()}


def _existing_channels(folder):
    """Return names of the folders and the pipes in the folder of all channels, each with an empty configuration."""
    names = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        pipe = PIPE.fullmatch(path.name)
        if path.is_dir():
            names.add(path.name)
        elif path.is_fifo() and pipe:
            names.add(pipe[1])
    return {name: {} for name in sorted(names)}


def _channel(folder, path, config):
    """Return the Channel of one entry of inputdataconfig.json."""
    place = f"{path}, channel {folder.name}"
    likely = "Pipe" if folder.with_name(f"{folder.name}_0").is_fifo() else "File"
    mode = typed(place, config, "TrainingInputMode", str, likely)
    if mode not in MODES:
        raise DataError(f"is {mode!r}; expected {', '.join(MODES)}", source=place, field="TrainingInputMode")
    if mode == "Pipe" and config.get("RecordWrapperType") == "RecordIO":
        raise UsageError(
            f"{path}: the channel {folder.name!r} has the RecordWrapperType RecordIO, which wraps each whole "
            "object in one record; leave it out, as the rows need no wrapping"
        )
    format_, header = _content_type(typed(place, config, "ContentType", str, ""), folder.name)
    return Channel(folder, mode == "Pipe", format_, header)


def _content_type(text, channel):
    """Return (format, header) of ReadOptions for a content type such as "text/csv; label_size=1"."""
    kind, *parameters = (part.strip() for part in text.lower().split(";"))
    if not kind:
        return "auto", None
    if kind not in FORMATS:
        raise UsageError(
            f"the channel {channel!r} has the ContentType {text!r}; expected {', '.join(FORMATS)}, or "
            "none to detect it from the content"
        )
    given = dict(parameter.partition("=")[::2] for parameter in parameters)
    if FORMATS[kind] in TABLES and given.get("label_size", "1") != "1":
        raise UsageError(
            f"the channel {channel!r} has the ContentType {text!r}; expected label_size=1, as each row "
            "has one label, in its first column"
        )
    return FORMATS[kind], False if kind == "text/csv" else None
