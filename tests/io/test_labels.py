import numpy as np
import pytest

from fmcore.errors import UsageError
from fmcore.io.labels import Labels
from fmcore.rows.batch import Batch


def rows(*labels):
    n = len(labels)
    return Batch(np.zeros(n + 1, np.int64), np.empty(0, np.int32), None, np.array(labels, np.float32))


@pytest.mark.parametrize(("given", "mapped"), [((0, 1, np.nan), [0, 1, np.nan]), ((-1, 1, 1), [0, 1, 1]), ((1,), [1])])
def test_labels_0_1_and_minus_1_1_become_two_classes(given, mapped):
    batch = rows(*given)
    assert len(Labels(binary=True).apply(batch)) == 0
    np.testing.assert_array_equal(batch.labels, np.array(mapped, np.float32))


def test_other_labels_and_mixed_kinds_are_refused_with_the_row():
    labels = Labels(binary=True)
    assert labels.apply(rows(1, -1)).tolist() == []
    batch = rows(1, 0, 2, np.nan)
    assert labels.apply(batch).tolist() == [1, 2]
    assert str(labels.error(batch, 2)).startswith("input, row 3: label 2; expected 0 and 1")


def test_a_positive_label_makes_all_others_negative():
    batch = rows(7, 3, np.nan, 7)
    assert len(Labels(positive="7.0").apply(batch)) == 0
    np.testing.assert_array_equal(batch.labels, np.array([1, 0, np.nan, 1], np.float32))
    with pytest.raises(UsageError, match="'yes' is not a number"):
        Labels(positive="yes").apply(rows(1))


def test_labels_of_a_regression_are_kept():
    batch = rows(-3.5, 0, 9)
    assert len(Labels().apply(batch)) == 0
    assert batch.labels.tolist() == [-3.5, 0, 9]


@pytest.mark.parametrize(
    ("options", "mapped", "valid"),
    [
        ({"positive": ">50K"}, [1, 0, np.nan, 0, 0], [True] * 5),
        ({"positive": "1"}, [0, 0, np.nan, 1, 0], [True] * 5),
        ({"binary": True}, [np.nan, np.nan, np.nan, 1, 1], [False, False, True, True, True]),
        ({}, [np.nan, np.nan, np.nan, 1, np.nan], [False, False, True, True, False]),
    ],
)
def test_labels_from_texts_are_mapped_and_checked(options, mapped, valid):
    got, ok = Labels(**options).from_texts([">50K", "<=50K", None, "1.0", "TRUE"])
    np.testing.assert_array_equal(got, np.array(mapped, np.float32))
    assert ok.tolist() == valid


@pytest.mark.parametrize("options", [{}, {"binary": True}])
@pytest.mark.parametrize("text", ["1_0", "\u0661", "\uff11", "0x1", "1,5"])
def test_labels_have_the_numbers_of_features(text, options):
    got, ok = Labels(**options).from_texts([text, "1"])
    assert np.isnan(got[0])
    assert ok.tolist() == [False, True]
    mapped, _ = Labels(positive="1").from_texts([text, "1"])
    assert mapped.tolist() == [0, 1]
    with pytest.raises(UsageError, match="is not a number"):
        Labels(positive=text).apply(rows(1))


@pytest.mark.parametrize(
    ("positive", "text"),
    [
        (" yes ", "yes"),
        ("caf\u00e9", "cafe\u0301"),
        ("cafe\u0301", "caf\u00e9"),
        ("True", "TRUE"),
        ("7.0", "7"),
        ("1e3", "1000"),
        ("2024-01-02T00:00:00", "2024-01-02"),
    ],
)
def test_a_positive_label_is_found_in_any_spelling(positive, text):
    mapped, valid = Labels(positive=positive).from_texts([text, "other", None])
    np.testing.assert_array_equal(mapped, np.array([1, 0, np.nan], np.float32))
    assert valid.all()


def test_a_positive_label_is_no_other_text():
    assert Labels(positive="yes").from_texts(["Yes", "yes.", "y", "007"])[0].tolist() == [0, 0, 0, 0]
    assert Labels(positive="7").from_texts(["7", "007"])[0].tolist() == [1, 1]
