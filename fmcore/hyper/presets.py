"""The presets: sets of defaults, which may depend on the objective, and how options go before them."""

from dataclasses import replace
from typing import Any

from fmcore.errors import UsageError
from fmcore.hyper.given import layered
from fmcore.hyper.groups import GROUPS
from fmcore.hyper.params import PARAMETERS, Hyperparameters, require_known
from fmcore.objectives import objective_of
from fmcore.optimizers import OPTIMIZERS

# The defaults that the developer guide of Amazon SageMaker lists and its jobs log, which are those of MXNet's example
# of a sparse factorization machine; the guide calls 64 factors a good choice. `resolve` adds rescale_grad.
SAGEMAKER = {
    "num_factors": 64,
    "epochs": 1,
    "mini_batch_size": 1000,
    "feature_scaling": "none",
    "optimizer": "adam",
    "eps": 1e-8,
    "lr_schedule": "constant",
    "bias_lr": 0.1,
    "linear_lr": 0.001,
    "factors_lr": 0.0001,
    "bias_wd": 0.01,
    "linear_wd": 0.001,
    "factors_wd": 0.00001,
    "bias_init_method": "normal",
    "linear_init_method": "normal",
    "factors_init_method": "normal",
    "bias_init_sigma": 0.01,
    "linear_init_sigma": 0.01,
    "factors_init_sigma": 0.001,
}

# One recipe for all data: a penalty by rows, standardised columns, and factors with a variance of their own
# (docs/recipe.md). An objective states its own strengths and learning rates.
NATIVE = {
    "num_factors": 16,
    "epochs": None,
    "feature_scaling": "standard",
    "pilot": "auto",
    "lr_schedule": "cosine",
    "penalty": "rows",
    "factors_variance": 0.5,
}
FIRST_SIGMA = 0.2  # of the first factors, times the root of their number: what their products start with

# preset -> a function from the Objective to what differs from the defaults of the table of hyperparameters
PRESETS = {
    "native": lambda objective: {**NATIVE, **objective.native},
    "native-1": lambda objective: objective.defaults,
    "sagemaker": lambda _objective: SAGEMAKER,
}


def resolve(preset: str = "native", /, **given: Any) -> Hyperparameters:
    """Return `Hyperparameters` from what was given, then the preset, then the defaults of the table.

    given: typed values by name. None is a value ("auto"), so leave out what was not given.
    Where they are not given, the preset "sagemaker" makes rescale_grad 1 / mini_batch_size, and the preset "native"
    draws first factors of deviation FIRST_SIGMA / sqrt(num_factors); with an optimizer whose steps have no limit by
    curvature it takes the learning rates of the table.
    """
    require_known(given)
    if preset not in PRESETS:
        raise UsageError(f"preset is {preset!r}; expected {' or '.join(PRESETS)}")
    objective = objective_of(str(PARAMETERS["predictor_type"].check(given["predictor_type"])))
    chosen = Hyperparameters(**layered(PRESETS[preset](objective), given))
    if preset == "sagemaker" and "rescale_grad" not in given and chosen.mini_batch_size is not None:
        chosen = replace(chosen, rescale_grad=1 / chosen.mini_batch_size)
    if preset == "native" and not any(name.startswith("factors_init_") for name in given):
        chosen = replace(chosen, factors_init_sigma=FIRST_SIGMA / chosen.num_factors**0.5)
    if preset == "native" and not OPTIMIZERS[chosen.optimizer].floors:
        names = [name for group in GROUPS if (name := f"{group}_lr") not in given]
        rates: dict[str, Any] = {name: PARAMETERS[name].default for name in names}
        chosen = replace(chosen, **rates)
    return chosen
