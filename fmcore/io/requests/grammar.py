"""The grammar of requests in JSON, around the features: documents, instances, ids of rows."""

import json
from typing import Any

from fmcore.errors import DataError

FEATURE_KEYS = ("keys", "shape", "values")  # of features by index
INSTANCE_KEYS = ("features", "data", "id", "uid", "configuration", "metadata")
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


class Refused(Exception):  # noqa: N818 - caught by decoders, which make a DataError with its row of it
    """A problem in an instance, and the key where it is."""

    def __init__(self, problem: str, key: str | None = None) -> None:
        super().__init__(problem)
        self.problem, self.key = problem, key


def document(chunk: bytes, parse_float: Any = None) -> list:
    """Return the list of instances of a JSON document; parse_float: as of json.loads."""
    try:
        found = expect(parse(chunk, parse_float), dict)
        only(found, ("instances", "configuration"), "")
        return expect(member(found, "instances"), list, "instances")
    except Refused as refused:
        raise DataError(refused.problem, unit="row", field=refused.key) from None


def parse(data: bytes, parse_float: Any = None) -> Any:
    """Return the JSON value in these bytes; parse_float: as of json.loads."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, parse_float=parse_float)
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error}") from None
    except RecursionError:
        raise Refused("not a request: nested too deeply") from None
    except ValueError:  # Python's limit on the digits of an integer
        raise Refused("a number with thousands of digits") from None


def instance(found: Any) -> tuple[str | None, Any, str]:
    """Return (id or None, features, their path) of an instance."""
    only(expect(found, dict), INSTANCE_KEYS, "")
    if ("features" in found) == ("data" in found):
        raise Refused('expected one of the keys "features" and "data"')
    if "features" in found:
        return row_id(found), found["features"], "features"
    data = expect(found["data"], dict, "data")
    only(data, ("features",), "data.")
    return row_id(found), member(data, "features", "data"), "data.features"


def row_id(found: dict) -> str | None:
    """Return the id of an instance, or None."""
    for key in ("id", "uid"):
        given = found.get(key)
        if given is None:
            continue
        if type(given) not in {str, int}:
            raise Refused(f"expected a string or an integer, found {kind(given)}", key)
        return valid(str(given), key)
    return None


def valid(text: str, key: str) -> str:
    """Return a text, which must be one that UTF-8 can hold."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        raise Refused("half of a surrogate pair, which is not valid text", key) from None


def member(mapping: dict, key: str, path: str | None = None) -> Any:
    """Return the value of a key that must be there."""
    if key not in mapping:
        raise Refused(f'expected the key "{key}"', path)
    return mapping[key]


def expect(value: Any, wanted: type, path: str | None = None) -> Any:
    """Return the value, which must be of that kind."""
    if type(value) is not wanted:
        raise Refused(f"expected {KINDS[wanted]}, found {kind(value)}", path)
    return value


def only(mapping: dict, known: tuple[str, ...], path: str) -> None:
    """Refuse any other keys than those known."""
    for key in mapping:
        if key not in known:
            raise Refused(f"unknown key; expected {', '.join(known)}", f"{path}{shown(key)}")


def shown(key: str) -> str:
    """Return a key in one line, and without half of a surrogate pair."""
    return json.dumps(key[:40])[1:-1]


def kind(value: Any) -> str:
    """Return the name of a JSON value's type, or the value, for a message."""
    return KINDS.get(type(value)) or str(value)[:40]


def _no_constant(name: str) -> None:
    raise Refused(f"{name} is not JSON; expected a finite number")
