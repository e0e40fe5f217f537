"""Why a training job ended badly: as a sentence for the log and the file output/failure, and as an exit code."""

import re
import traceback

from fmcli.console import say
from fmcli.exits import recognized
from fmcore.errors import DataError, FMError, UsageError

OPTION = re.compile(r"(?<!\S)--[a-z]")
SHOWN = 1024  # characters that SageMaker shows of the file
MEMORY = "take an instance with more memory, fewer factors, or a smaller feature_dim"


def failed(error, path):
    """Say what failed, write it to the file at `path` too, and return the exit code."""
    error = recognized(error, memory=MEMORY)
    sentence = reason(error)
    if not isinstance(error, FMError):
        say("".join(traceback.format_exception(error)).rstrip())  # a job cannot be asked afterwards
    say(sentence)
    try:
        path.write_text(sentence if len(sentence) <= SHOWN else f"{sentence[: SHOWN - 3]}...", encoding="utf-8")
    except OSError as problem:
        say(f"{path} cannot be written: {problem.strerror}")
    return error.exit_code if isinstance(error, FMError) else 1


def reason(error):
    """The sentence. It begins with whose fault it is: ClientError for what the job was given, else AlgorithmError."""
    if not isinstance(error, FMError):
        return f"AlgorithmError: unexpected {type(error).__name__}: {error} (the log shows where)"
    whose = "ClientError" if isinstance(error, (UsageError, DataError)) else "AlgorithmError"
    about = " (what begins with -- is an option of the command fm)" if OPTION.search(str(error)) else ""
    return f"{whose}: {error}{about}"
