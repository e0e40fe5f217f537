"""A family that a program may register and whose score depends on the field of each non-zero."""

from scipy.sparse import csr_matrix

from fmcore.families import FAMILIES, Family, Tensor


class Fielded(Family):
    """y = sum of (1 + field) w x."""

    name, kernel, needs_fields = "fielded", None, True
    tensors = (Tensor("linear", "linear", lambda _h, d: (d,)),)

    def _weighted(self, X, fields):
        return csr_matrix((X.data * (1 + fields), X.indices, X.indptr), X.shape)

    def score(self, X, weights, fields):
        """See `Family`."""
        return self._weighted(X, fields) @ weights["linear"]

    def gradient(self, X, weights, outer, fields):
        """See `Family`."""
        return {"linear": self._weighted(X, fields).T @ outer}


def register():
    """Make it a choice of the hyperparameter `family` in this process."""
    FAMILIES[Fielded.name] = Fielded()
