import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import random_rows

from fmcore.errors import UsageError
from fmcore.io.convert import (
    OUTPUT_FORMATS,
    Summary,
    counted_feature_dim,
    deal,
    fills_in_later,
    is_plain_target,
    label_text,
    shard_paths,
)
from fmcore.io.naming import output_format
from fmcore.io.predictions import WRITERS
from fmcore.rows.batch import Batch, concatenate


def labelled(labels):
    """Return rows without features."""
    return Batch(np.zeros(len(labels) + 1, np.int64), np.empty(0, np.int32), None, np.array(labels, np.float32))


@given(st.integers(1, 7), st.integers(0, 9))
def test_rows_go_to_shards_in_turn_across_batches(shards, first):
    batches = [random_rows(rows, seed=rows) for rows in (first + 1, 5, 11)]
    dealt, row = [[] for _ in range(shards)], 0
    for batch in batches:
        for parts, part in zip(dealt, deal(batch, shards, row), strict=True):
            parts.append(part)
        row += len(batch)
    joined = concatenate(batches)
    for shard, parts in enumerate(dealt):
        wanted, found = joined.take(slice(shard, None, shards)), concatenate(parts)
        for name in ("indptr", "indices", "values", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_summary_does_not_depend_on_how_rows_are_batched():
    rows = random_rows(50)
    whole, cut = Summary(), Summary()
    whole.add(rows)
    for start in range(0, 50, 7):
        cut.add(rows.take(slice(start, start + 7)))
    assert cut.as_dict() == whole.as_dict()
    assert whole.as_dict() == {
        "rows": 50,
        "non_zeros": len(rows.indices),
        "feature_dim": int(rows.indices.max()) + 1,
        "unlabelled": 0,
        "label_counts": {"0": int((rows.labels == 0).sum()), "1": int(rows.labels.sum())},
        "label_range": [0, 1],
        "value_range": [float(rows.values.min()), float(rows.values.max())],
    }


def test_a_summary_of_no_rows_unlabelled_rows_and_many_labels():
    summary = Summary()
    assert summary.as_dict() == {
        "rows": 0,
        "non_zeros": 0,
        "feature_dim": 0,
        "label_counts": {},
        "label_range": None,
        "unlabelled": 0,
        "value_range": None,
    }
    summary.add(labelled([np.nan, 2, np.nan]))
    assert (summary.unlabelled, summary.as_dict()["label_counts"]) == (2, {"2": 1})
    summary.add(labelled(range(20)))
    assert len(summary.as_dict()["label_counts"]) == 20
    summary.add(labelled([20]))
    summary.add(labelled([-3]))
    assert (summary.as_dict()["label_counts"], summary.label_range) == (None, [-3, 20])
    ones = random_rows(9, binary=True)
    summary.add(ones)
    assert summary.value_range == [1, 1]


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_different_labels_have_different_texts(one, other):
    assert np.float32(label_text(one)) == np.float32(one)
    assert (label_text(one) == label_text(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "given_format", "expected"),
    [
        ("a.svm", None, "libsvm"),
        ("a.libsvm.gz", None, "libsvm"),
        ("a.txt.zst", None, "libsvm"),
        ("a", None, "recordio"),
        ("a.rec", None, "recordio"),
        ("a.gz", None, "recordio"),
        ("A.SVM.GZ", None, "libsvm"),
        ("a.Rec", "recordio", "recordio"),
        ("a", "libsvm", "libsvm"),
        ("a.2024", None, "recordio"),
        ("-", None, "recordio"),
        ("-", "libsvm", "libsvm"),
        ("/dev/stdout", "libsvm", "libsvm"),
    ],
)
def test_output_format_follows_the_option_or_the_suffix(path, given_format, expected):
    assert output_format(path, OUTPUT_FORMATS, "recordio", given_format) == expected


@pytest.mark.parametrize("default", WRITERS)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.txt", None),
        ("a.CSV.bz2", "csv"),
        ("a.json", "json"),
        ("a.jsonl", "jsonlines"),
        ("a.ndjson", "jsonlines"),
        ("a.jsonlines", "jsonlines"),
        ("a.recordio", "recordio"),
    ],
)
def test_names_say_the_format_whatever_the_default_is(path, default, expected):
    found = output_format(path, WRITERS, default)
    assert found == (expected or ("text" if default == "recordio" else default))


@pytest.mark.parametrize(
    ("path", "given_format", "message"),
    [
        ("a.parquet", None, "a.parquet is named as .parquet, which is not written here; expected .rec, .svm, each "),
        ("a.svm.xz", None, "a.svm.xz is named as .xz, which is not written here; "),
        ("a.csv", "libsvm", "a.csv is named as .csv, which is not written here; "),
        ("a.svm", "recordio", "a.svm is named as libsvm, but --to is recordio; change one of them"),
        ("a.rec.gz", "libsvm", "a.rec.gz is named as recordio, but --to is libsvm; change one of them"),
        ("a.txt", "recordio", "a.txt is named as text, but --to is recordio; change one of them"),
    ],
)
def test_names_that_say_another_format_are_refused(path, given_format, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        output_format(path, OUTPUT_FORMATS, "recordio", given_format)


def test_shard_paths_number_the_shards():
    assert shard_paths("-", 1) == ["-"]
    assert shard_paths("out/a.rec.gz", 2) == ["out/a-00000-of-00002.rec.gz", "out/a-00001-of-00002.rec.gz"]
    assert shard_paths("/a.b/out", 2)[1] == "/a.b/out-00001-of-00002"
    with pytest.raises(UsageError, match="standard output cannot be written in several shards"):
        shard_paths("-", 2)


def test_only_plain_files_can_be_filled_in_later(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert fills_in_later([str(file), str(tmp_path / "new")])
    assert not fills_in_later([str(file), str(tmp_path / "new.gz")])
    assert not any(map(is_plain_target, ["-", "/dev/stdout", "/dev/null", str(tmp_path)]))


def test_counted_feature_dim_is_the_largest_of_all_batches():
    assert counted_feature_dim([]) == 0
    assert counted_feature_dim([random_rows(20, feature_dim=30), labelled([1])]) == 30
