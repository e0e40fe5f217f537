"""The choices of a search: ranges and choices of hyperparameters, as the user or a preset gives them."""

from dataclasses import asdict, dataclass

from fmcore.errors import UsageError
from fmcore.hyper.groups import GROUPS, INIT_METHODS, INIT_NUMBERS
from fmcore.hyper.params import PARAMETERS
from fmcore.hyper.presets import resolve
from fmcore.objectives import objective_of

NOT_SEARCHED = ("predictor_type", "family", "feature_dim", "seed", "batch_metrics_publish_interval")
RANGE_WORDS = ("log", "int")


@dataclass(frozen=True)
class Range:
    """Every number from low to high: evenly, or by its logarithm; integers where `integer`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def holds(self, value):
        """Return whether the value lies in it."""
        return value is not None and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of these values, each of the type of its hyperparameter (None is "auto" or "none")."""

    values: tuple

    def holds(self, value):
        """Return whether the value is one of them."""
        return value in self.values


_ANYTHING = Range(1e-8, 512, log=True)  # SageMaker's range of every rate, decay and initial value


def _small(objective):
    """Return a space around the defaults, in the midst of each range: a few dozen trials find their way only there."""
    epochs = Range(*objective.search["epochs"], log=True, integer=True)
    lr, wd = Range(0.01, 0.3, log=True), Range(*objective.search["wd"], log=True)
    return {
        "num_factors": Range(4, 64, log=True, integer=True),
        "epochs": epochs,
        "linear_lr": lr,
        "factors_lr": lr,
        "linear_wd": wd,
        "factors_wd": wd,
        "factors_init_sigma": Range(4e-3, 0.2, log=True),
    }


def _full(objective):
    small = _small(objective)
    return {
        **small,
        "optimizer": Choice(("adagrad", "adam", "sgd")),
        "bias_lr": small["linear_lr"],
        "lr_schedule": Choice(("linear", "constant")),
        "mini_batch_size": Range(16, 1024, log=True, integer=True),
        "feature_scaling": Choice(("rms", "none")),
        "factors_init_method": Choice(("normal", "uniform")),
        "factors_init_scale": Range(4e-3, 0.2, log=True),
    }


_SAGEMAKER = {  # the ranges that its documentation calls tunable
    "epochs": Range(1, 1000, log=True, integer=True),
    "mini_batch_size": Range(100, 10000, log=True, integer=True),
    **{f"{group}_{number}": _ANYTHING for group in GROUPS for number in ("lr", "wd")},
    **{f"{group}_init_method": Choice(INIT_METHODS) for group in GROUPS},
    **{f"{group}_init_{number}": _ANYTHING for group in GROUPS for number in INIT_NUMBERS.values()},
}

# name -> a function from the Objective to what is searched; "small" is searched where the user names nothing
SPACES = {"small": _small, "full": _full, "sagemaker": lambda _objective: _SAGEMAKER}


def parse_range(text):
    """Return (name, Range) of "name=low:high", which may end with ":log", ":int" or both; raise UsageError else."""
    name, parameter, value = _split(text, "low:high")
    low, *rest = value.split(":")
    high, words = rest[0] if rest else "", rest[1:]
    if not high or len(words) != len(set(words)) or not set(words) <= set(RANGE_WORDS):
        raise UsageError(f"range {text!r}; expected {name}=low:high, which may end with :log, :int or both")
    if parameter.kind not in {int, float}:
        raise UsageError(f"range {text!r}: {name} is no number; list its values with --choice")
    if parameter.kind is float and "int" in words:
        raise UsageError(f"range {text!r}: {name} is no integer; leave :int out")
    ends = [parameter.parse(end) for end in (low, high)]
    if None in ends or ends[0] >= ends[1]:
        raise UsageError(f"range {text!r}: the low end must be a number below the high one")
    if "log" in words and ends[0] <= 0:
        raise UsageError(f"range {text!r}: on a logarithmic scale the low end must be above 0")
    return name, Range(*ends, log="log" in words, integer=parameter.kind is int)


