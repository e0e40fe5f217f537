"""A mini-batch of a factorization machine and adam's step, in plain loops over rows and weights, from the formulas."""

import math

import numpy as np

GROUPS = ("bias", "linear", "factors")
SLOTS = ("first_moment", "second_moment")


def plain_adam(model, batch, size, steps):
    """Train on mini-batches of `size` rows; steps: (mini-batch, factor of the learning rates) one after the other.

    Returns by (group, place...): the weights, and pairs of moments and the number of steps of the weights that were stepped.
    """
    h = model.hyperparameters
    weights, moments, moves = weights_of(model), {}, {}
    for t, (m, lr_factor) in enumerate(steps, 1):
        rows = range(m * size, min((m + 1) * size, len(batch)))
        for place, g in gradients(weights, batch, rows, h).items():
            group = place[0]
            first, second = moments.get(place, (0.0, 0.0))
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            lr = lr_factor * getattr(h, f"{group}_lr") * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            weights[place] -= lr * first / (math.sqrt(second) + h.eps)
            moments[place], moves[place] = (first, second), moves.get(place, 0) + 1
    return weights, moments, moves


def weights_of(model):
    """Return the weights by (group, place...)."""
    weights = {("bias", 0): float(model.bias[0])}
    weights |= {("linear", i): float(w) for i, w in enumerate(model.linear)}
    return weights | {
        ("factors", i, f): float(model.factors[i, f])
        for i in range(model.feature_dim)
        for f in range(model.num_factors)
    }


def gradients(weights, batch, rows, h):
    """Return place -> the mini-batch's gradient for each weight that it updates, with decay and clipped."""
    found = {}
    for place, gradient in summed_gradients(weights, batch, rows, h).items():
        if getattr(h, f"use_{place[0]}", True):
            g = gradient * (h.rescale_grad or 1 / len(rows)) + getattr(h, f"{place[0]}_wd") * weights[place]
            limit = np.inf if h.clip_gradient is None else h.clip_gradient
            found[place] = max(-limit, min(limit, g))
    return found


def summed_gradients(weights, batch, rows, h):
    """Return place -> the sum of the rows' gradients, for the bias and every weight of a feature in a row."""
    found = {("bias", 0): 0.0}
    for r in rows:
        row = features_of(batch, r)
        label, weight = float(batch.labels[r]), 1.0 if batch.weights is None else float(batch.weights[r])
        raw = score(weights, row, h.num_factors)
        outer = weight * (1 / (1 + math.exp(-raw)) - label if h.predictor_type == "binary_classifier" else raw - label)
        found["bias", 0] += outer
        for i, x in row.items():
            found["linear", i] = found.get(("linear", i), 0.0) + outer * x
            for f in range(h.num_factors):
                others = sum(weights["factors", j, f] * y for j, y in row.items() if j != i)
                found["factors", i, f] = found.get(("factors", i, f), 0.0) + outer * x * others
    return found


def score(weights, row, num_factors):
    """Return y(x) by the double sum of the definition; row: feature -> value."""
    pairs = ((i, j) for i in row for j in row if i < j)
    products = (
        row[i] * row[j] * sum(weights["factors", i, f] * weights["factors", j, f] for f in range(num_factors))
        for i, j in pairs
    )
    return weights["bias", 0] + sum(weights["linear", i] * x for i, x in row.items()) + sum(products)


def features_of(batch, r):
    """Return feature -> value of row r."""
    return {
        int(batch.indices[j]): 1.0 if batch.values is None else float(batch.values[j])
        for j in range(batch.indptr[r], batch.indptr[r + 1])
    }


def assert_equal(model, weights, moments):
    """Assert that a model holds these weights, and its state these moments, each on its tensor's own scale."""
    for group in GROUPS:
        tensors = {group: {place: w for place, w in weights.items() if place[0] == group}}
        for number, slot in enumerate(SLOTS):
            tensors[f"state.{slot}.{group}"] = {p: both[number] for p, both in moments.items() if p[0] == group}
        for name, numbers in tensors.items():
            tensor = model.tensors()[name]
            expected = np.zeros(tensor.shape)
            for place, number in numbers.items():
                expected[place[1:]] = number
            np.testing.assert_allclose(tensor, expected, rtol=5e-4, atol=5e-5 * np.abs(expected).max(), err_msg=name)
