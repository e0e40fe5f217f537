"""The one table of hyperparameters: options, hyperparameters.json, the tuner and the model's header are read off it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from fmcore.errors import UsageError
from fmcore.families import DEFAULT as DEFAULT_FAMILY
from fmcore.families import FAMILIES
from fmcore.hyper import groups
from fmcore.hyper.groups import GROUPS, INIT_DEFAULTS, INIT_NUMBERS, require_own_number
from fmcore.hyper.parameter import Parameter, about
from fmcore.hyper.solvers import DEFAULT as DEFAULT_SOLVER
from fmcore.hyper.solvers import SOLVERS
from fmcore.objectives import OBJECTIVES
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import MAX_FEATURE_DIM

MAX_NUM_FACTORS = 2**16  # keeps feature_dim * num_factors * 4 within 64 bits
MAX_SEED = 2**63 - 1
SMALL = 1e-8  # eps where nothing else is said
# hyperparameters that a model's header names only where they are not the default, by which older models were trained
LATER = (
    "family",
    "solver",
    "label_scaling",
    "label_range",
    "penalty",
    "factors_variance",
    "pilot",
    "validation_fraction",
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
    epochs: int | None = field(
        default=10,
        metadata=about(
            "Passes over the training rows; auto: 10, more for few rows, or what the pilot finds.",
            "training",
            unset="auto",
            low=1,
        ),
    )
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
            "Training divides each value by its feature's root mean square, where that is above 1 (rms), and centres "
            "and scales features that most rows have (standard); the model is for raw values.",
            "training",
            choices=("standard", "rms", "none"),
        ),
    )
    label_scaling: str = field(
        default="none",
        metadata=about(
            "Train on labels of mean 0 and deviation 1, where they are quantities; the model is for raw labels.",
            "training",
            choices=("standard", "none"),
        ),
    )
    validation_fraction: float | None = field(
        default=None,
        metadata=about(
            "Test each epoch on this share of the rows, chosen by a hash of their features and the seed and not "
            "trained on, where there are no test rows.",
            "training",
            above=0,
            high=0.9,
        ),
    )
    pilot: str = field(
        default="none",
        metadata=about(
            "Compare the recipe with a linear model on some of the rows first, and train what is not behind; auto: "
            "where nothing that it would choose is given.",
            "training",
            choices=("auto", "none"),
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
    label_range: str = field(
        default="none",
        metadata=about(
            "Keep predictions of quantities within the range of the labels that were trained on, or near it "
            "(training).",
            "training",
            choices=("training", "none"),
        ),
    )
    lr_schedule: str = field(
        default="linear",
        metadata=about(
            "Learning rates: cosine decreases them from mini-batch to mini-batch, to 0 at the end; linear from epoch "
            "to epoch, to 1/epochs in the last; constant keeps them.",
            "optimizer",
            choices=("cosine", "linear", "constant"),
        ),
    )
    bias_lr: float = field(default=0.05, metadata=groups.rate("bias"))
    linear_lr: float = field(default=0.05, metadata=groups.rate("linear"))
    factors_lr: float = field(default=0.05, metadata=groups.rate("factors"))
    bias_wd: float = field(default=0.0, metadata=groups.decay("bias"))
    linear_wd: float = field(default=1e-4, metadata=groups.decay("linear"))
    factors_wd: float = field(default=1e-4, metadata=groups.decay("factors"))
    penalty: str = field(
        default="batch",
        metadata=about(
            "How weight decay counts: rows deals it out to the rows that hold a feature, and gradients are sums, so "
            "that the size of a mini-batch does not matter; batch adds it to the mean gradient of each mini-batch.",
            "optimizer",
            choices=("rows", "batch"),
        ),
    )
    factors_variance: float = field(
        default=0.0,
        metadata=about(
            "Weight of the penalty by the variance of factors, with penalty rows; it adapts to each feature. 0: none.",
            "optimizer",
            low=0,
        ),
    )
    clip_gradient: float | None = field(
        default=None, metadata=about("Limit each gradient to [-c, c].", "optimizer", above=0)
    )
    eps: float | None = field(
        default=None,
        metadata=about(
            "Small number that keeps the optimizer from dividing by 0; none: "
            f"{SMALL:g}, or {OPTIMIZERS['adagrad'].eps:g} with adagrad and penalty batch.",
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
        metadata=groups.method("bias", more=("mean",), words=", or by the mean label (its log-odds for classes)"),
    )
    bias_init_sigma: float | None = field(default=None, metadata=groups.sigma("bias"))
    bias_init_scale: float | None = field(default=None, metadata=groups.scale("bias"))
    bias_init_value: float | None = field(default=None, metadata=groups.value("bias"))
    linear_init_method: str = field(default="constant", metadata=groups.method("linear"))
    linear_init_sigma: float | None = field(default=None, metadata=groups.sigma("linear"))
    linear_init_scale: float | None = field(default=None, metadata=groups.scale("linear"))
    linear_init_value: float | None = field(default=None, metadata=groups.value("linear"))
    factors_init_method: str = field(default="normal", metadata=groups.method("factors"))
    factors_init_sigma: float | None = field(default=None, metadata=groups.sigma("factors"))
    factors_init_scale: float | None = field(default=None, metadata=groups.scale("factors"))
    factors_init_value: float | None = field(default=None, metadata=groups.value("factors"))

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            self._set(name, parameter.check(getattr(self, name)))
        if self.eps is None:
            self._set("eps", SMALL if self.penalty == "rows" else OPTIMIZERS[self.optimizer].eps)
        if self.factors_variance and self.penalty != "rows":
            raise UsageError(
                f"factors_variance is {self.factors_variance:g}, but penalty is {self.penalty}; choose penalty rows, "
                "or preset native-1, whose decays are by mini-batch as well"
            )
        for name in ("label_scaling", "label_range"):
            if getattr(self, name) != "none" and not OBJECTIVES[self.predictor_type].label_degree:
                raise UsageError(
                    f"{name} is {getattr(self, name)}, but the labels of a {self.predictor_type} are no quantity; "
                    "leave it out"
                )
        for group in GROUPS:
            self._resolve_init(group)

    def init(self, group: str) -> tuple[str, float | None]:
        """Return (method, number) by which "bias", "linear" or "factors" starts; the method "mean" has no number."""
        method = getattr(self, f"{group}_init_method")
        return method, getattr(self, f"{group}_init_{INIT_NUMBERS[method]}") if method in INIT_NUMBERS else None

    @property
    def last_epoch(self) -> int:
        """Return the number of epochs; ValueError where it is not decided yet."""
        if self.epochs is None:
            raise ValueError("the number of epochs is decided when the rows are known")
        return self.epochs

    def uses(self, group: str) -> bool:
        """Return whether the group "bias", "linear" or "factors" is part of the model; one that is not stays 0."""
        return getattr(self, f"use_{group}", True)

    @property
    def shifts(self) -> bool:
        """Return whether the model's weights can take up what is subtracted from columns and labels; see `Family`."""
        return FAMILIES[self.family].shifts

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
        require_own_number(group, vars(self))
        method, value = self.init(group)
        if method in INIT_NUMBERS and value is None:
            number = INIT_NUMBERS[method]
            self._set(f"{group}_init_{number}", INIT_DEFAULTS[group][number])

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


PARAMETERS = {f.name: Parameter.of(f) for f in fields(Hyperparameters)}


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
