"""What a hyperparameter is searched among: a range or a choice, and how a user writes one."""

from dataclasses import dataclass

from fmcore.errors import UsageError
from fmcore.hyper.params import PARAMETERS

# neither what a model is for, nor what only decides how a training goes on or whether one precedes it
NOT_SEARCHED = (
    "predictor_type",
    "family",
    "feature_dim",
    "seed",
    "pilot",
    "validation_fraction",
    "batch_metrics_publish_interval",
)
RANGE_WORDS = ("log", "int")


@dataclass(frozen=True)
class Range:
    """Every number from low to high: evenly, or by its logarithm; integers where `integer`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def holds(self, value):
        """Return whether the value lies in it."""
        return value is not None and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of these values, each of the type of its hyperparameter (None is "auto" or "none")."""

    values: tuple

    def holds(self, value):
        """Return whether the value is one of them."""
        return value in self.values


def parse_range(text):
    """Return (name, Range) of "name=low:high", which may end with ":log", ":int" or both; raise UsageError else."""
    name, parameter, value = _split(text, "low:high")
    low, *rest = value.split(":")
    high, words = rest[0] if rest else "", rest[1:]
    if not high or len(words) != len(set(words)) or not set(words) <= set(RANGE_WORDS):
        raise UsageError(f"range {text!r}; expected {name}=low:high, which may end with :log, :int or both")
    if parameter.kind not in {int, float}:
        raise UsageError(f"range {text!r}: {name} is no number; list its values with --choice")
    if parameter.kind is float and "int" in words:
        raise UsageError(f"range {text!r}: {name} is no integer; leave :int out")
    ends = [parameter.parse(end) for end in (low, high)]
    if None in ends or ends[0] >= ends[1]:
        raise UsageError(f"range {text!r}: the low end must be a number below the high one")
    if "log" in words and ends[0] <= 0:
        raise UsageError(f"range {text!r}: on a logarithmic scale the low end must be above 0")
    return name, Range(*ends, log="log" in words, integer=parameter.kind is int)


def parse_choice(text):
    """Return (name, Choice) of "name=a,b,c"; raise a UsageError that states what is wrong."""
    name, parameter, value = _split(text, "a,b,c")
    values = tuple(dict.fromkeys(parameter.parse(word.strip()) for word in value.split(",")))
    return name, Choice(values)


def _split(text, shape):
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not value:
        raise UsageError(f"{text!r}; expected NAME={shape}")
    if name not in PARAMETERS or name in NOT_SEARCHED:
        known = ", ".join(known for known in PARAMETERS if known not in NOT_SEARCHED)
        raise UsageError(f"{text!r}: {name} cannot be searched; expected one of {known}")
    return name, PARAMETERS[name], value
