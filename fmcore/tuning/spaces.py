"""The sets of ranges that a search has a name for; they go by how weight decay counts, and lie around the defaults."""

from fmcore.hyper.groups import GROUPS, INIT_METHODS, INIT_NUMBERS
from fmcore.optimizers import OPTIMIZERS
from fmcore.tuning.dimensions import Choice, Range

_ANYTHING = Range(1e-8, 512, log=True)  # SageMaker's range of every rate, decay and initial value


def small(objective, defaults):
    """Return what matters most; a few dozen trials find their way in no more.

    objective: fmcore.objectives.Objective. defaults: name -> value where a hyperparameter is not searched.
    """
    return _small_by_rows(defaults) if defaults["penalty"] == "rows" else _small_by_batch(objective)


def full(objective, defaults):
    """Return these and what may matter; arguments as for `small`."""
    return _full_by_rows(defaults) if defaults["penalty"] == "rows" else _full_by_batch(objective)


def _small_by_rows(defaults):
    """Return ranges around the strengths of the recipe, beside which its learning rates of other groups can stay.

    Those of an optimizer whose steps have no limit by curvature are no part of the recipe.
    """
    groups = ("factors",) if _is_limited(defaults) else GROUPS
    return {
        "num_factors": Range(8, 64, log=True, integer=True),
        "epochs": Range(2, 40, log=True, integer=True),
        **{f"{group}_lr": _rates(defaults) for group in groups},
        "linear_wd": Range(0.3, 30, log=True),
        "factors_wd": Range(0.3, 30, log=True),
        "factors_variance": Range(0.1, 2, log=True),
    }


def _full_by_rows(defaults):
    alike = tuple(name for name, optimizer in OPTIMIZERS.items() if optimizer.floors)
    return {
        **_small_by_rows(defaults),
        **({"optimizer": Choice(alike)} if _is_limited(defaults) else {}),
        **{f"{group}_lr": _rates(defaults) for group in GROUPS},
        "lr_schedule": Choice(("cosine", "linear", "constant")),
        **_rows_and_start("standard", "rms", "none"),
        "factors_init_sigma": Range(4e-3, 0.2, log=True),
    }


def _is_limited(defaults):
    return OPTIMIZERS[defaults["optimizer"]].floors


def _rates(defaults):
    return Range(0.1, 1.5, log=True) if _is_limited(defaults) else Range(5e-3, 0.5, log=True)


def _small_by_batch(objective):
    """Return a space around the defaults, in the midst of each range."""
    lr, wd = Range(0.01, 0.3, log=True), Range(*objective.search["wd"], log=True)
    return {
        "num_factors": Range(4, 64, log=True, integer=True),
        "epochs": Range(*objective.search["epochs"], log=True, integer=True),
        "linear_lr": lr,
        "factors_lr": lr,
        "linear_wd": wd,
        "factors_wd": wd,
        "factors_init_sigma": Range(4e-3, 0.2, log=True),
    }


def _full_by_batch(objective):
    small = _small_by_batch(objective)
    return {
        **small,
        "optimizer": Choice(("adagrad", "adam", "sgd")),
        "bias_lr": small["linear_lr"],
        "lr_schedule": Choice(("linear", "constant")),
        **_rows_and_start("rms", "none"),
    }


def _rows_and_start(*scalings):
    """Return how rows are cut and scaled, and how factors start."""
    return {
        "mini_batch_size": Range(16, 1024, log=True, integer=True),
        "feature_scaling": Choice(scalings),
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

# name -> a function as `small` is one; "small" is searched where the user names nothing
SPACES = {"small": small, "full": full, "sagemaker": lambda _objective, _defaults: _SAGEMAKER}
