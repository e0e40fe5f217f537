"""The official SageMaker SDK as judge: its output is trained on, and it reads our output."""

import json

import numpy as np
import pytest
import sdk as official
from client_cases import ANSWERS, ASKED, DENSE, LABELS, REQUESTS, agree, judge, libsvm, predictions, scores
from scipy.sparse import csr_matrix

from fmcore.api import load

TRAIN = ("--predictor-type", "binary_classifier", "--epochs", 2, "--quiet")


def trained(fm, name, *options):
    """Return the bytes of the model that is trained on a file or folder."""
    fm("train", name, "-o", "model.fm", *TRAIN, *options)
    return fm.read("model.fm")


@pytest.fixture
def expected(fm):
    """Return the model of the rows as libsvm text."""
    fm.write("rows.svm", libsvm(DENSE / 4, LABELS))
    return trained(fm, "rows.svm")


def test_each_major_sdk_version_has_the_names_used_here(sdk):
    found = sdk(official.where)
    if official.version().startswith("2."):
        assert found == {
            "records": "sagemaker.serializer_utils",
            "serializers": "sagemaker.serializers",
            "deserializers": "sagemaker.deserializers",
            "local": "sagemaker.local.local_session",
        }
    else:
        assert found == {
            "records": None,
            "serializers": "sagemaker.core.serializers",
            "deserializers": "sagemaker.core.deserializers",
            "local": "sagemaker.core.local.local_session",
        }


