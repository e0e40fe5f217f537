"""The parameters of a model as one matrix on a device, with the optimizer's state beside it."""

import numpy as np

from fmcore.hyper.groups import GROUPS
from fmcore.kernels.pytorch import places
from fmcore.kernels.pytorch.library import torch
from fmcore.model.model import Model
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import ROWS, VARIANCE, slot_name

FLOAT, LANE, LINE = 4, 4, 8  # bytes; floats that columns and rows are padded to, for faster products of matrices
BY_ROWS = 28  # numbers of each feature that penalties by rows keep or need in a step


class DeviceTable:
    """Bias, linear weights and factors in one matrix: the bias is the weight of a feature that every row holds as 1.

    weights: float32 (padded(1 + feature_dim), width). Row 0 is the bias, row 1 + i feature i, further rows are 0; of
    each row the first num_factors numbers are the factors, the next one the linear weight, the others 0. The bias has
    no factors.
    slots: the optimizer's state, float32 in the shape of the weights; of 2 columns where it keeps one number for all
    factors of a feature, before that of the linear weight.
    rates, decays: float32 in the shape of the weights, factors of each one's gradient, and of the weight within it.
    evidence: float32 (3, padded(1 + feature_dim)), how many rows each feature has, the variance of its factors, and 1;
    of the bias all rows, 0 and 0. None where penalties do not go by rows.
    """

    def __init__(self, model, device):
        h, self._like = model.hyperparameters, model
        self.num_factors, self.rows = model.num_factors, 1 + model.feature_dim
        self.weights, self.rates, self.decays = (
            torch.zeros(padded(self.rows), width(model.num_factors), device=device) for _ in range(3)
        )
        self._kept = optimizer_of(h).slots
        self.slots = {
            slot.name: torch.zeros(padded(self.rows), 2, device=device)
            if slot.per_row
            else torch.zeros_like(self.weights)
            for slot in self._kept
        }
        self.decayed = any(getattr(h, f"{group}_wd") for group in GROUPS if h.uses(group))
        for group in GROUPS:
            if h.uses(group):
                self._group(self.rates, group).fill_(getattr(h, f"{group}_lr"))
                self._group(self.decays, group).fill_(getattr(h, f"{group}_wd"))
            self._group(self.weights, group).copy_(torch.tensor(model.weights[group]))
            for slot in self._kept:
                if (kept := model.state.get(slot_name(slot, group))) is not None:
                    self._slot(slot, group).copy_(torch.tensor(kept))
        self.evidence = None
        if h.penalty == "rows":
            self.evidence = torch.zeros(3, padded(self.rows), device=device)
            self.evidence[2, 1 : self.rows] = 1
        for name, own in self._evidence():
            if (kept := model.state.get(name)) is not None:
                own.copy_(torch.tensor(kept))

    def count(self, counts, total):
        """Add Counts to the rows of each feature; total: how many rows there are then, those of the bias."""
        rows = torch.tensor(counts.rows, device=self.evidence.device)
        features = torch.tensor(counts.features, device=self.evidence.device).long()
        self.evidence[0].index_add_(0, features + 1, rows)
        self.evidence[0, 0] = total

    def factors(self):
        """Return views of the factors and of each slot of their state, (features, num_factors or 1)."""
        return [self._group(self.weights, "factors"), *(self._slot(slot, "factors") for slot in self._kept)]

    def model(self):
        """Return a Model with copies of all of it on the host; the state of a group that is not used is 0."""
        h, state = self._like.hyperparameters, {}
        for group in GROUPS:
            for slot in self._kept:
                kept = _host(self._slot(slot, group))
                state[slot_name(slot, group)] = kept if h.uses(group) else np.zeros_like(kept)
        state |= {name: _host(own) for name, own in self._evidence()}
        weights = {group: _host(self._group(self.weights, group)) for group in GROUPS}
        return Model(h, weights, state, info=dict(self._like.info))

    def _evidence(self):
        """Return (name in a model's state, view of the features) of what penalties by rows keep."""
        if self.evidence is None:
            return []
        return list(zip((ROWS, VARIANCE), self.evidence[:2, 1 : self.rows], strict=True))

    def _slot(self, slot, group):
        return self._group(self.slots[slot.name], group, 1 if slot.per_row else self.num_factors)

    def _group(self, array, group, factors=None):
        """Return the view of a matrix that belongs to a group of weights; factors: how many columns they have."""
        factors = self.num_factors if factors is None else factors
        features = slice(1, self.rows)
        return {"bias": array[:1, factors], "linear": array[features, factors], "factors": array[features, :factors]}[
            group
        ]


def width(num_factors):
    """Return the number of columns of a DeviceTable."""
    return -(-(1 + num_factors) // LANE) * LANE


def padded(rows):
    """Return a number of rows, padded: of a DeviceTable, and of columns of a matrix that it is multiplied by."""
    return -(-rows // LINE) * LINE


def table_bytes(hyperparameters, feature_dim):
    """Return how many bytes of a device a DeviceTable takes, with the gradient and the sums that a step needs."""
    slots = sum(not slot.per_row for slot in optimizer_of(hyperparameters).slots)
    columns = 4 + (BY_ROWS if hyperparameters.penalty == "rows" else 0)
    return FLOAT * padded(1 + feature_dim) * ((3 + slots + 4) * width(hyperparameters.num_factors) + columns)


def require_memory(model, device):
    """Raise ResourceError where a model's DeviceTable does not fit on the device."""
    h = model.hyperparameters
    places.require(
        device,
        table_bytes(h, model.feature_dim),
        f"training a model of feature_dim {model.feature_dim:,} and num_factors {h.num_factors} with {h.optimizer}",
        "use fewer factors (--num-factors), or --device cpu",
    )


def _host(tensor):
    return tensor.cpu().contiguous().numpy().copy()
