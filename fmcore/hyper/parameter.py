"""One hyperparameter: its type and range, how text becomes its value, how a wrong value is refused."""

import math
from collections.abc import Collection
from dataclasses import MISSING, Field, dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Any, get_args

from fmcore.errors import UsageError

Value = str | int | float | bool | None  # of a hyperparameter
UNSET = ("auto", "none")  # either word gives an optional parameter the value None
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
LARGEST = 3.4e38  # beyond it a number is infinite in the kernels' float32


@dataclass(frozen=True)
class Parameter:
    """One row of the table of hyperparameters.

    kind: str, int, float or bool. optional: whether None is a value too.
    default: the value without a preset, or dataclasses.MISSING where one must be given.
    help: one sentence. group: the heading it stands under in a help page.
    unset: the word for None in texts. choices: the valid texts, for kind str; a registry is read anew each time.
    low, high: closed bounds, or None. above: an open lower bound, or None.
    """

    name: str
    kind: type
    optional: bool
    default: object
    help: str
    group: str
    unset: str = "none"
    choices: Collection[str] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None

    @classmethod
    def of(cls, field: Field[Any]) -> "Parameter":
        """Return the parameter that a dataclass field with the metadata of `about` describes."""
        kinds = get_args(field.type) or (field.type,)
        return cls(field.name, kinds[0], NoneType in kinds, field.default, **field.metadata)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def hidden(self) -> bool:
        """Whether there is nothing to choose, so that help pages leave it out."""
        return len(self.choices) == 1

    @property
    def valid(self) -> str:
        """Return what is valid, in words that follow "expected"."""
        words = " or ".join(self.choices) if self.choices else self._range()
        return f"{words}, or {self.unset}" if self.optional else words

    def check(self, value: object) -> Value:
        """Return the value as a plain str, int, float, bool or None; raise UsageError where it is not valid."""
        if value is None and self.optional:
            return None
        if not self._is_typed(value):
            raise self._refusal(value)
        try:
            plain = self.kind(value)
        except OverflowError:  # an integer too large for a float
            raise self._refusal(value) from None
        if not self._is_inside(plain):
            raise self._refusal(plain)
        return plain

    def parse(self, text: object) -> Value:
        """Return the value that a text such as "0.1", "16" or "auto" stands for; anything else is checked."""
        if not isinstance(text, str) or self.kind is str:
            return self.check(text)
        word = text.strip().lower()
        if self.optional and word in UNSET:
            return None
        try:
            value = TRUTHS[word] if self.kind is bool else self.kind(word)
        except (KeyError, ValueError):
            raise self._refusal(text) from None
        if "_" in word:  # Python reads "1_000" as a thousand, other readers of the same file do not
            raise self._refusal(text)
        return self.check(value)

    def _range(self) -> str:
        noun = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}[self.kind]
        if self.above is not None:
            return f"{noun} above {self.above:g}" + ("" if self.high is None else f" and at most {self.high:g}")
        if self.low is None:
            return noun
        return f"{noun} of at least {self.low:g}" if self.high is None else f"{noun} from {self.low} to {self.high}"

    def _is_typed(self, value: object) -> bool:
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        return isinstance(value, {int: Integral, float: Real, str: str}[self.kind])

    def _is_inside(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.kind is float and not (math.isfinite(value) and abs(value) <= LARGEST):
            return False
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    def _refusal(self, value: object) -> UsageError:
        return UsageError(f"{self.name} is {value!r}; expected {self.valid}")


def about(sentence: str, group: str, **valid: object) -> dict[str, Any]:
    """Return the metadata of a field of hyperparameters; `valid` holds unset, choices, low, high or above."""
    return {"help": sentence, "group": group, **valid}