def parse_choice(text):
    """Return (name, Choice) of "name=a,b,c"; raise a UsageError that states what is wrong."""
    name, parameter, value = _split(text, "a,b,c")
    values = tuple(dict.fromkeys(parameter.parse(word.strip()) for word in value.split(",")))
    return name, Choice(values)


def _split(text, shape):
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not value:
        raise UsageError(f"{text!r}; expected NAME={shape}")
    if name not in PARAMETERS or name in NOT_SEARCHED:
        known = ", ".join(known for known in PARAMETERS if known not in NOT_SEARCHED)
        raise UsageError(f"{text!r}: {name} cannot be searched; expected one of {known}")
    return name, PARAMETERS[name], value


@dataclass(frozen=True)
class Space:
    """The dimensions that are searched, and the values of all others.

    dimensions: name -> Range or Choice, in the order of the hyperparameters' table: an init method before its numbers.
    fixed: name -> value that the user gave. defaults: name -> value of every hyperparameter where it is not searched.
    preset: the preset of the defaults.
    """

    dimensions: dict
    fixed: dict
    defaults: dict
    preset: str = "native"

    def hyperparameters(self, values):
        """Return Hyperparameters with these values of the dimensions."""
        return resolve(self.preset, **{**self.fixed, **values})

    def start(self):
        """Return the defaults of what is searched, as far as they lie in their ranges."""
        return {
            name: self.defaults[name]
            for name, dimension in self.dimensions.items()
            if self.applies(name, {}) and dimension.holds(self.defaults[name])
        }

    def applies(self, name, values):
        """Return whether a dimension applies beside these values: an init method's number only under its method."""
        method = init_method_of(name)
        return method is None or {**self.defaults, **values}[f"{name.split('_')[0]}_init_method"] == method


def search_space(named, fixed, *, space=None, preset="native"):
    """Return the Space of what is named and fixed.

    named: name -> Range or Choice from the user. fixed: name -> value from the user, predictor_type among them.
    space: a name of SPACES, searched beside what is named; "small" where nothing is named and no space is chosen.
    Raises UsageError where a name is both searched and fixed, cannot apply, or nothing is left to search.
    """
    for name in named:
        if name in fixed:
            raise UsageError(f"{name} is given both a value and a range; leave one of them out")
    defaults = asdict(resolve(preset, **fixed))
    offered = SPACES[space or "small"](objective_of(defaults["predictor_type"])) if space or not named else {}
    found = {**{name: dimension for name, dimension in offered.items() if not _is_fixed(name, fixed)}, **named}
    found = {name: found[name] for name in PARAMETERS if name in found}
    possible = {name: dimension for name, dimension in found.items() if _can_apply(name, found, defaults)}
    _require_possible(named, fixed, possible)
    return Space(possible, fixed, defaults, preset)


def _is_fixed(name, fixed):
    """Return whether what is fixed leaves no choice: the name itself, a number of its method, or a group left out."""
    group, _, what = name.partition("_")
    numbers = (f"{group}_init_{number}" for number in INIT_NUMBERS.values())
    return (
        name in fixed
        or fixed.get(f"use_{group}") is False
        or (what == "init_method" and any(fixed.get(number) is not None for number in numbers))
    )


def _can_apply(name, found, defaults):
    """Return whether it is no init method's number, or one of a method that there may be."""
    wanted, method = init_method_of(name), f"{name.split('_')[0]}_init_method"
    return wanted is None or wanted in (found[method].values if method in found else (defaults[method],))


def _require_possible(named, fixed, possible):
    for name in named:
        method = f"{name.split('_')[0]}_init_method"
        if name not in possible:
            raise UsageError(
                f"{name} only counts under the init method {init_method_of(name)}, which is neither given "
                "nor among what is searched"
            )
        if name == method and _is_fixed(name, fixed):
            raise UsageError(
                f"{name} is searched, but a number is given that goes with one method alone; leave one of them out"
            )
    if not possible:
        raise UsageError(
            "nothing is left to search: every hyperparameter of the space is given a value; name some "
            "with --range or --choice"
        )


def init_method_of(name):
    """Return the init method whose number the name is ("factors_init_sigma": "normal"), or None."""
    group, _, number = name.partition("_init_")
    return next((method for method, its in INIT_NUMBERS.items() if group in GROUPS and its == number), None)
