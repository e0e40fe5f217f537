"""The sets of ranges that a search has a name for."""

from fmcore.hyper.groups import GROUPS, INIT_METHODS, INIT_NUMBERS
from fmcore.tuning.dimensions import Choice, Range

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
