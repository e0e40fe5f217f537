"""The presets: sets of defaults, which may depend on the objective, and how options go before them."""

from dataclasses import replace

from fmcore.errors import UsageError
from fmcore.hyper.params import PARAMETERS, Hyperparameters, layered, require_known
from fmcore.objectives import objective_of

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

# preset -> a function from the Objective to what differs from the defaults of the table of hyperparameters
PRESETS = {
    "native": lambda objective: objective.defaults,
    "sagemaker": lambda _objective: SAGEMAKER,
}


def resolve(preset="native", /, **given):
    """Return `Hyperparameters` from what was given, then the preset, then the defaults of the table.

    given: typed values by name. None is a value ("auto"), so leave out what was not given.
    The preset "sagemaker" makes rescale_grad 1 / mini_batch_size where it is not given.
    """
    require_known(given)
    if preset not in PRESETS:
        raise UsageError(f"preset is {preset!r}; expected {' or '.join(PRESETS)}")
    objective = objective_of(PARAMETERS["predictor_type"].check(given["predictor_type"]))
    chosen = Hyperparameters(**layered(PRESETS[preset](objective), given))
    if preset == "sagemaker" and "rescale_grad" not in given and chosen.mini_batch_size is not None:
        chosen = replace(chosen, rescale_grad=1 / chosen.mini_batch_size)
    return chosen
