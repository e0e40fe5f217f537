"""Make a model of an archive: which arrays are which parameters, what it predicts, how it was trained."""

import json
import math
from itertools import islice

import numpy as np

from fmcore.errors import ModelError, UsageError
from fmcore.hyper.groups import GROUPS, INIT_NUMBERS
from fmcore.hyper.params import MAX_NUM_FACTORS, PARAMETERS
from fmcore.hyper.presets import resolve
from fmcore.model.archive import ndarrays
from fmcore.model.archive.containers import META, PARAMS, SYMBOL, WITHIN, unpack
from fmcore.model.model import Model
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.rows.batch import MAX_FEATURE_DIM

PRESET = "sagemaker"  # for hyperparameters that the archive does not hold
FEW = 8  # arrays named in a message about an unknown network
NETWORKS = {  # form -> names of bias, linear, factors
    "sparse": ("w0_weight", "w1_weight", "v"),
    "dense": ("Linear_Plus_Bias_bias", "Linear_Plus_Bias_weight", "v"),
}
OPERATORS = {  # of a symbol -> the only predictor type that uses it
    "LogisticRegressionOutput": "binary_classifier",
    "sigmoid": "binary_classifier",
    "LinearRegressionOutput": "regressor",
    "MAERegressionOutput": "regressor",
}


def load(path, *, predictor_type=None, limit=None):
    """Return the `Model` in an archive: its arrays, and the hyperparameters that meta.json gives.

    predictor_type: overrides what the archive states; needed where it states nothing.
    limit: bytes that the archive may unpack to, None for a multiple of its size.
    info["imported"]: {"network": "sparse" or "dense", "ignored": names of arrays that are no parameter}. info["input"]:
    how rows are read, as in a trained model: SageMaker counts features from 0.
    Raises ModelError that begins with the path, UsageError where the predictor type is not known.
    """
    try:
        members, limit = unpack(path, limit)
        network, arrays, ignored = _parameters(ndarrays.read(members[PARAMS]), limit)
        values = _hyperparameters(_object(members, META).get("training_parameters"))
        stated = values.get("predictor_type")
        values["predictor_type"] = predictor_type or _predictor_type(stated, _object(members, SYMBOL))
        if values["predictor_type"] is None:
            raise UsageError(f"{path} states no predictor type; set --predictor-type {' or '.join(OBJECTIVES)}")
        values |= _dimensions(values, arrays["factors"].shape)
        model = Model(
            resolve(PRESET, **values),
            arrays,
            info={
                "imported": {"network": network, "ignored": ignored},
                "input": {"index_base": "0", "binary": objective_of(values["predictor_type"]).binary},
            },
        )
        model.require_finite()
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return model


def _parameters(arrays, limit):
    """Return (form of the network, bias, linear and factors by group, names of the arrays left over)."""
    forms = [form for form, names in NETWORKS.items() if names[1] in arrays]
    if len(forms) != 1:
        few = [f"{name!r:.80} {list(array.shape)}" for name, array in islice(arrays.items(), FEW)]
        found = ", ".join(few) + ", ..." * (len(arrays) > FEW) or "none"
        expected = " or ".join(", ".join(names) for names in NETWORKS.values())
        raise ModelError(f"not a factorization machine; its arrays are {found}; expected {expected}")
    names = NETWORKS[forms[0]]
    for name in names:
        if name not in arrays:
            raise ModelError(f"array {name} is missing; expected {', '.join(names)} in a {forms[0]} network")
    chosen = {group: arrays[name] for group, name in zip(GROUPS, names, strict=True)}
    _require_fit(forms[0], names, chosen)
    size = sum(4 * math.prod(array.shape) for array in chosen.values())
    if size > limit:
        raise ModelError(
            f"its arrays take {size:,} bytes in memory, more than {limit:,}, as most of their rows are left out "
            f"of the archive; {WITHIN}"
        )
    dense = {group: array.dense() for group, array in chosen.items()}
    factors = dense["factors"] if forms[0] == "sparse" else np.ascontiguousarray(dense["factors"].T)
    parameters = {"bias": dense["bias"].reshape(1), "linear": dense["linear"].reshape(-1), "factors": factors}
    return forms[0], parameters, sorted(arrays.keys() - {*names})


def _require_fit(form, names, chosen):
    """Raise ModelError where the arrays' shapes do not fit together."""
    order = 1 if form == "sparse" else -1  # the dense network's arrays are transposed
    bias, linear, factors = (chosen[group].shape[::order] for group in GROUPS)
    d = linear[0] if linear else 0
    fit = (bias and math.prod(bias) == 1, linear == (d, 1), len(factors) == 2 and factors[0] == d)
    expected = ["1"], ["feature_dim", "1"][::order], [f"{d}", "num_factors"][::order]
    for name, group, fits, shape in zip(names, GROUPS, fit, expected, strict=True):
        if not fits:
            raise ModelError(
                f"array {name} has shape {list(chosen[group].shape)}; expected [{', '.join(shape)}] in a {form} network"
            )
    if d > MAX_FEATURE_DIM or factors[1] > MAX_NUM_FACTORS:
        raise ModelError(
            f"its arrays are of feature_dim {d} and num_factors {factors[1]}; expected at most "
            f"{MAX_FEATURE_DIM} and {MAX_NUM_FACTORS}"
        )


def _object(members, name):
    """Return the JSON object in a member, which is data and never run; an empty one where the member is absent."""
    try:
        value = json.loads(bytes(members.get(name, b"{}")))
    except (ValueError, RecursionError):  # ValueError covers UnicodeDecodeError and JSONDecodeError
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"damaged: {name} is not a JSON object")
    return value


def _hyperparameters(given):
    """Return typed values of the hyperparameters in meta.json that are valid here; others are left out."""
    values = {}
    for name, text in given.items() if isinstance(given, dict) else ():
        if name in PARAMETERS:
            try:
                values[name] = PARAMETERS[name].parse(text)
            except UsageError:  # values that SageMaker trained with may be invalid here; only the weights matter
                continue
    for group in GROUPS:
        method = values.get(f"{group}_init_method")
        for other, number in INIT_NUMBERS.items():
            if other != method:
                values.pop(f"{group}_init_{number}", None)
    return values


def _dimensions(stated, shape):
    """Return feature_dim and num_factors by the factors' shape; ModelError where meta.json states others."""
    found = dict(zip(("feature_dim", "num_factors"), shape, strict=True))
    for name, value in found.items():
        if stated.get(name) not in (None, value):
            raise ModelError(f"meta.json states {name} {stated[name]}, but the arrays have {value}")
    return found


def _predictor_type(stated, symbol):
    """Return the type that meta.json states, or that the symbol's operators show; None where neither does."""
    nodes = symbol.get("nodes")
    shown = {_shown(node) for node in nodes if isinstance(node, dict)} if isinstance(nodes, list) else set()
    answers = {answer for answer in (stated, *shown) if answer}
    if len(answers) > 1:
        raise ModelError(
            f"meta.json and symbol.json disagree: one is of a {', the other of a '.join(sorted(answers))}; choose one "
            "with --predictor-type"
        )
    return answers.pop() if answers else None


def _shown(node):
    """Return the predictor type that only such an operator has, or None."""
    attributes = node.get("attrs")
    if node.get("op") == "Activation" and isinstance(attributes, dict) and attributes.get("act_type") == "sigmoid":
        return OPERATORS["sigmoid"]
    op = node.get("op")
    return OPERATORS.get(op) if isinstance(op, str) else None
