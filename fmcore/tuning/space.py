"""What a search may choose: ranges and choices of hyperparameters, as the user or a preset gives them."""
from dataclasses import dataclass

from fmcore.errors import UsageError
from fmcore.params import GROUPS, INIT_METHODS, INIT_NUMBERS, PARAMETERS, resolve

NOT_SEARCHED = ("predictor_type", "feature_dim", "seed", "batch_metrics_publish_interval")
RANGE_WORDS = ("log", "int")


@dataclass(frozen=True)
class Range:
    """Every number from low to high: evenly, or by its logarithm; integers where `integer`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def holds(self, value):
        """Whether the value lies in it."""
        return value is not None and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of these values, each of the type of its hyperparameter (None is "auto" or "none")."""

    values: tuple

    def holds(self, value):
        """Whether the value is one of them."""
        return value in self.values


def _lr(low=5e-3, high=0.5):
    return Range(low, high, log=True)


_WD = Range(1e-6, 0.3, log=True)
_SMALL = {
    "num_factors": Range(2, 64, log=True, integer=True), "epochs": Range(3, 40, log=True, integer=True),
    "linear_lr": _lr(), "factors_lr": _lr(), "linear_wd": _WD, "factors_wd": _WD,
    "factors_init_sigma": Range(1e-3, 0.5, log=True)}
_ANYTHING = Range(1e-8, 512, log=True)  # SageMaker's range of every rate, decay and initial value

# name -> the ranges that it searches; "small" is searched where the user names nothing
SPACES = {
    "small": _SMALL,
    "full": {
        **_SMALL, "optimizer": Choice(("adagrad", "adam", "sgd")), "bias_lr": _lr(), "bias_wd": _WD,
        "lr_schedule": Choice(("linear", "constant")), "mini_batch_size": Range(16, 1024, log=True, integer=True),
        "feature_scaling": Choice(("rms", "none")), "factors_init_method": Choice(("normal", "uniform")),
        "factors_init_scale": Range(1e-3, 0.5, log=True)},
    "sagemaker": {
        "epochs": Range(1, 1000, log=True, integer=True), "mini_batch_size": Range(100, 10000, log=True, integer=True),
        **{f"{group}_{number}": _ANYTHING for group in GROUPS for number in ("lr", "wd")},
        **{f"{group}_init_method": Choice(INIT_METHODS) for group in GROUPS},
        **{f"{group}_init_{number}": _ANYTHING for group in GROUPS for number in INIT_NUMBERS.values()}},
}


def parse_range(text):
    """(name, Range) of "name=low:high", which may end with ":log", ":int" or both; UsageError says what is wrong."""
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
    """(name, Choice) of "name=a,b,c"; UsageError says what is wrong."""
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
    """What is searched, and what holds elsewhere.

    dimensions: name -> Range or Choice, in the order of the table of hyperparameters, an init method before its numbers.
    fixed: name -> value that the user gave. defaults: name -> value of every hyperparameter where it is not searched.
    preset: the preset of the defaults.
    """

    dimensions: dict
    fixed: dict
    defaults: dict
    preset: str = "native"

    def hyperparameters(self, values):
        """Hyperparameters with these values of the dimensions."""
        return resolve(self.preset, **{**self.fixed, **values})

    def start(self):
        """The defaults of what is searched, as far as they lie in their ranges."""
        return {name: self.defaults[name] for name, dimension in self.dimensions.items()
                if self.applies(name, {}) and dimension.holds(self.defaults[name])}

    def applies(self, name, values):
        """Whether a dimension has a meaning beside these values: an init method's number only under its method."""
        method = init_method_of(name)
        return method is None or {**self.defaults, **values}[f"{name.split('_')[0]}_init_method"] == method


def search_space(named, fixed, *, space=None, preset="native"):
    """The Space of what is named and fixed.

    named: name -> Range or Choice from the user. fixed: name -> value from the user. space: a name of SPACES, searched
    beside what is named; "small" where nothing is named and no space is chosen.
    Raises UsageError where a name is both searched and fixed, cannot apply, or nothing is left to search.
    """
    for name in named:
        if name in fixed:
            raise UsageError(f"{name} is given both a value and a range; leave one of them out")
    found = {**(SPACES[space or "small"] if space or not named else {}), **named}
    found = {name: found[name] for name in PARAMETERS if name in found and name not in fixed}
    defaults = resolve(preset, **fixed).as_dict()
    methods = {group: found[f"{group}_init_method"].values if f"{group}_init_method" in found
               else (defaults[f"{group}_init_method"],) for group in GROUPS}
    possible = {name: dimension for name, dimension in found.items()
                if init_method_of(name) is None or init_method_of(name) in methods[name.split("_")[0]]}
    for name in named:
        if name not in possible:
            raise UsageError(f"{name} only counts under the init method {init_method_of(name)}, which is neither given "
                             "nor among what is searched")
    if not possible:
        raise UsageError("nothing is left to search: every hyperparameter of the space is given a value; name some with "
                         "--range or --choice")
    return Space(possible, fixed, defaults, preset)


def init_method_of(name):
    """The init method whose number the name is ("factors_init_sigma": "normal"), or None."""
    group, _, number = name.partition("_init_")
    return next((method for method, its in INIT_NUMBERS.items() if group in GROUPS and its == number), None)

