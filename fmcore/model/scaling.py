"""The weights of a model of rows as training sees them, and those of raw rows: each from the other.

With x_i / s_i in place of x_i (see fmcore.rows.scaling), w_i = w'_i / s_i and v_i = v'_i / s_i give the same scores,
without rounding; another family states itself which of its tensors are like that. What is subtracted from columns goes
into the bias and the linear weights, and what labels were divided by into all of them, as a family's `shift` and
`multiply` say: in float64, rounded once.
"""

import numpy as np

from fmcore.errors import ModelError
from fmcore.families.contract import per_feature
from fmcore.optimizers.state import Spec
from fmcore.rows.scaling import Known, LabelScale

NAME, MEAN, LABEL = "feature_scale", "feature_mean", "label_scale"  # in a model's state
RANGE = "label_range"  # in its info: the least and the largest score


def unscaled(model, scaling):
    """Turn a model of what training sees into one of raw rows, in place; the scaling stays with the optimizer's state.

    scaling: a Scaling.
    """
    scale, mean, label = scaling.scale, scaling.mean, scaling.label
    if scale is not None:
        for array in _scaled(model):
            np.divide(array, by_row(scale, array.shape), out=array)
        model.state[NAME] = scale
    if mean is not None:
        model.family.shift(model.weights, -mean.astype(np.float64))
        model.state[MEAN] = mean
    if label is not None:
        model.family.multiply(model.weights, label.deviation)
        model.weights["bias"] += np.float32(label.mean)
        model.state[LABEL] = np.array(label)
    if scaling.range is not None:
        model.info[RANGE] = list(scaling.range)
    return model


def rescaled(model, scaling, known):
    """Turn a model of raw rows into one of what training sees, in place, and its optimizer's state with it.

    What the optimizer keeps is of the scale that training had before, if any. scaling: a Scaling.
    known: of how many features, the first ones, the weights are of raw values; those of others are used as they are.
    """
    scale, mean, label = scaling.scale, scaling.mean, scaling.label
    ratio = model.state.pop(NAME, np.float32(1)) / (np.float32(1) if scale is None else scale)
    for name in (MEAN, LABEL):
        model.state.pop(name, None)
    old = {name: array[:known] if len(array) > known else array for name, array in model.weights.items()}
    if label is not None:
        model.weights["bias"] -= np.float32(label.mean)
        model.family.multiply(old, 1 / label.deviation)
    if mean is not None:
        model.family.shift(old, mean[:known].astype(np.float64))
    if scale is not None:
        for array in _scaled(model):
            array[:known] *= by_row(scale[:known], array.shape)
    for name, spec in model.state_table().items():
        if spec.degree and name in model.state:  # a feature's gradient has its scale below it
            model.state[name] *= by_row(ratio**spec.degree, spec.shape)
    return model


def known_scaling(model):
    """Return the Known scaling that a model was trained with; ModelError where it is none."""
    each = Spec((model.feature_dim,), np.float32)
    scale, mean, label = _kept(model, NAME, each), _kept(model, MEAN, each), _kept(model, LABEL, Spec((2,), np.float64))
    if (scale is not None and not scale.min() > 0) or (label is not None and not label[1] > 0):
        raise ModelError("cannot warm-start: the model is damaged: it divides by numbers that are not above 0")
    return Known(scale, mean, None if label is None else LabelScale(*label.tolist()), label_range(model))


def _kept(model, name, spec):
    """Return an array of a model's state, or None; raise ModelError where it does not fit the Spec."""
    array = model.state.get(name)
    if array is not None and not spec.fits(array):
        raise ModelError(f"cannot warm-start: the model is damaged: its {name} is {array.dtype} {array.shape}")
    return array


def label_range(model):
    """Return the least and the largest score of a model, or None where there is no such limit."""
    ends = model.info.get(RANGE)
    return None if ends is None else (float(ends[0]), float(ends[1]))


def _scaled(model):
    return [model.weights[tensor.name] for tensor in per_feature(model.family) if tensor.scaled]


def by_row(scale, shape):
    """Return a scale, a number or one for each feature, as it multiplies an array of that shape, a row per feature."""
    return np.reshape(scale, (-1, *(1 for _ in shape[1:])))
