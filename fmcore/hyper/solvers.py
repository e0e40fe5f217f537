"""The solvers by name: the class of each, and the arrays that it keeps beside the weights.

To add one: its file in fmcore/solvers/ with a class as fmcore.solvers.Solver describes, and a line in SOLVERS. The
registry is read whenever a hyperparameter is checked or a model is made, so a test may put a solver of its own in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from fmcore.families import Family
from fmcore.optimizers.state import Spec, state_table

StateTable = Callable[[Any, Family, int], dict[str, Spec]]


@dataclass(frozen=True)
class SolverEntry:
    """A solver in the registry.

    where: its class, or "module:class", which is imported when it is used.
    state: a function from Hyperparameters, Family and feature_dim to name -> Spec of each array that it keeps, or
    "module:function" likewise.
    """

    where: str | type
    state: StateTable | str

    def load(self) -> Any:
        """Return the class."""
        return _loaded(self.where)

    def table(self, hyperparameters: Any, family: Family, feature_dim: int) -> dict[str, Spec]:
        """Return the table of its state."""
        return _loaded(self.state)(hyperparameters, family, feature_dim)


def _loaded(where: Any) -> Any:
    return resolve_name(where) if isinstance(where, str) else where


DEFAULT = "gradient"
SOLVERS: dict[str, SolverEntry] = {DEFAULT: SolverEntry("fmcore.solvers.descent:GradientDescent", state_table)}
