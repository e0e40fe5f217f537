"""SageMaker's contract, section 9: model archives that users bring, judged by MXNet."""

import gzip
import json
import tarfile
import zipfile

import numpy as np
import pytest
from archives import (
    DENSE,
    GOLDEN,
    NONE,
    PARAMS,
    PLAIN,
    SPARSE,
    dense,
    entry,
    loaded,
    members_of,
    params,
    refused,
    row_sparse,
    tarred,
    zipped,
)

from fmcore.errors import UsageError
from fmcore.model.archive import network

ANSWERS = json.loads((GOLDEN / "scores.json").read_text())
ROWS = "".join("0 " + " ".join(f"{i}:{x}" for i, x in enumerate(row) if x) + "\n" for row in ANSWERS["rows"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (SPARSE, "binary_classifier, feature_dim 7, num_factors 3, from a sparse network\n"),
        (DENSE, "regressor, feature_dim 7, num_factors 3, from a dense network\n"),
    ],
)
def test_scores_of_an_imported_archive_are_those_of_mxnet(fm, name, said):
    assert fm("import", GOLDEN / f"{name}.tar.gz", "-o", "x.fm").err == said
    scores = fm("predict", "x.fm", "-", stdin=ROWS).out.split()
    np.testing.assert_allclose([float(score) for score in scores], ANSWERS["scores"][name], rtol=1e-5)
    shown = fm("eval", "x.fm", "-", stdin=ROWS.replace("0 ", "-1 ") if name == SPARSE else ROWS).out
    assert "rows: 4\n" in shown
    assert "feature_dim 7, num_factors 3" in fm("inspect", "x.fm", "--verify").out
    assert fm("import", GOLDEN / f"{name}.tar.gz", "-o", "y.fm", "--quiet").err == ""
    assert fm.read("x.fm") == fm.read("y.fm")


def test_absent_rows_of_a_row_sparse_array_are_zero():
    model = network.load(GOLDEN / f"{SPARSE}.tar.gz")
    assert np.flatnonzero(model.linear).tolist() == [0, 1, 4, 6]
    assert np.flatnonzero(model.factors.any(axis=1)).tolist() == [0, 1, 4, 6]
    assert model.info["imported"] == {"network": "sparse", "ignored": []}


def test_meta_json_gives_the_hyperparameters():
    h = network.load(GOLDEN / f"{SPARSE}.tar.gz").hyperparameters
    assert (h.feature_dim, h.num_factors, h.epochs, h.mini_batch_size, h.factors_lr) == (7, 3, 4, 100, 0.001)


def test_arrays_of_older_mxnet_versions_are_read(fm):
    model = network.load(GOLDEN / "older.params", predictor_type="regressor")
    newer = network.load(GOLDEN / f"{DENSE}.tar.gz")
    for name, array in newer.tensors().items():
        assert np.array_equal(model.tensors()[name], array)
    said = fm("import", GOLDEN / "older.params", "-o", "x.fm", code=2).err
    assert said.endswith(" states no predictor type; set --predictor-type binary_classifier or regressor\n")
    assert fm.files() == []


def test_an_archive_is_read_in_every_packing(tmp_path, path):
    members = members_of(SPARSE)
    inner, folder = zipped(members), tmp_path / "folder"
    folder.mkdir()
    for name, data in members.items():
        (folder / name).write_bytes(data)
    expected = network.load(GOLDEN / f"{SPARSE}.tar.gz").tensors()
    ways = [
        inner,
        zipped(members, zipfile.ZIP_STORED),
        tarred(("model_algo-1", inner)),
        tarred(*members.items()),
        gzip.compress(tarred(("./model_algo-1", inner), form=tarfile.GNU_FORMAT)),
        tarred(entry("deep", tarfile.DIRTYPE), ("deep/._model_algo-1", b"mac"), ("deep/model_algo-1", inner)),
        zipped({"model-0000.params": members["params"], "model-symbol.json": members["symbol.json"]}),
        tarred(*members.items(), form=tarfile.USTAR_FORMAT),
    ]
    for model in (*(loaded(path, data, None) for data in ways), network.load(folder)):
        assert all(np.array_equal(array, expected[name]) for name, array in model.tensors().items())
    for name in members:
        (folder / name).unlink()
    (folder / "model_algo-1").write_bytes(inner)
    assert network.load(folder).feature_dim == 7