# ------------------------------------------------------------------------------------------------ its files, read here
@pytest.mark.parametrize("label_type", ["float32", "float64", "int64"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_sdk_records_train_the_model_of_the_same_rows_as_text(fm, record_sdk, expected, form, kind, label_type):
    rows, labels = (DENSE / 4).astype(kind), LABELS.astype(label_type)
    write = {"dense": official.write_dense, "sparse": official.write_sparse}[form]
    fm.write("rows.rec", record_sdk(write, rows if form == "dense" else csr_matrix(rows), labels))
    assert trained(fm, "rows.rec") == expected


@pytest.mark.parametrize("write", [official.write_dense, official.write_sparse])
def test_sdk_integer_records_train_the_model_of_the_same_rows_as_text(fm, record_sdk, write):
    fm.write("rows.svm", libsvm(DENSE, LABELS))
    fm.write("rows.rec", record_sdk(write, DENSE if write is official.write_dense else csr_matrix(DENSE), LABELS))
    assert trained(fm, "rows.rec") == trained(fm, "rows.svm")


@pytest.mark.parametrize("shards", [1, 3, 11])
def test_a_channel_uploaded_by_the_sdk_is_read(fm, record_sdk, expected, shards):
    channel = fm.folder / "train"
    channel.mkdir()
    manifest = record_sdk(official.upload, str(channel), shards, (DENSE / 4).astype(np.float32), LABELS)
    assert manifest == "s3://bucket/channel/.amazon.manifest"
    assert len(list(channel.glob("matrix_*.pbr"))) == shards
    assert trained(fm, "train") == expected
    said = fm("train", "train/.amazon.manifest", "-o", "other.fm", *TRAIN, code=3).err
    assert "s3://bucket/channel/ is on S3, which cannot be read directly" in said
    entries = json.loads((channel / ".amazon.manifest").read_text())
    (channel / ".amazon.manifest").write_text(json.dumps([{"prefix": ""}, *entries[1:]]))
    assert trained(fm, "train/.amazon.manifest") == expected


def test_sdk_records_without_labels_are_scored(fm, record_sdk, models):
    rows = (DENSE / 4).astype(np.float32)
    fm.write("rows.svm", libsvm(rows, LABELS))
    scores = fm("predict", models / "binary_classifier.fm", "rows.svm").out
    for name, data in (
        ("dense", record_sdk(official.write_dense, rows)),
        ("sparse", record_sdk(official.write_sparse, csr_matrix(rows))),
    ):
        fm.write(f"{name}.rec", data)
        assert fm("predict", models / "binary_classifier.fm", f"{name}.rec").out == scores


@pytest.mark.parametrize(
    ("mini_batch_size", "given"),
    [
        (None, {}),
        (
            100,
            {
                "epochs": 3,
                "clip_gradient": 1.5,
                "eps": 1e-7,
                "rescale_grad": 0.005,
                "bias_lr": 0.2,
                "linear_lr": 1e-3,
                "factors_lr": 1e-4,
                "bias_wd": 0.01,
                "linear_wd": 1e-3,
                "factors_wd": 1e-5,
                "bias_init_method": "normal",
                "bias_init_sigma": 0.01,
                "linear_init_method": "uniform",
                "linear_init_scale": 0.1,
                "factors_init_method": "constant",
                "factors_init_value": 0.5,
            },
        ),
    ],
)
def test_the_hyperparameters_of_the_sdk_estimator_are_accepted(fm, record_sdk, mini_batch_size, given):
    given = {"num_factors": 10, "predictor_type": "binary_classifier", **given}
    sent = record_sdk(official.hyperparameters, 12, mini_batch_size, given)
    assert sent["feature_dim"] == "12"
    fm.write("hyperparameters.json", json.dumps(sent))
    fm.write("rows.svm", libsvm(DENSE / 4, LABELS))
    fm("train", "rows.svm", "--preset", "sagemaker", "--hyperparameters", "hyperparameters.json", "-o", "m.fm", "-q")
    used = load(fm.folder / "m.fm").hyperparameters.as_dict()
    assert {name: used[name] for name in given} == given
    assert (used["feature_dim"], used["mini_batch_size"], used["optimizer"]) == (12, mini_batch_size or 1000, "adam")


# ------------------------------------------------------------------------------------------------ our files, read there
def test_the_sdk_reads_our_records(fm, record_sdk):
    fm.write("rows.svm", libsvm(DENSE / 4, LABELS))
    fm("convert", "rows.svm", "-o", "rows.rec", "-q")
    found = record_sdk(official.read, fm.read("rows.rec"))
    assert found == [
        {
            "features": {
                "values": ("float32_tensor", (row[row != 0] / 4).tolist(), np.flatnonzero(row).tolist(), [12])
            },
            "label": {"values": ("float32_tensor", [label], [], [])},
        }
        for row, label in zip(DENSE, LABELS, strict=True)
    ]


def test_the_sdk_reads_ids_weights_and_rows_without_label(fm, record_sdk):
    fm.write("rows.csv", "name,y,w,a\nrow 1,1,0.5,2.5\nÖ,,1,0\n")
    columns = ("--label-column", "y", "--weight-column", "w", "--id-column", "name")
    fm("convert", "rows.csv", "-o", "rows.rec", "--feature-dim", 7, *columns, "-q")
    first, second = record_sdk(official.read, fm.read("rows.rec"))
    assert first == {
        "features": {"values": ("float32_tensor", [2.5], [0], [7])},
        "uid": "row 1",
        "label": {"values": ("float32_tensor", [1], [], []), "weight": ("float32_tensor", [0.5], [], [])},
    }
    assert (second["uid"], second["features"]["values"]) == ("Ö", ("float32_tensor", [], [], [7]))


def test_records_written_by_the_sdk_round_trip(fm, record_sdk):
    matrix = csr_matrix((DENSE / 4).astype(np.float32))
    data = record_sdk(official.write_sparse, matrix, LABELS.astype(np.float32))
    fm.write("theirs.rec", data)
    fm("convert", "theirs.rec", "-o", "ours.rec", "-q")
    assert record_sdk(official.read, fm.read("ours.rec")) == record_sdk(official.read, data)


# ----------------------------------------------------------------------------------------------- requests and answers
@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
@pytest.mark.parametrize("case", REQUESTS)
def test_requests_of_the_sdk_are_scored(fm, sdk, models, case, kind):
    serializer, data = REQUESTS[case]
    judge(sdk, serializer, "")
    body, _ = sdk(official.serialize, serializer, data)
    answer = fm("predict", models / f"{kind}.fm", "-", "--to", "json", stdin=body).out
    agree(predictions(json.loads(answer)), scores(models, kind))


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
@pytest.mark.parametrize("to", ANSWERS)
def test_the_sdk_reads_our_answers(fm, sdk, models, to, kind):
    judge(sdk, "", ANSWERS[to])
    rows = fm.write("rows.svm", libsvm(ASKED, LABELS[:20]))
    answer = fm("predict", models / f"{kind}.fm", rows, "--to", to, binary=True).out
    agree(predictions(sdk(official.deserialize, ANSWERS[to], answer, "any")), scores(models, kind))
