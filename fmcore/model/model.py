"""The parameters of a model, and their initial values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fmcore.errors import DivergedError, ModelError, ResourceError, UsageError
from fmcore.families import Family, family_of
from fmcore.families.contract import numbers_per_feature, per_feature
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.solvers import SOLVERS
from fmcore.objectives import objective_of
from fmcore.optimizers.state import Spec

if TYPE_CHECKING:  # as a command that opens no model starts sooner without
    from fmcore.schema.schema import Schema

BLOCK = 1 << 16  # numbers looked at together, so that a check never holds a copy of a whole tensor


@dataclass
class Model:
    """The parameters of a model.

    hyperparameters: the `Hyperparameters` it was trained with.
    weights: name -> array, the tensors of its family; of family fm bias, float32 (1,), linear, float32 (feature_dim,),
    and factors, float32 (feature_dim, num_factors).
    state: name -> array, what the optimizer keeps between updates ("adagrad.linear": ...); float32, float64 or int64.
    info: ready for JSON: metrics, epochs done, rows trained, read options.
    schema: what its rows mean, or None where that is not known: of an imported model, of rows in memory, of format 1.
    origin: of a loaded model, what fmcore.model.file.require_unchanged compares.
    feature_dim: number of features.
    Arrays of a loaded model are mapped from its file and read-only; training takes copies.
    Raises ValueError where the weights are not those of the family, or do not fit each other.
    """

    hyperparameters: Hyperparameters
    weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict = field(default_factory=dict)
    origin: object = field(default=None, repr=False)
    schema: Schema | None = field(default=None, repr=False)
    feature_dim: int = field(init=False)

    def __post_init__(self) -> None:
        family = self.family
        if self.weights.keys() != {tensor.name for tensor in family.tensors}:
            raise ValueError(f"weights are {', '.join(self.weights)}; a model of family {family.name} has others")
        self.feature_dim = len(self.weights[per_feature(family)[0].name])
        for tensor in family.tensors:
            array, shape = self.weights[tensor.name], tensor.shape(self.hyperparameters, self.feature_dim)
            if array.shape != shape or array.dtype != tensor.dtype:
                needed = f"{np.dtype(tensor.dtype)} {shape}"
                raise ValueError(f"{tensor.name} is {array.dtype} {array.shape}; a model needs {needed}")

    @property
    def family(self) -> Family:
        """Return the family, which computes the score."""
        return family_of(self.hyperparameters)

    @property
    def bias(self) -> np.ndarray:
        """Return this tensor; family fm has it."""
        return self.weights["bias"]

    @property
    def linear(self) -> np.ndarray:
        """Return this tensor; family fm has it."""
        return self.weights["linear"]

    @property
    def factors(self) -> np.ndarray:
        """Return this tensor; family fm has it."""
        return self.weights["factors"]

    @property
    def num_factors(self) -> int:
        """Return the length of each feature's factor vector."""
        return self.hyperparameters.num_factors

    def state_table(self) -> dict[str, Spec]:
        """Return name -> fmcore.optimizers.state.Spec of what its solver keeps, whether this model holds it or not."""
        return SOLVERS[self.hyperparameters.solver].table(self.hyperparameters, self.family, self.feature_dim)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all weights and state by their name in a model file: the family's, then "state." + name, sorted."""
        named = {tensor.name: self.weights[tensor.name] for tensor in self.family.tensors}
        return named | {f"state.{name}": self.state[name] for name in sorted(self.state)}

    def schema_tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays of the schema by their name in a model file, sorted."""
        tensors = {} if self.schema is None else self.schema.tensors
        return {f"schema.{name}": tensors[name] for name in sorted(tensors)}

    def check_finite(self) -> None:
        """Raise DivergedError, naming tensor and place, where any number is NaN or infinite."""
        if found := self.not_finite():
            raise DivergedError(found, DivergedError.LOWER)

    def require_finite(self) -> None:
        """Raise ModelError where any number is NaN or infinite, for a model that comes from a file."""
        if found := self.not_finite():
            raise ModelError(found)

    def not_finite(self) -> str | None:
        """Return tensor and place, as text, of the first number that is NaN or infinite; None where all are finite."""
        for name, array in self.tensors().items():
            flat = array.reshape(-1)
            for start in range(0, flat.size, BLOCK):
                finite = np.isfinite(flat[start : start + BLOCK])
                if not finite.all():
                    return _not_finite(name, array, start + int(finite.argmin()))
        return None


def initial(hyperparameters: Hyperparameters, mean_label: float = 0.0) -> Model:
    """Return a new model by the init methods and the seed; mean_label is for the bias method "mean".

    Each tensor draws from a stream of its own, PCG64(SeedSequence(seed, spawn_key=(n,))) with n its place in the family
    (of fm: 0 for the bias, 1 for linear, 2 for factors), in float32 and row by row: the first rows stay the same where
    feature_dim grows.
    Raises UsageError where feature_dim is not known, ResourceError where memory does not suffice.
    """
    h, family = hyperparameters, family_of(hyperparameters)
    if h.feature_dim is None:
        raise UsageError("feature_dim is not known; give it, or rows to take it from")
    try:
        weights: dict[str, np.ndarray] = {t.name: np.empty(t.shape(h, h.feature_dim), t.dtype) for t in family.tensors}
    except MemoryError:
        raise ResourceError(
            f"a model of feature_dim {h.feature_dim} and num_factors {h.num_factors} needs "
            f"{4 * h.feature_dim * numbers_per_feature(family, h):,} bytes of "
            "memory, more than there is; take fewer factors, or fewer features: --compact where ids are sparse, else "
            "--hash-bits"
        ) from None
    for stream, tensor in enumerate(family.tensors):
        array = weights[tensor.name]
        if not h.uses(tensor.group):
            array.fill(0)
        elif h.init(tensor.group)[0] == "mean":
            array.fill(objective_of(h).first_bias(mean_label))
        else:
            _fill(array, h, tensor.group, stream)
    return Model(h, weights)


def _fill(array: np.ndarray, hyperparameters: Hyperparameters, group: str, stream: int) -> None:
    method, number = hyperparameters.init(group)
    if method == "constant":
        array.fill(number)
        return
    sequence = np.random.SeedSequence(hyperparameters.seed, spawn_key=(stream,))
    generator = np.random.Generator(np.random.PCG64(sequence))
    if method == "normal":
        generator.standard_normal(out=array, dtype=np.float32)
    else:
        generator.random(out=array, dtype=np.float32)
        array *= np.float32(2)  # [0, 1) to [-1, 1), without rounding
        array -= np.float32(1)
    array *= np.float32(number)


def _not_finite(name: str, array: np.ndarray, flat_index: int) -> str:
    place = ", ".join(str(i) for i in np.unravel_index(flat_index, array.shape))
    value = array.reshape(-1)[flat_index]
    return f"{name}[{place}] is {value}, and a model holds finite numbers only"
