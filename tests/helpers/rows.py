"""Random rows and small helpers that several tests share."""

import shutil

import numpy as np

from fmcore.hyper.params import Hyperparameters
from fmcore.model.model import initial
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block
from fmcore.rows.evidence import Evidence
from fmcore.rows.scaling import Scaling
from fmcore.rows.sums import FeatureSums, LabelSums
from fmcore.training.evidence import add_evidence

DEVICES = ("torch:cpu", *(["cuda"] if shutil.which("nvidia-smi") else []))  # of PyTorch's, that are here
DECAYS = {"bias_wd": 0.5, "linear_wd": 3.0, "factors_wd": 1.5}
PENALTIES = {  # hyperparameters of each kind
    "batch": {},
    "rows": {"penalty": "rows", "factors_variance": 0.5, **DECAYS},
    "rows without variances": {"penalty": "rows", **DECAYS},
}


def random_rows(rows=60, feature_dim=30, seed=0, *, binary=False, weights=False, classes=True):
    """Return a Batch of rows with 0 to 8 distinct features each, the first row empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, min(9, feature_dim + 1), rows)
    lengths[0] = 0
    indices = [rng.choice(feature_dim, n, replace=False) for n in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    labels = rng.integers(0, 2, rows) if classes else rng.normal(size=rows)
    return Batch(
        indptr,
        np.concatenate(indices).astype(np.int32),
        None if binary else rng.normal(size=indptr[-1]).astype(np.float32),
        labels.astype(np.float32),
        rng.uniform(0, 2, rows).astype(np.float32) if weights else None,
    )


def as_matrix(monkeypatch):
    """Make blocks of any size and any share of non-zeros trained as a matrix."""
    monkeypatch.setattr("fmcore.kernels.prepared.NON_ZEROS", 1)
    monkeypatch.setattr("fmcore.kernels.prepared.MATRIX", np.inf)


def block_of(batch, mini_batch_size):
    """Return a Block in the rows' own order."""
    starts = np.append(np.arange(0, len(batch), mini_batch_size, dtype=np.int64), len(batch))
    return Block(batch, starts)


def small_model(predictor_type="binary_classifier", feature_dim=30, num_factors=5, **hyperparameters):
    """Return a model whose every parameter is away from 0, so that every term of the score counts."""
    chosen = {
        "bias_init_method": "constant",
        "bias_init_value": 0.3,
        "linear_init_method": "normal",
        "linear_init_sigma": 0.5,
        "factors_init_sigma": 0.5,
        **hyperparameters,
    }
    return initial(
        Hyperparameters(predictor_type=predictor_type, feature_dim=feature_dim, num_factors=num_factors, **chosen)
    )


def with_evidence(model, batch, far=()):
    """Return the model with what penalties by rows need to know about the rows it is trained on, a Batch.

    far: features that have no factors then, rising.
    """
    if model.hyperparameters.penalty == "rows":
        labels, features = LabelSums(), FeatureSums()
        labels.add(batch)
        features.add(batch)
        scaling = Scaling(far=np.array(far, np.int64))
        add_evidence(model, Evidence.of(labels, features, model.feature_dim, scaling), labels.mean)
    return model
