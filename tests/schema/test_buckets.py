"""Numeric columns cut into buckets: the rule against a slow one, what a value falls into, and the names."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError
from fmcore.schema.buckets import Buckets, cut, wanted
from fmcore.schema.options import AUTO

SMALL = st.integers(-6, 6).map(lambda n: n / 2)
NUMBERS = st.one_of(SMALL, st.floats(-1e30, 1e30), st.just(math.nan))
COLUMNS = st.lists(NUMBERS, max_size=200)


def slow(numbers, share):
    """Return the edges by walking over the distinct values, one after the other."""
    present = [float(np.float32(x)) for x in numbers if not math.isnan(x)]
    values = sorted(set(present))
    if len(values) <= share:
        return values[1:]
    zeros = present.count(0)
    rows = len(present) - zeros if 2 * zeros > len(present) else len(present)
    edges, held = [], 0
    for value, after in zip(values, [*values[1:], None], strict=True):
        count = present.count(value)
        alone = count * 2 * share >= rows
        if alone and held:
            edges.append(value)
            held = 0
        held += count
        if (alone or held * share >= rows) and after is not None:
            edges.append(after)
            held = 0
    return list(dict.fromkeys(edges))


def edges(numbers, share):
    return cut(np.array(numbers, np.float64), share).edges.tolist()


@given(COLUMNS, st.integers(2, 20))
def test_the_rule_is_that_of_a_walk_over_the_values(numbers, share):
    made = cut(np.array(numbers, np.float64), share)
    assert made.edges.astype(np.float32).tolist() == slow(numbers, share)
    present = sum(not math.isnan(x) for x in numbers)
    assert made.missing == (0 < present < len(numbers))


@given(COLUMNS, st.integers(2, 20))
def test_every_value_falls_into_the_bucket_that_names_it(numbers, share):
    column = np.array(numbers, np.float64)
    made = cut(column, share)
    places = made.indices(column.astype(np.float32), 0)
    texts = made.texts()
    assert len(texts) == len(made)
    for number, place in zip(numbers, places.tolist(), strict=True):
        if place < 0:
            assert len(made.edges) == 0 or not made.missing
        elif math.isnan(number):
            assert texts[place] == "missing"
        else:
            low, high = (np.float32(float(edge)) for edge in texts[place][1:-1].split(","))
            assert low <= np.float32(number) < high
    assert set(range(len(made))) == set(places.tolist()) - {-1}, "no bucket is empty"


@given(COLUMNS, st.integers(2, 20))
def test_the_order_of_rows_does_not_matter_and_texts_give_the_same_edges(numbers, share):
    made = cut(np.array(numbers, np.float64), share)
    assert edges(sorted(numbers, reverse=True), share) == made.edges.tolist()
    again = Buckets.of_texts(made.texts())
    assert again.edges.tobytes() == made.edges.tobytes()
    assert again.missing == made.missing


def test_a_mass_at_0_is_one_bucket_and_the_rest_is_cut_as_if_it_were_not_there():
    rest = np.arange(1.0, 81.0)
    assert edges([*np.zeros(920), *rest], 8) == [1, 11, 21, 31, 41, 51, 61, 71]


def test_negative_values_are_cut_as_positive_ones_are_and_0_between_them_is_one_bucket():
    rest = [*np.arange(-40.0, 0), *np.arange(1.0, 41.0)]
    assert edges([*np.zeros(200), *rest], 8) == [-30, -20, -10, 0, 1, 11, 21, 31]
    assert edges([*np.zeros(200), *[-0.0] * 9, *rest], 8) == [-30, -20, -10, 0, 1, 11, 21, 31]


def test_a_value_of_half_a_share_is_a_bucket_of_its_own():
    numbers = [*range(50), *[50] * 5, *range(51, 96)]  # 100 rows: a share is 10
    assert edges(numbers, 10) == [10, 20, 30, 40, 50, 51, 61, 71, 81, 91]
    numbers = [*range(50), *[50] * 4, *range(51, 97)]
    assert edges(numbers, 10) == [10, 20, 30, 40, 50, 57, 67, 77, 87]


def test_few_values_have_a_bucket_each():
    assert edges([1] * 90 + [2, 3] + [4] * 7, 4) == [2, 3, 4]
    assert cut(np.array([1.0, 5, 1, 5]), 2).texts() == ("(-inf,5)", "[5,inf)")


def test_one_value_has_no_bucket_and_missing_ones_beside_it_an_entry():
    assert len(cut(np.full(9, 7.0), 4)) == 0
    assert cut(np.array([0, math.nan, 0]), 4).texts() == ("missing",)
    assert cut(np.array([0, math.nan, 0]), 4).indices(np.float32([0, math.nan, 3]), 0).tolist() == [-1, 0, -1]
    assert len(cut(np.full(9, math.nan), 4)) == 0
    assert len(cut(np.empty(0), 4)) == 0


def test_end_buckets_take_what_lies_beyond_and_unseen_missing_values_are_nothing():
    made = cut(np.arange(1.0, 9), 2)
    assert made.texts() == ("(-inf,5)", "[5,inf)")
    assert made.indices(np.float32([-1e38, 4.9, 5, 1e38, math.nan]), 0).tolist() == [0, 0, 1, 1, -1]
    seen = cut(np.array([*range(1, 9), math.nan]), 2)
    assert seen.indices(np.float32([math.nan, 0]), 0).tolist() == [2, 0]


def test_edges_are_values_as_they_were_read():
    assert cut(np.array([20240131.0, 20240205.0]), 2).edges.tolist() == [20240205.0]  # no float32
    assert cut(np.array([0.1, 0.7]), 2).edges.tolist() == [0.7]


def test_columns_of_32_bits_give_the_buckets_of_the_text():
    text = np.round(np.random.default_rng(1).normal(size=500), 1)
    narrow = text.astype(np.float32)
    of_text, of_narrow = cut(text, 6), cut(narrow.astype(np.float64), 6)
    assert of_text.texts() == of_narrow.texts()
    assert of_text.indices(narrow, 0).tolist() == of_narrow.indices(text.astype(np.float32), 0).tolist()


@pytest.mark.parametrize(
    ("rows", "number"), [(1, 2), (100, 2), (400, 3), (10_000, 16), (33_000, 30), (50_000, 37), (131_072, 60)]
)
def test_the_number_goes_by_the_rows(rows, number):
    assert wanted(AUTO, rows) == number
    assert wanted(5, rows) == 5
    assert wanted(AUTO, 10**9) == 64


@pytest.mark.parametrize(
    "texts",
    [
        ["[1,2)"],
        ["(-inf,1)"],
        ["(-inf,1)", "[2,inf)"],
        ["(-inf,1.0)", "[1.0,inf)"],
        ["(-inf,x)", "[x,inf)"],
        ["(-inf,inf)", "[inf,inf)"],
        ["(-inf,2)", "[2,1)", "[1,inf)"],
        ["missing", "(-inf,1)", "[1,inf)"],
        ["seven"],
    ],
)
def test_other_texts_are_no_buckets(texts):
    with pytest.raises(DataError, match="these are no buckets"):
        Buckets.of_texts(texts)
