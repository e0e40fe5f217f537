"""The choices of a search: what is searched, and the values of all other hyperparameters."""

from dataclasses import asdict, dataclass

from fmcore.errors import UsageError
from fmcore.hyper.groups import GROUPS, INIT_NUMBERS
from fmcore.hyper.params import PARAMETERS
from fmcore.hyper.presets import resolve
from fmcore.objectives import objective_of
from fmcore.tuning.spaces import SPACES

DECIDED = ("pilot", "feature_dim", "mini_batch_size", "epochs")  # by the rows, or what came before training


@dataclass(frozen=True)
class Space:
    """The dimensions that are searched, and the values of all others.

    dimensions: name -> Range or Choice, in the order of the hyperparameters' table: an init method before its numbers.
    fixed: name -> value that the user gave. defaults: name -> value of every hyperparameter where it is not searched.
    preset: the preset of the defaults. named: those of the dimensions that the user named.
    """

    dimensions: dict
    fixed: dict
    defaults: dict
    preset: str = "native"
    named: frozenset = frozenset()

    def given(self, values):
        """Return name -> value of what a trial with these values of the dimensions is given beside the preset.

        It has no pilot, which would choose again what the trial has chosen.
        """
        return {**self.fixed, **values, **({} if self.defaults["pilot"] == "none" else {"pilot": "none"})}

    def hyperparameters(self, values):
        """Return Hyperparameters with these values of the dimensions."""
        return resolve(self.preset, **self.given(values))

    def untuned(self):
        """Return Hyperparameters without a search: the preset, and what the user gave."""
        return resolve(self.preset, **self.fixed)

    def values_of(self, found):
        """Return name -> value of the dimensions that apply, given those of all hyperparameters of an untuned model.

        Where "auto" was what the model was given, and can be chosen, it is the value.
        """
        return {
            name: None if self.defaults[name] is None and dimension.holds(None) else found[name]
            for name, dimension in self.dimensions.items()
            if self.applies(name, found)
        }

    def outside(self, values):
        """Return those of the values, by name, that their dimensions do not hold."""
        return {name: value for name, value in values.items() if not self.dimensions[name].holds(value)}

    def holds(self, found):
        """Return whether a trial of the space can be a model of these values of all hyperparameters."""
        values = self.values_of(found)
        if self.outside(values):
            return False
        trial = asdict(self.hyperparameters(values))
        return all(trial[name] == found[name] for name in trial if name not in DECIDED)

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
    offered = {}
    if space or not named:
        offered = SPACES[space or "small"](objective_of(defaults["predictor_type"]), defaults)
    found = {**{name: dimension for name, dimension in offered.items() if not _is_fixed(name, fixed)}, **named}
    found = {name: found[name] for name in PARAMETERS if name in found}
    possible = {name: dimension for name, dimension in found.items() if _can_apply(name, found, defaults)}
    _require_possible(named, fixed, possible)
    return Space(possible, fixed, defaults, preset, frozenset(named))


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
