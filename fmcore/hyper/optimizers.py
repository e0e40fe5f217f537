"""The optimizers by name, and what each keeps between its steps.

Their formulas stand in kernels/reference.py (NumPy), kernels/optimizers.h (the kernels) and kernels/pytorch/rules.py.
"""

import numpy as np

SLOTS = {  # optimizer -> what it keeps for every weight
    "adagrad": ("sum_of_squares",),
    "adam": ("first_moment", "second_moment"),
    "rowwise_adagrad": ("sum_of_squares",),
    "sgd": (),
}
ROWWISE = ("rowwise_adagrad",)  # those that keep it once for all factors of a feature
DEGREES = {"sum_of_squares": 2, "first_moment": 1, "second_moment": 2}  # the power of a gradient that a slot is of
BETA1, BETA2 = 0.9, 0.999  # of adam
UPDATES = "adam.updates"
SQUARES = ("sum_of_squares", "second_moment")  # slots that are never negative
SUMS = "sum_of_squares"  # the slot that grows by every gradient, where others are means
COUNTED = 2**53  # mini-batches at most: what a float64 counts exactly


def state_name(slot, group):
    """The name under which a model keeps one slot of one group of weights."""
    return f"{slot}.{group}"


def slot_shape(optimizer, weights):
    """The shape of each slot for an array of weights: as they, or one number for each row of them."""
    return (len(weights), 1) if optimizer in ROWWISE and weights.ndim > 1 else weights.shape


def updates_state(optimizer, updates):
    """What a model's state holds of the mini-batches trained so far: int64 (1,) for adam, else nothing."""
    return {UPDATES: np.array([updates], np.int64)} if optimizer == "adam" else {}


def updates_in(state):
    """The mini-batches trained so far, by a model's state; 0 where it does not say."""
    return int(state[UPDATES][0]) if UPDATES in state else 0
