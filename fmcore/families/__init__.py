"""The families of models by name. To add one: a file here with its `Family`, and a line in FAMILIES.

The registry is read whenever a hyperparameter is checked or a model is made, so a test may put a family of its own in.
One without kernels (`kernel` is None) is trained and scored by the NumPy reference.
"""

from typing import Any

from fmcore.errors import UsageError
from fmcore.families.contract import Family, Tensor
from fmcore.families.fm import FactorizationMachine

__all__ = ["DEFAULT", "FAMILIES", "Family", "Tensor", "family_of", "require_fm"]

DEFAULT = "fm"
FAMILIES: dict[str, Family] = {family.name: family for family in (FactorizationMachine(),)}


def family_of(hyperparameters: Any) -> Family:
    """Return the `Family` that Hyperparameters name."""
    return FAMILIES[hyperparameters.family]


def require_fm(hyperparameters: Any, what: str) -> None:
    """Raise UsageError where Hyperparameters are of another family than "fm", for `what` (plural) it alone has."""
    if hyperparameters.family != DEFAULT:
        raise UsageError(f"{what} are for models of family {DEFAULT} alone; this one is of {hyperparameters.family}")
