"""The groups of weights, and the hyperparameters that each of them has one of."""

from collections.abc import Mapping
from typing import Any

from fmcore.errors import UsageError
from fmcore.hyper.parameter import about

INIT_METHODS = ("normal", "uniform", "constant")
GROUPS = ("bias", "linear", "factors")  # each with its own learning rate, weight decay and initial values

# The number that an init method takes, and its value for each group where none is given. Factors that are all alike
# would stay alike for ever, hence no zero among theirs.
INIT_NUMBERS = {"normal": "sigma", "uniform": "scale", "constant": "value"}
INIT_DEFAULTS = {
    "bias": {"sigma": 0.01, "scale": 0.01, "value": 0.0},
    "linear": {"sigma": 0.01, "scale": 0.01, "value": 0.0},
    "factors": {"sigma": 0.02, "scale": 0.02, "value": 0.02},
}

NOUNS = {"bias": "the bias", "linear": "the linear weights", "factors": "the factors"}


def rate(group: str) -> dict[str, Any]:
    """Return the metadata of a group's learning rate."""
    return about(f"Learning rate of {NOUNS[group]}.", "optimizer", low=0)


def decay(group: str) -> dict[str, Any]:
    """Return the metadata of a group's weight decay."""
    return about(f"Weight decay (L2) of {NOUNS[group]}; what it is of, penalty says.", "optimizer", low=0)


def method(group: str, *, more: tuple[str, ...] = (), words: str = "") -> dict[str, Any]:
    """Return the metadata of a group's init method; more: methods that it has besides, with words about them."""
    return about(
        f"First values of {NOUNS[group]}: drawn normal or uniform, or constant{words}.",
        "initial values",
        choices=(*INIT_METHODS, *more),
    )


def sigma(group: str) -> dict[str, Any]:
    """Return the metadata of a group's init_sigma."""
    return about(
        f"Standard deviation of the first values of {NOUNS[group]}, for the method normal "
        f"[default: {INIT_DEFAULTS[group]['sigma']}].",
        "initial values",
        low=0,
    )


def scale(group: str) -> dict[str, Any]:
    """Return the metadata of a group's init_scale."""
    return about(
        f"First values of {NOUNS[group]} lie in [-scale, scale], for the method uniform "
        f"[default: {INIT_DEFAULTS[group]['scale']}].",
        "initial values",
        low=0,
    )


def value(group: str) -> dict[str, Any]:
    """Return the metadata of a group's init_value."""
    return about(
        f"First value of {NOUNS[group]}, for the method constant [default: {INIT_DEFAULTS[group]['value']}].",
        "initial values",
    )


def require_own_number(group: str, values: Mapping[str, Any]) -> None:
    """Refuse the number of another init method than the group's, where both are among the values."""
    chosen = values.get(f"{group}_init_method")
    wanted = INIT_NUMBERS.get(chosen or "")
    for method, number in INIT_NUMBERS.items():
        name = f"{group}_init_{number}"
        value = values.get(name)
        if chosen is not None and number != wanted and value is not None:
            takes = f"{group}_init_{wanted}" if wanted else "no number"
            raise UsageError(
                f"{name} is {value!r}, but {group}_init_method is {chosen}, which takes {takes}; "
                f"leave {name} out or choose {group}_init_method {method}"
            )
