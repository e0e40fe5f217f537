"""The one table of hyperparameters: options, hyperparameters.json, the tuner and the model's header are read off it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from fmcore.errors import UsageError
from fmcore.families import DEFAULT as DEFAULT_FAMILY
from fmcore.families import FAMILIES
from fmcore.hyper.parameter import Parameter, Value, about
from fmcore.hyper.solvers import DEFAULT as DEFAULT_SOLVER
from fmcore.hyper.solvers import SOLVERS
from fmcore.objectives import OBJECTIVES
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import MAX_FEATURE_DIM

INIT_METHODS = ("normal", "uniform", "constant")
GROUPS = ("bias", "linear", "factors")  # each with its own learning rate, weight decay and initial values
MAX_NUM_FACTORS = 2**16  # keeps feature_dim * num_factors * 4 within 64 bits
MAX_SEED = 2**63 - 1
LATER = ("family", "solver")  # hyperparameters that a model's header names only where they are not the default

# The number that an init method takes, and its value for each group where none is given. Factors that are all alike
# would stay alike for ever, hence no zero among theirs.
INIT_NUMBERS = {"normal": "sigma", "uniform": "scale", "constant": "value"}
INIT_DEFAULTS = {
    "bias": {"sigma": 0.01, "scale": 0.01, "value": 0.0},
    "linear": {"sigma": 0.01, "scale": 0.01, "value": 0.0},
    "factors": {"sigma": 0.02, "scale": 0.02, "value": 0.02},
}

NOUNS = {"bias": "the bias", "linear": "the linear weights", "factors": "the factors"}


def _rate(group: str) -> dict[str, Any]:
    return about(f"Learning rate of {NOUNS[group]}.", "optimizer", low=0)


def _decay(group: str) -> dict[str, Any]:
    return about(f"Weight decay (L2) of {NOUNS[group]}.", "optimizer", low=0)


def _method(group: str, *, more: tuple[str, ...] = (), words: str = "") -> dict[str, Any]:
    return about(
        f"First values of {NOUNS[group]}: drawn normal or uniform, or constant{words}.",
        "initial values",
        choices=(*INIT_METHODS, *more),
    )


def _sigma(group: str) -> dict[str, Any]:
    return about(
        f"Standard deviation of the first values of {NOUNS[group]}, for the method normal "
        f"[default: {INIT_DEFAULTS[group]['sigma']}].",
        "initial values",
        low=0,
    )


def _scale(group: str) -> dict[str, Any]:
    return about(
        f"First values of {NOUNS[group]} lie in [-scale, scale], for the method uniform "
        f"[default: {INIT_DEFAULTS[group]['scale']}].",
        "initial values",
        low=0,
    )


def _value(group: str) -> dict[str, Any]:
    return about(
        f"First value of {NOUNS[group]}, for the method constant [default: {INIT_DEFAULTS[group]['value']}].",
        "initial values",
    )


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """All values that decide how a model is trained; each is checked, and a UsageError names what is wrong.

    Of a group's init_sigma, init_scale and init_value the one that its init_method takes is a number, the others None.
    """

    predictor_type: str = field(
        metadata=about("What to predict: one of two classes, or a number.", "model", choices=OBJECTIVES)
    )
    family: str = field(
        default=DEFAULT_FAMILY,
        metadata=about("Family of models, which decides how a score is computed.", "model", choices=FAMILIES),
    )
    feature_dim: int | None = field(
        default=None,
        metadata=about(
            "Number of features; auto: taken from the rows.", "model", unset="auto", low=1, high=MAX_FEATURE_DIM
        ),
    )
    num_factors: int = field(
        default=8, metadata=about("Length of each feature's factor vector.", "model", low=1, high=MAX_NUM_FACTORS)
    )
    use_bias: bool = field(default=True, metadata=about("Train a bias; otherwise it stays 0.", "model"))
    use_linear: bool = field(default=True, metadata=about("Train linear weights; otherwise they stay 0.", "model"))

    solver: str = field(
        default=DEFAULT_SOLVER,
        metadata=about("Solver that trains the parameters.", "training", choices=SOLVERS),
    )
    epochs: int = field(default=10, metadata=about("Passes over the training rows.", "training", low=1))
    mini_batch_size: int | None = field(
        default=None,
        metadata=about(
            "Rows per step; auto: chosen by the size of the data.", "training", unset="auto", low=1, high=2**31 - 1
        ),
    )
    shuffle: bool = field(default=True, metadata=about("Train on the rows in a new order each epoch.", "training"))
    seed: int = field(
        default=0,
        metadata=about("Seed of the initial values and of the order of rows.", "training", low=0, high=MAX_SEED),
    )
    feature_scaling: str = field(
        default="rms",
        metadata=about(
            "Divide each value by its feature's root mean square, where that is above 1, during training; the model is "
            "for raw values.",
            "training",
            choices=("rms", "none"),
        ),
    )
    early_stopping_patience: int | None = field(
        default=None, metadata=about("Stop after this many epochs without a better test loss.", "training", low=1)
    )
    on_divergence: str = field(
        default="fail",
        metadata=about(
            "When a loss or a weight is not finite: fail, or repeat the epoch with halved learning rates, up to ten "
            "times.",
            "training",
            choices=("fail", "halve-lr"),
        ),
    )
    batch_metrics_publish_interval: int = field(
        default=500,
        metadata=about("Mini-batches between two reports of training metrics within an epoch.", "training", low=1),
    )

    optimizer: str = field(
        default="adagrad",
        metadata=about("Rule that turns gradients into steps.", "optimizer", choices=OPTIMIZERS),
    )
    lr_schedule: str = field(
        default="linear",
        metadata=about(
            "Learning rates: linear decreases them from epoch to epoch, to 1/epochs in the last; constant keeps them.",
            "optimizer",
            choices=("linear", "constant"),
        ),
    )
    bias_lr: float = field(default=0.05, metadata=_rate("bias"))
    linear_lr: float = field(default=0.05, metadata=_rate("linear"))
    factors_lr: float = field(default=0.05, metadata=_rate("factors"))
    bias_wd: float = field(default=0.0, metadata=_decay("bias"))
    linear_wd: float = field(default=1e-4, metadata=_decay("linear"))
    factors_wd: float = field(default=1e-4, metadata=_decay("factors"))
    clip_gradient: float | None = field(
        default=None, metadata=about("Limit each gradient to [-c, c].", "optimizer", above=0)
    )
    eps: float | None = field(
        default=None,
        metadata=about(
            "Small number that keeps the optimizer from dividing by 0; none: "
            f"{OPTIMIZERS['adagrad'].eps:g} with adagrad, {OPTIMIZERS['adam'].eps:g} with adam.",
            "optimizer",
            low=1e-30,
            high=1.0,
        ),
    )
    rescale_grad: float | None = field(
        default=None,
        metadata=about(
            "Factor of the summed gradient; auto is 1 / rows of the mini-batch.", "optimizer", unset="auto", above=0
        ),
    )

    bias_init_method: str = field(
        default="mean",
        metadata=_method("bias", more=("mean",), words=", or by the mean label (its log-odds for classes)"),
    )
    bias_init_sigma: float | None = field(default=None, metadata=_sigma("bias"))
    bias_init_scale: float | None = field(default=None, metadata=_scale("bias"))
    bias_init_value: float | None = field(default=None, metadata=_value("bias"))
    linear_init_method: str = field(default="constant", metadata=_method("linear"))
    linear_init_sigma: float | None = field(default=None, metadata=_sigma("linear"))
    linear_init_scale: float | None = field(default=None, metadata=_scale("linear"))
    linear_init_value: float | None = field(default=None, metadata=_value("linear"))
    factors_init_method: str = field(default="normal", metadata=_method("factors"))
    factors_init_sigma: float | None = field(default=None, metadata=_sigma("factors"))
    factors_init_scale: float | None = field(default=None, metadata=_scale("factors"))
    factors_init_value: float | None = field(default=None, metadata=_value("factors"))

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            self._set(name, parameter.check(getattr(self, name)))
        if self.eps is None:
            self._set("eps", OPTIMIZERS[self.optimizer].eps)
        for group in GROUPS:
            self._resolve_init(group)

    def init(self, group: str) -> tuple[str, float | None]:
        """Return (method, number) by which "bias", "linear" or "factors" starts; the method "mean" has no number."""
        method = getattr(self, f"{group}_init_method")
        return method, getattr(self, f"{group}_init_{INIT_NUMBERS[method]}") if method in INIT_NUMBERS else None

    def uses(self, group: str) -> bool:
        """Return whether the group "bias", "linear" or "factors" is part of the model; one that is not stays 0."""
        return getattr(self, f"use_{group}", True)

    def as_dict(self) -> dict[str, Any]:
        """Return all values by name, ready for JSON; those in LATER only where they are not the default."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in LATER or value != PARAMETERS[name].default}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """Return Hyperparameters from such a dict; missing names take their default, unknown ones raise UsageError."""
        require_known(values)
        return cls(**values)

    def _resolve_init(self, group: str) -> None:
        _require_own_number(group, vars(self))
        method, value = self.init(group)
        if method in INIT_NUMBERS and value is None:
            number = INIT_NUMBERS[method]
            self._set(f"{group}_init_{number}", INIT_DEFAULTS[group][number])

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


PARAMETERS = {f.name: Parameter.of(f) for f in fields(Hyperparameters)}


def from_strings(given: Mapping[str, object]) -> dict[str, Value]:
    """Return typed values for a mapping name -> text, as hyperparameters.json and the command line hold them.

    Values that are no text are checked alone. Unknown names and invalid values raise UsageError.
    """
    require_known(given, required=False)
    typed = {name: PARAMETERS[name].parse(value) for name, value in given.items()}
    for group in GROUPS:
        _require_own_number(group, typed)
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


def _require_own_number(group: str, values: Mapping[str, Any]) -> None:
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


def require_known(names: Collection[str], *, required: bool = True) -> None:
    """Refuse names that the table does not have, in the words of a JSON schema as SageMaker does."""
    unknown = [name for name in names if name not in PARAMETERS]
    if unknown:
        listed = ", ".join(repr(name) for name in unknown)
        close = get_close_matches(str(unknown[0]), PARAMETERS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        verb = "was" if len(unknown) == 1 else "were"
        raise UsageError(f"Additional properties are not allowed ({listed} {verb} unexpected){hint}")
    for name, parameter in PARAMETERS.items():
        if required and parameter.required and name not in names:
            raise UsageError(f"{name} is required: {parameter.valid}")
