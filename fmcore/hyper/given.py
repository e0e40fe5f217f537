"""Values of hyperparameters as they are given: text becomes typed values, and some go before others."""

from collections.abc import Mapping
from typing import Any

from fmcore.hyper.groups import GROUPS, INIT_NUMBERS, require_own_number
from fmcore.hyper.parameter import Value
from fmcore.hyper.params import PARAMETERS, require_known


def from_strings(given: Mapping[str, object]) -> dict[str, Value]:
    """Return typed values for a mapping name -> text, as hyperparameters.json and the command line hold them.

    Values that are no text are checked alone. Unknown names and invalid values raise UsageError.
    """
    require_known(given, required=False)
    typed = {name: PARAMETERS[name].parse(value) for name, value in given.items()}
    for group in GROUPS:
        require_own_number(group, typed)
    return typed


def layered(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return typed values by name, those of `upper` before those of `lower`.

    Where `upper` gives an init method, the lower numbers of another method no longer apply.
    """
    kept = dict(lower)
    for group in GROUPS:
        method = upper.get(f"{group}_init_method")
        for other, number in INIT_NUMBERS.items():
            if method not in (None, other):
                kept.pop(f"{group}_init_{number}", None)
    return {**kept, **upper}
