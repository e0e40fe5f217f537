"""What a search makes small or large, under SageMaker's names."""

from fmcore.errors import UsageError

STEPS = 10  # parts of a trial's way at whose ends it tells the objective

# name -> (predictor type, its name among fmcore.objectives.metrics, direction)
OBJECTIVES = {
    "test:rmse": ("regressor", "rmse", "minimize"),
    "test:binary_classification_cross_entropy": ("binary_classifier", "logloss", "minimize"),
    "test:binary_classification_accuracy": ("binary_classifier", "accuracy", "maximize"),
    "test:binary_f_beta": ("binary_classifier", "f1", "maximize"),
    "test:auc": ("binary_classifier", "auc", "maximize"),
}


def checked_objective(name, predictor_type):
    """The name, or the predictor type's first objective where it is None; UsageError where the two do not fit."""
    fitting = [known for known, (its, _, _) in OBJECTIVES.items() if its == predictor_type]
    if name is None:
        return fitting[0]
    if name not in fitting:
        raise UsageError(
            f"objective {name} does not fit predictor_type {predictor_type}; expected {' or '.join(fitting)}"
        )
    return name


def direction_of(name):
    """Return "minimize" or "maximize"."""
    return OBJECTIVES[name][2]


def objective_of(name):
    """A function from the test metrics of an epoch to the objective's value."""
    metric = OBJECTIVES[name][1]

    def value(metrics):
        if metrics[metric] is None:
            raise UsageError(f"{name} needs test rows of both classes")
        return metrics[metric]

    return value
