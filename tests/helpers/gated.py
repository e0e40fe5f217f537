"""A family that a program may register: factors of two kinds, a gate a feature, and a matrix that mixes them.

    y = b + sum over f, h of a_f M_fh c_h,   a = sum of x_i g_i v_i0,   c = sum of x_i v_i1

It has what fm has not: a tensor of three axes, a matrix that is of no feature, and a tensor per feature whose weights do
not follow the scale of their feature.
"""

from fmcore.families import FAMILIES, Family, Tensor


class Gated(Family):
    """The family described above; weights start at random (factors, mix), or as linear weights do (gate)."""

    name = "gated"
    kernel = None
    needs_fields = False
    tensors = (
        Tensor("bias", "bias", lambda _h, _d: (1,), per_feature=False),
        Tensor("mix", "factors", lambda h, _d: (h.num_factors, h.num_factors), per_feature=False),
        Tensor("gate", "linear", lambda _h, d: (d,), scaled=False),
        Tensor("pairs", "factors", lambda h, d: (d, 2, h.num_factors)),
    )

    def score(self, X, weights):
        """Return raw scores; see `Family`."""
        a, c = _sums(X, weights)
        return weights["bias"] + ((a @ weights["mix"]) * c).sum(1)

    def gradient(self, X, weights, outer):
        """Return gradients by the names of tensors; see `Family`."""
        a, c = _sums(X, weights)
        by_a = X.T @ (outer[:, None] * (c @ weights["mix"].T))
        by_c = X.T @ (outer[:, None] * (a @ weights["mix"]))
        pairs = weights["pairs"].copy()
        pairs[:, 0], pairs[:, 1] = weights["gate"][:, None] * by_a, by_c
        return {
            "bias": outer.sum(keepdims=True),
            "mix": (outer[:, None] * a).T @ c,
            "gate": (weights["pairs"][:, 0] * by_a).sum(1),
            "pairs": pairs,
        }


def register():
    """Make this family a choice of the hyperparameter `family` in this process."""
    FAMILIES[Gated.name] = Gated()


def shapes(family, hyperparameters, feature_dim):
    """Return the shape of each tensor by its name."""
    return {tensor.name: tensor.shape(hyperparameters, feature_dim) for tensor in family.tensors}


def _sums(X, weights):
    return X @ (weights["gate"][:, None] * weights["pairs"][:, 0]), X @ weights["pairs"][:, 1]
