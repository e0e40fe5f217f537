"""The report of a failed training job: a sentence for the log and the file output/failure, and an exit code."""

import re
import traceback

from fmcli.console import say
from fmcli.exits import recognized
from fmcore.errors import DataError, FMError, UsageError

OPTION = re.compile(r"(?<!\S)--[a-z]")
SHOWN = 1024  # characters that SageMaker shows of the file
MEMORY = "use an instance with more memory, fewer factors, or a smaller feature_dim"


def failed(error, path):
    """Report the error on standard error and in the file at `path`, and return the exit code."""
    error = recognized(error, memory=MEMORY)
    sentence = reason(error)
    if not isinstance(error, FMError):
        say("".join(traceback.format_exception(error)).rstrip())  # a job cannot be inspected afterwards
    say(sentence)
    try:
        path.write_text(sentence if len(sentence) <= SHOWN else f"{sentence[: SHOWN - 3]}...", encoding="utf-8")
    except OSError as problem:
        say(f"{path} cannot be written: {problem.strerror}")
    return error.exit_code if isinstance(error, FMError) else 1


def reason(error):
    """Return the sentence; it begins with ClientError where the job's input is at fault, else with AlgorithmError."""
    if not isinstance(error, FMError):
        return f"AlgorithmError: unexpected {type(error).__name__}: {error} (the log shows where)"
    kind = "ClientError" if isinstance(error, (UsageError, DataError)) else "AlgorithmError"
    hint = " (words that begin with -- are options of the command fm)" if OPTION.search(str(error)) else ""
    return f"{kind}: {error}{hint}"
