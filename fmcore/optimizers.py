"""The optimizers by name, and what each keeps for every weight between its steps.

Their formulas stand in backends/reference.py (NumPy) and backends/rules.h (the kernels).
"""

SLOTS = {
    "adagrad": ("sum_of_squares",),
    "sgd": (),
}


def state_name(slot, group):
    """The name under which a model keeps one slot of one group of weights."""
    return f"{slot}.{group}"
