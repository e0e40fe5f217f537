"""One text for one value: numbers, truth values and times, as standard writers spell them, come to one spelling.

A text that no writer makes of a number or a time stays what it is: zip codes (`007`), versions (`1.10`), part numbers
(`1E3`). So one column gives the same values from CSV, TSV, Parquet and JSON, whoever wrote them.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from fmcore.schema._texts import respellable

BLANKS = " \t\n\v\f\r"  # around a text they do not count
MISSING = frozenset(
    (
        "",
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
        *("NULL", "NaN", "None", "n/a", "nan", "null"),  # those of pandas
        r"\N",  # MySQL's and Hive's
    )
)
EXACT = 1 << 53  # below it a float64 and an integer mean the same number
SURE = 16  # characters of a decimal that is the shortest of its float: 15 digits and a point
WORDS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "-0": "0", "-0.0": "0"}
# The fraction ends in a zero only where it is all of it; a mantissa before an exponent has one digit before the point.
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)\.(?:0|[0-9]*[1-9])|-?[1-9](\.(?:0|[0-9]*[1-9]))?([eE][-+]?[0-9]{1,3})")
HOUR, SIXTIETH = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
TIMESTAMP = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]({HOUR}:{SIXTIETH})(?:(:{SIXTIETH})(?:\.([0-9]{{1,9}}))?)?"
    rf"(?:(Z|z| ?UTC)|([-+])({HOUR}):?({SIXTIETH})?)?"
)
TIME = re.compile(rf"({HOUR}:{SIXTIETH}:{SIXTIETH})\.([0-9]{{1,9}})")


def canonical(text: str) -> str:
    """Return the one spelling of a value, without outer blanks; "" stays ""."""
    return canonical_texts([text.strip(BLANKS)])[0]


def canonical_texts(texts: list[str]) -> list[str]:
    """Return what `canonical` makes of each of many texts that have no outer blanks."""
    texts = list(texts)
    for position in respellable(texts):
        texts[position] = _respelled(texts[position])
    return texts


def missing_texts(values: Iterable[str] | None) -> frozenset[str]:
    """Return the canonical texts that mean a missing value: "" and those given, or `MISSING` for None."""
    return MISSING if values is None else frozenset(("", *map(canonical, values)))


def parse_number(text: str) -> float | None:
    """Return the text as a float, by the one grammar of numbers (ASCII digits, no underscores), or None."""
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _respelled(text: str) -> str:
    if text in WORDS:
        return WORDS[text]
    if found := NUMBER.fullmatch(text):
        return _number(found)
    if ":" not in text:
        return text
    if found := TIMESTAMP.fullmatch(text):
        return _timestamp(found)
    if found := TIME.fullmatch(text):
        return found[1] + _fraction(found[2])
    return text


def _number(found: re.Match[str]) -> str:
    """Return the spelling of a decimal or scientific number, the text itself where no writer makes it of a float."""
    text, (fraction, exponent) = found[0], found.groups()
    if not exponent and len(text) <= SURE and "0.0000" not in text:
        return text.removesuffix(".0")
    value = float(text)
    shortest = repr(value)
    if exponent and not _is_scientific(abs(value), fraction, exponent):
        return text
    if shortest != text and _digits(text) != _digits(shortest):
        return text
    return str(int(value)) if abs(value) < EXACT and value.is_integer() else shortest


def _is_scientific(value: float, fraction: str | None, exponent: str) -> bool:
    """Return whether any writer takes an exponent, written like this one, for a number of that size."""
    if exponent[1] == "-":  # 1e-07 is Python's, 1E-07 C#'s, 1e-7 JavaScript's and Arrow's, 5.0E-4 Java's
        return value < 1e-3 if fraction else value <= 1e-4
    if exponent[1] == "+":  # 1e+16 is Python's, 1E+16 C#'s, 1e+10 Arrow's, 1e+05 R's, 2.048e+03 NumPy's float16
        return value >= 1e7 or (value >= 1e3 and exponent[0] == "e" and len(exponent) > 3)
    return value >= 1e7 if fraction else value >= 1e16  # 1.0E7 is Java's, 1e16 Rust's


def _digits(text: str) -> str:
    """Return the significant digits of a number."""
    return re.split("[eE]", text)[0].replace(".", "").strip("-0")


def _timestamp(found: re.Match[str]) -> str:
    """Return a date where it is midnight and no zone is stated, else date and time, in UTC where a zone is stated."""
    day, minute, second, fraction, utc, sign, hours, minutes = found.groups("")
    try:
        moment = datetime.fromisoformat(f"{day} {minute}{second or ':00'}")
        if sign:
            shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
            moment += shift if sign == "-" else -shift
    except (ValueError, OverflowError):
        return found[0]
    made = f"{moment}{_fraction(fraction)}"
    return f"{made}Z" if utc or sign else made.removesuffix(" 00:00:00")


def _fraction(digits: str) -> str:
    digits = digits.rstrip("0")
    return f".{digits}" if digits else ""
