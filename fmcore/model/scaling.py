"""The weights of a model of scaled rows, and those of raw ones: each from the other, without rounding.

With x_i / s_i in place of x_i (see fmcore.rows.scaling), w_i = w'_i / s_i and v_i = v'_i / s_i give the same scores;
another family states itself which of its tensors are like that.
"""

import numpy as np

from fmcore.families.contract import per_feature

NAME = "feature_scale"  # in a model's state


def unscaled(model, scale):
    """Turn a model of scaled values into one of raw values, in place; the scale stays with the optimizer's state."""
    if scale is not None:
        for array in _scaled(model):
            np.divide(array, by_row(scale, array.shape), out=array)
        model.state[NAME] = scale
    return model


def rescaled(model, scale, known):
    """Turn a model of raw values into one of scaled values, in place, and its optimizer's state with it.

    What the optimizer keeps is of the scale that training had before, if any.
    known: of how many features, the first ones, the weights are of raw values; those of others are used as they are.
    """
    ratio = model.state.pop(NAME, np.float32(1)) / (np.float32(1) if scale is None else scale)
    if scale is not None:
        for array in _scaled(model):
            array[:known] *= by_row(scale[:known], array.shape)
    for name, spec in model.state_table().items():
        if spec.degree and name in model.state:  # a feature's gradient has its scale below it
            model.state[name] *= by_row(ratio**spec.degree, spec.shape)
    return model


def _scaled(model):
    return [model.weights[tensor.name] for tensor in per_feature(model.family) if tensor.scaled]


def by_row(scale, shape):
    """Return a scale, a number or one for each feature, as it multiplies an array of that shape, a row per feature."""
    return np.reshape(scale, (-1, *(1 for _ in shape[1:])))