@pytest.mark.parametrize(("kind", "dtype"), [("f8", 1), ("f2", 2)])
def test_arrays_of_other_float_widths_are_read(path, kind, dtype):
    arrays = {name: dense(array.astype(kind), dtype=dtype) for name, array in PLAIN.items()}
    assert np.array_equal(loaded(path, params(arrays)).factors, PLAIN["v"])
    assert "linear[0] is " in refused(path, params({**PLAIN, "w1_weight": dense(np.full((4, 1), 1e300), dtype=1)}))


def test_unrelated_arrays_of_an_archive_are_ignored_and_named(fm):
    extra = {
        "moments": dense(np.zeros(5, np.int32), dtype=4),
        "none": NONE,
        "large": row_sparse((2**31 - 1, 1000), [], np.empty((0, 1000))),
    }
    fm.write("x", params({**PLAIN, **extra}, names=[*PLAIN, "moments", "none", b"aux:large"]))
    said = fm("import", "x", "-o", "x.fm", "--predictor-type", "regressor").err
    assert said.endswith("note: arrays ignored, as they are no parameter: large, moments, none\n")


def symbol(*operators):
    return json.dumps(
        {
            "nodes": [
                {"op": op, "name": op, **({"attrs": {"act_type": act}} if act else {})}
                for op, _, act in (text.partition(" ") for text in operators)
            ]
        }
    ).encode()


@pytest.mark.parametrize(
    ("operators", "stated", "expected"),
    [
        (["null", "LogisticRegressionOutput"], None, "binary_classifier"),
        (["sigmoid"], None, "binary_classifier"),
        (["Activation sigmoid"], None, "binary_classifier"),
        (["LinearRegressionOutput"], None, "regressor"),
        (["Activation relu"], "regressor", "regressor"),
        ([], "binary_classifier", "binary_classifier"),
        (["LinearRegressionOutput"], "regressor", "regressor"),
        (["LinearRegressionOutput"], "both", "regressor"),
    ],
)
def test_the_predictor_type_is_found_in_meta_json_or_symbol_json(path, operators, stated, expected):
    meta = json.dumps({"training_parameters": {"predictor_type": stated} if stated else None})
    data = zipped({"params": PARAMS, "symbol.json": symbol(*operators), "meta.json": meta})
    assert loaded(path, data, None).hyperparameters.predictor_type == expected
    other = "regressor" if expected == "binary_classifier" else "binary_classifier"
    assert loaded(path, data, other).hyperparameters.predictor_type == other


def test_a_missing_or_contradictory_predictor_type_is_refused(path):
    for text in (
        b"{}",
        b'{"nodes": 1}',
        b'{"nodes": [1, {}, {"op": []}, {"op": "Activation", "attrs": 1}]}',
        symbol("Activation relu"),
    ):
        with pytest.raises(UsageError, match="states no predictor type; set --predictor-type"):
            loaded(path, zipped({"params": PARAMS, "symbol.json": text}), None)
    both = zipped(
        {
            "params": PARAMS,
            "symbol.json": symbol("sigmoid"),
            "meta.json": '{"training_parameters": {"predictor_type": "regressor"}}',
        }
    )
    assert "choose one with --predictor-type" in refused(path, both, predictor_type=None)
    assert loaded(path, both).hyperparameters.predictor_type == "regressor"


def test_hyperparameters_of_an_archive_that_are_invalid_here_are_left_out(path):
    stated = {
        "epochs": "-3",
        "eps": float("nan"),
        "bias_init_value": 3,
        "factors_init_method": "uniform",
        "factors_init_scale": "0.5",
        "factors_init_sigma": 1,
        "clip_gradient": 10**400,
        "no_such": 1,
        "seed": [1],
    }
    h = loaded(
        path, zipped({"params": PARAMS, "meta.json": json.dumps({"training_parameters": stated})})
    ).hyperparameters
    assert (h.init("factors"), h.seed, h.clip_gradient) == (("uniform", 0.5), 0, None)
    meta = json.dumps({"training_parameters": {"feature_dim": "5"}})
    assert refused(path, zipped({"params": PARAMS, "meta.json": meta})) == (
        "meta.json states feature_dim 5, but the arrays have 4"
    )
