"""`fm export`: weights that read back as the same numbers, vectors that rank as the model does."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from encoders import feature_names
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rows import small_model
from shell import TABLE_OPTIONS, TRAIN_TABLE, records

from fmcore.errors import UsageError
from fmcore.io import _format
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources import source as sources
from fmcore.kernels import backend_for
from fmcore.model import file as modelfile
from fmcore.model.export import Selection, parse_range, vectors, weights
from fmcore.model.model import Model
from fmcore.rows.batch import Batch

ENTRIES = [("age", None), ("city", "Rome"), ("city", 'New "York", NY'), ("site", "a\nb")]


def table(text):
    """Return rows of CSV as lists of texts."""
    return list(csv.reader(io.StringIO(text.decode() if isinstance(text, bytes) else text)))


def exported(model, to, entries=None):
    return b"".join(weights(model, to, None if entries is None else feature_names(entries)))


def chosen(model, to, role="items", span=(None, None), column=None, entries=None):
    names = None if entries is None else feature_names(entries)
    return b"".join(vectors(model, Selection(role, span if column is None else None, column), to, names))


# ------------------------------------------------------------------------------------------------------- weights
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_read_back_as_the_same_float32(numbers):
    lines = _format.rows(numbers, b"<", b" ", b">\n", [b"%d" % i for i in range(len(numbers))]).splitlines()
    assert [line.split(b"<")[0] for line in lines] == [b"%d" % i for i in range(len(numbers))]
    found = [[np.float32(text) for text in line[:-1].split(b"<")[1].split(b" ")] for line in lines]
    assert np.array_equal(np.array(found, np.float32).reshape(numbers.shape), numbers)
    assert np.array_equal(
        np.array(json.loads(b"[" + _format.rows(numbers.reshape(1, -1), b"", b",", b"") + b"]"), np.float32),
        numbers.reshape(-1),
    )


@pytest.mark.parametrize(("feature_dim", "num_factors"), [(1, 1), (30, 5), (70_000, 2), (3, 40_000)])
def test_exported_weights_are_complete(feature_dim, num_factors):
    model = small_model(feature_dim=feature_dim, num_factors=num_factors)
    whole = json.loads(exported(model, "json"))
    assert (whole["feature_dim"], whole["num_factors"]) == (feature_dim, num_factors)
    assert whole["hyperparameters"] == model.hyperparameters.as_dict()
    head, bias, *lines = table(exported(model, "csv"))
    assert head == ["index", "linear", *(f"v{i}" for i in range(num_factors))]
    assert (bias[0], bias[2:]) == ("bias", [""] * num_factors)
    assert [line[0] for line in lines] == list(map(str, range(feature_dim)))
    numbers = np.array([line[1:] for line in lines], np.float32)
    for linear, factors, first in (
        (whole["linear"], whole["factors"], whole["bias"]),
        (numbers[:, 0], numbers[:, 1:], bias[1]),
    ):
        assert np.float32(first) == model.bias[0]
        assert np.array_equal(np.array(linear, np.float32), model.linear)
        assert np.array_equal(np.array(factors, np.float32), model.factors)


def test_pieces_are_small_whatever_the_size_of_the_model():
    model = small_model(feature_dim=200_000, num_factors=3)
    for pieces in (weights(model, "json"), weights(model, "csv"), vectors(model, Selection("items", (0, None)), "csv")):
        assert max(map(len, pieces)) < 4 << 20


def test_exported_weights_have_the_names_of_a_vocabulary():
    model = small_model(feature_dim=5, num_factors=2)
    assert json.loads(exported(model, "json", ENTRIES))["names"] == [list(entry) for entry in ENTRIES]
    head, bias, *lines = table(exported(model, "csv", ENTRIES))
    assert head == ["index", "column", "value", "linear", "v0", "v1"]
    assert bias == ["bias", "", "", bias[3], "", ""]
    assert [tuple(line[1:3]) for line in lines] == [(name, value or "") for name, value in ENTRIES] + [("", "")]


# ------------------------------------------------------------------------------------------------------- vectors
@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
def test_dot_products_rank_items_for_a_user_as_the_model_does(predictor_type):
    model = small_model(predictor_type, feature_dim=40, num_factors=6)
    users, items = range(15), range(15, 40)

    def numbers(role, span):
        return np.array([line[1:] for line in table(chosen(model, "csv", role, span))[1:]], np.float64)

    products = numbers("users", (None, 15)) @ numbers("items", (15, None)).T
    pairs = np.array([(user, item) for user in users for item in items], np.int32).reshape(-1)
    batch = Batch(np.arange(0, len(pairs) + 1, 2), pairs, None, np.zeros(len(pairs) // 2, np.float32))
    scores = backend_for("cpu", 1).score(batch, model).reshape(len(users), len(items))
    assert np.array_equal(np.argsort(products), np.argsort(scores))
    constants = model.bias[0] + model.linear[:15]
    np.testing.assert_allclose(products + constants[:, None], scores, rtol=1e-4, atol=1e-5)


def test_every_format_of_vectors_holds_ids_and_numbers(tmp_path):
    model = small_model(feature_dim=4, num_factors=2)
    expected = np.column_stack([model.factors[1:3], model.linear[1:3]])
    head, *lines = table(chosen(model, "csv", column="city", entries=ENTRIES))
    assert head == ["id", "v0", "v1", "linear"]
    objects = [json.loads(line) for line in chosen(model, "jsonlines", span=(1, 3)).splitlines()]
    found = records(chosen(model, "recordio", span=(1, 3), entries=ENTRIES))
    tensors = [record.features["values"].float32_tensor for record in found]
    for numbers in (
        [line[1:] for line in lines],
        [each["features"] for each in objects],
        [list(tensor.values) for tensor in tensors],
    ):
        assert np.array_equal(np.array(numbers, np.float32), expected)
    assert [line[0] for line in lines] == ["Rome", 'New "York", NY']
    assert [each["id"] for each in objects] == ["1", "2"]
    assert [record.uid for record in found] == ["city=Rome", 'city=New "York", NY']
    assert [list(record.label["values"].float32_tensor.values) for record in found] == [[1], [2]]
    assert all(not tensor.keys and not tensor.shape for tensor in tensors)
    (tmp_path / "items.rec").write_bytes(chosen(model, "recordio", span=(1, 3)))
    (batch,) = read_batches(sources.find([str(tmp_path / "items.rec")]), ReadOptions(), Report())
    assert (batch.labels.tolist(), batch.ids, batch.feature_dim) == ([1, 2], ["1", "2"], 3)
    assert np.array_equal(batch.values.reshape(2, 3), expected)


def test_vectors_of_users_end_with_one_and_have_no_label():
    model = small_model(feature_dim=4, num_factors=2)
    head, *lines = table(chosen(model, "csv", "users"))
    assert head == ["id", "v0", "v1", "one"]
    assert [line[3] for line in lines] == ["1"] * 4
    assert all(not record.label for record in records(chosen(model, "recordio", "users")))


def test_a_label_holds_no_index_beyond_the_integers_of_float32():
    d = (1 << 24) + 2
    small = small_model(feature_dim=1, num_factors=1)
    model = Model(
        small.hyperparameters,
        {
            "bias": small.bias,
            "linear": np.broadcast_to(small.linear, d),
            "factors": np.broadcast_to(small.factors, (d, 1)),
        },
    )
    assert len(records(chosen(model, "recordio", span=(d - 3, d - 1)))) == 2
    assert len(records(chosen(model, "recordio", "users", (d - 3, d)))) == 3
    with pytest.raises(UsageError, match="feature 16777217 is beyond 16777216"):
        chosen(model, "recordio", span=(d - 3, d))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3:7", (3, 7)), (":7", (None, 7)), ("3:", (3, None)), (":", (None, None)), (" 0 : 4 ", (0, 4))],
)
def test_ranges_of_indices_are_read(text, expected):
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["", "3", "-1:4", "1:2:3", "a:b", "1.0:2", "1:99999999999", "٣:٤"])
def test_texts_that_are_no_range_are_refused(text):
    with pytest.raises(UsageError, match="is not understood; expected A:B"):
        parse_range(text)


@pytest.mark.parametrize(
    ("selection", "entries", "problem"),
    [
        (Selection("items", (0, 6)), None, "range 0:6 is empty or leaves the model, whose features are 0:5"),
        (Selection("items", (3, 3)), None, "range 3:3 is empty"),
        (Selection("items", (5, None)), None, "range 5:5 is empty"),
        (
            Selection("users"),
            None,
            "which features are users? Give either a range of indices, with --range A:B, or the",
        ),
        (Selection("items", (0, 2), "city"), ENTRIES, "which features are items? Give either"),
        (Selection("items", column="city"), None, "the model does not know the features of column 'city'; name a file"),
        (
            Selection("items", column="town"),
            ENTRIES,
            "no column 'town' whose features are known; those are: age, city, site",
        ),
        (Selection("items", column="town"), [], "those are: none"),
        (
            Selection("items", column="x"),
            [*ENTRIES, ("x", "1"), ("x", "2")],
            "column 'x' has feature 5, but the model's",
        ),
        (Selection("both", (0, 1)), None, "role is 'both'; expected one of items, users"),
    ],
)
def test_selections_that_do_not_fit_the_model_are_refused(selection, entries, problem):
    with pytest.raises(UsageError) as raised:
        vectors(small_model(feature_dim=5), selection, "csv", None if entries is None else feature_names(entries))
    assert problem in str(raised.value)


# --------------------------------------------------------------------------------------------------- the command
def test_export_writes_weights_from_the_shell(fm, world):
    model = modelfile.load(world.classifier)
    assert fm("export", world.classifier, binary=True).out == exported(model, "json")
    fm("export", world.classifier, "--to", "csv", "-o", "w.csv.gz")
    assert gzip.decompress(fm.read("w.csv.gz")) == exported(model, "csv")


def test_vectors_of_a_column_whose_values_the_model_knows(fm, tmp_path):
    fm.write("train.csv", TRAIN_TABLE)
    fm(
        "train",
        "train.csv",
        *TABLE_OPTIONS,
        "--vocabulary",
        "v.tsv",
        "--predictor-type",
        "binary_classifier",
        "--buckets",
        "none",
        "-o",
        "x.fm",
    )
    out = fm("export", "x.fm", "--vectors", "items", "--column", "city").out
    assert [line[0] for line in table(out)] == ["id", "Rome", "Oslo"]
    assert out == fm("export", "x.fm", "--vectors", "items", "--column", "city", "--vocabulary", "v.tsv").out
    out = fm("export", "x.fm", "--vectors", "users", "--column", "age").out
    assert [line[0] for line in table(out)] == ["id", "age"]
    out = fm("export", "x.fm", "--to", "csv", "--vocabulary", "v.tsv").out
    assert [line[1:3] for line in table(out)] == [
        ["column", "value"],
        ["", ""],
        ["age", ""],
        ["city", "Rome"],
        ["city", "Oslo"],
    ]
    (tmp_path / "v.tsv").unlink()
    assert out == fm("export", "x.fm", "--to", "csv").out  # as the model knows them
    printed = fm("export", "x.fm", "--to", "csv", "--vocabulary", "v.tsv", "-o", "out.csv", code=3).err
    assert printed == "fm: v.tsv: cannot be read: No such file or directory\n"
    assert fm.files() == ["train.csv", "x.fm"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vectors", "items"), "fm: which features are items? Give either a range"),
        (
            ("--vectors", "items", "--range", "5:99"),
            "fm: range 5:99 is empty or leaves the model, whose features are 0:20",
        ),
        (("--vectors", "items", "--range", "5"), "Error: Invalid value for '--range': range '5' is not understood"),
        (("--vectors", "items", "--column", "city"), "fm: the model does not know the features of column 'city'"),
        (("--vectors", "movies", "--range", ":"), "Error: Invalid value for '--vectors': 'movies' is not one of"),
        (
            ("--vectors", "items", "--range", ":", "--to", "json"),
            "fm: format of vectors is 'json'; expected one of csv, ",
        ),
        (("--to", "recordio"), "fm: format of weights is 'recordio'; expected one of json, csv"),
        (("--range", ":3"), "Error: --range and --column choose whose vectors are written; give --vectors as well"),
        (("--column", "city"), "Error: --range and --column choose whose vectors are written"),
    ],
)
def test_wrong_usage_of_export_is_refused(fm, world, options, message):
    fm.write("out", b"old")
    assert message in fm("export", world.classifier, *options, "-o", "out", code=2).err
    assert fm.read("out") == b"old"


def test_export_refuses_a_vocabulary_of_another_model_and_what_is_none(fm, world):
    fm.write("v.tsv", "index\tcolumn\tvalue\n" + "".join(f"{i}\tx\t{i}\n" for i in range(21)))
    printed = fm("export", world.classifier, "--vocabulary", "v.tsv", code=2).err
    assert printed.startswith("fm: the vocabulary has 21 features, but the model 20; expected the one")
    fm.write("v.tsv", "1 0:1\n")
    assert "v.tsv, line 1: not a vocabulary" in fm("export", world.classifier, "--vocabulary", "v.tsv", code=3).err
    fm.write("x.fm", b"1 0:1\n")
    assert fm("export", "x.fm", code=4).err.startswith("fm: x.fm: ")
