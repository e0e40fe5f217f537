"""Small models with every part filled in; golden files hold them, which `fmcore.model.file.save` once wrote."""

from copy import deepcopy

import numpy as np

from fmcore.hyper.params import Hyperparameters
from fmcore.model.model import Model
from fmcore.schema.columns import Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Listed
from fmcore.schema.schema import Schema

# Spelled out in full, so that the golden model stays the same where a default changes.
HYPERPARAMETERS = {
    "predictor_type": "binary_classifier",
    "feature_dim": 5,
    "num_factors": 3,
    "epochs": 7,
    "mini_batch_size": 256,
    "shuffle": False,
    "seed": 42,
    "early_stopping_patience": 2,
    "optimizer": "adagrad",
    "bias_lr": 0.5,
    "linear_lr": 0.25,
    "factors_lr": 0.1,
    "bias_wd": 0.0,
    "linear_wd": 0.001,
    "factors_wd": 1e-05,
    "clip_gradient": 10.0,
    "eps": 1e-08,
    "rescale_grad": None,
    "bias_init_method": "constant",
    "bias_init_sigma": None,
    "bias_init_scale": None,
    "bias_init_value": 0.5,
    "linear_init_method": "uniform",
    "linear_init_sigma": None,
    "linear_init_scale": 0.125,
    "linear_init_value": None,
    "factors_init_method": "normal",
    "factors_init_sigma": 0.01,
    "factors_init_scale": None,
    "factors_init_value": None,
}
INFO = {"epochs": 3, "rows": 1000, "metrics": {"test": {"logloss": 0.25, "auc": None}}, "names": ["Zürich", 'a"b\\c']}


def small_model():
    """Return a model of 5 features and 3 factors; its arrays are new at each call."""
    return Model(
        Hyperparameters.from_dict(HYPERPARAMETERS),
        {
            "bias": np.array([-1.5], np.float32),
            "linear": np.array([0, 1, -2.5, 3e38, 1e-45], np.float32),
            "factors": np.arange(15, dtype=np.float32).reshape(5, 3) / 7,
        },
        state={
            "adagrad.linear": np.array([0, 1, 2, 3, 4], np.float32),
            "adagrad.bias": np.ones(1, np.float32),
            "updates": np.array(12, np.int64),
            "sums": np.array([[0.1, 0.2]], np.float64),
        },
        info=deepcopy(INFO),
    )


COLUMNS = (
    Column("id", "id"),
    Column("age", "numeric"),
    Column("pay", "log"),
    Column("when", "date"),
    Column("city", "categorical"),
    Column("tags", "list", "|", mean=True),
    Column("note", "ignored"),
    Column("y", "label"),
)
VALUES = (("city", "Zürich"), ("tags", "a"), ("city", "Oslo, NO"), ("tags", "b"))
READ = {
    "index_base": "0",
    "binary": True,
    "positive": "yes",
    "table": {
        "delimiter": None,
        "quotes": True,
        "missing": "zero",
        "missing_values": ["?", "NA"],
        "canonical": True,
        "min_count": 2,
        "hash_bits": None,
    },
}


def schema_model():
    """Return a model of a table with columns of all kinds; the golden file of version 2 holds it."""
    values = Listed()
    for column, value in VALUES:
        values.add(column, value)
    encoder = Encoder(values, COLUMNS)
    encoder.seen = {"age": {"missing": 1, "min": -2.0, "max": 99.5}, "pay": {"missing": 0}}
    return Model(
        Hyperparameters.from_dict({**HYPERPARAMETERS, "feature_dim": 13}),
        {
            "bias": np.array([0.5], np.float32),
            "linear": np.arange(13, dtype=np.float32) / 8 - 1,
            "factors": np.arange(39, dtype=np.float32).reshape(13, 3) / 32,
        },
        state={"adagrad.linear": np.arange(13, dtype=np.float32)},
        info={**deepcopy(INFO), "epochs": [], "input": deepcopy(READ)},
        schema=Schema.of(encoder, label={"positive": "yes"}, min_count=2),
    )
