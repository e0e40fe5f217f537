"""The parameters of a factorization machine, and how they start."""

from dataclasses import dataclass, field

import numpy as np

from fmcore.errors import DivergedError, ModelError, ResourceError, UsageError
from fmcore.hyper.params import GROUPS
from fmcore.objectives import objective_of

BLOCK = 1 << 16  # numbers looked at together, so that a check never holds a copy of a whole tensor


@dataclass
class Model:
    """A factorization machine.

    hyperparameters: the `Hyperparameters` it was trained with.
    bias: float32 (1,). linear: float32 (feature_dim,). factors: float32 (feature_dim, num_factors).
    state: name -> array, what the optimizer keeps between updates ("adagrad.linear": ...); float32, float64 or int64.
    info: ready for JSON: metrics, epochs done, rows trained, read options.
    origin: of a loaded model, what fmcore.model.file.require_unchanged asks.
    Arrays of a loaded model are mapped from its file and read-only; training takes copies.
    """

    hyperparameters: object
    bias: np.ndarray
    linear: np.ndarray
    factors: np.ndarray
    state: dict = field(default_factory=dict)
    info: dict = field(default_factory=dict)
    origin: object = field(default=None, repr=False)

    def __post_init__(self):
        shapes = {
            "bias": (1,),
            "linear": self.linear.shape[:1],
            "factors": (len(self.linear), self.hyperparameters.num_factors),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype} {array.shape}; a model needs float32 {shape}")

    @property
    def feature_dim(self):
        """Number of features."""
        return self.factors.shape[0]

    @property
    def num_factors(self):
        """Length of each feature's factor vector."""
        return self.factors.shape[1]

    def tensors(self):
        """All arrays by the name they have in a model file: bias, linear, factors, then "state." + name, sorted."""
        named = {group: getattr(self, group) for group in GROUPS}
        return named | {f"state.{name}": self.state[name] for name in sorted(self.state)}

    def check_finite(self):
        """Raise DivergedError, naming tensor and place, where any number is NaN or infinite."""
        if found := self.not_finite():
            raise DivergedError(found, DivergedError.LOWER)

    def require_finite(self):
        """Raise ModelError likewise, for a model that comes from a file."""
        if found := self.not_finite():
            raise ModelError(found)

    def not_finite(self):
        """A text with tensor and place of the first number that is NaN or infinite, None where all are finite."""
        for name, array in self.tensors().items():
            flat = array.reshape(-1)
            for start in range(0, flat.size, BLOCK):
                finite = np.isfinite(flat[start : start + BLOCK])
                if not finite.all():
                    return _not_finite(name, array, start + int(finite.argmin()))
        return None


def initial(hyperparameters, mean_label=0.0):
    """A new model as the init methods and the seed say; mean_label is for the bias method "mean".

    Each group draws from a stream of its own, PCG64(SeedSequence(seed, spawn_key=(n,))) with n = 0 for the bias, 1 for
    linear, 2 for factors, in float32 and row by row: the first rows stay the same where feature_dim grows.
    Raises UsageError where feature_dim is not known, ResourceError where memory does not suffice.
    """
    d, k = hyperparameters.feature_dim, hyperparameters.num_factors
    if d is None:
        raise UsageError("feature_dim is not known; give it, or rows to take it from")
    try:
        arrays = {
            "bias": np.empty(1, np.float32),
            "linear": np.empty(d, np.float32),
            "factors": np.empty((d, k), np.float32),
        }
    except MemoryError:
        raise ResourceError(
            f"a model of feature_dim {d} and num_factors {k} needs {4 * d * (k + 1):,} bytes of "
            "memory, more than there is; take fewer factors, or hash into fewer features"
        ) from None
    for group, array in arrays.items():
        if not hyperparameters.uses(group):
            array.fill(0)
        elif hyperparameters.init(group)[0] == "mean":
            array.fill(objective_of(hyperparameters).first_bias(mean_label))
        else:
            _fill(array, hyperparameters, group)
    return Model(hyperparameters, **arrays)


def _fill(array, hyperparameters, group):
    method, number = hyperparameters.init(group)
    if method == "constant":
        array.fill(number)
        return
    sequence = np.random.SeedSequence(hyperparameters.seed, spawn_key=(GROUPS.index(group),))
    generator = np.random.Generator(np.random.PCG64(sequence))
    if method == "normal":
        generator.standard_normal(out=array, dtype=np.float32)
    else:
        generator.random(out=array, dtype=np.float32)
        array *= np.float32(2)  # [0, 1) to [-1, 1), without rounding
        array -= np.float32(1)
    array *= np.float32(number)


def _not_finite(name, array, flat_index):
    place = ", ".join(str(i) for i in np.unravel_index(flat_index, array.shape))
    value = array.reshape(-1)[flat_index]
    return f"{name}[{place}] is {value}, and a model holds finite numbers only"
