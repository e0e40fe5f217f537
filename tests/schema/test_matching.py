import pytest

from fmcore.errors import DataError, UsageError
from fmcore.io.options import Report
from fmcore.schema.columns import CATEGORICAL, ID, IGNORED, LABEL, NUMERIC, WEIGHT, Column
from fmcore.schema.matching import bound, matched
from fmcore.schema.options import TableOptions

COLUMNS = (
    Column("id", ID),
    Column("age", NUMERIC),
    Column("note", IGNORED),
    Column("city", CATEGORICAL),
    Column("y", LABEL),
    Column("w", WEIGHT),
)
NAMES = [column.name for column in COLUMNS]


def match(names, columns=COLUMNS, report=None, **options):
    return matched(names, columns, TableOptions(**options), report or Report(), "t.csv")


def places(binding):
    return [(place, column.name) for place, column in binding.features], binding[2:]


def notes(names, **options):
    report = Report()
    match(names, report=report, **options)
    return report.notes


def test_the_first_table_has_its_columns_where_they_are():
    binding = bound(NAMES, COLUMNS)
    assert places(binding) == ([(1, "age"), (3, "city")], (4, 5, 0))
    assert binding == match(NAMES)
    assert (binding.texts, binding.numbers, binding.used) == ((0, 3, 4), (1, 5), (0, 1, 3, 4, 5))


def test_columns_in_another_order_are_found_by_name():
    names = ["city", "w", "y", "id", "note", "age"]
    assert places(match(names)) == ([(5, "age"), (0, "city")], (2, 1, 3))
    assert notes(names) == []


def test_columns_that_are_no_features_may_be_missing():
    assert places(match(["city", "age"])) == ([(1, "age"), (0, "city")], (None, None, None))
    assert notes(["city", "age"]) == ["the label column 'y' is absent: rows are read without labels"]


def test_columns_that_the_schema_does_not_know_are_ignored_and_named_once():
    assert notes([*NAMES, "more", "pay"]) == ["columns that the model does not know are ignored: more, pay"]
    many = notes([*NAMES, *(f"c{number}" for number in range(50))])
    assert many[0].endswith("c28, c29 and 20 more")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["id", "city", "y"],
            "t.csv: column 'age' of the model is missing; the columns found are: 0 id, 1 city, 2 y; ",
        ),
        (
            ["Age", "City"],
            "t.csv: columns 'age', 'city' of the model are missing; the columns found are: 0 Age, 1 City",
        ),
        (["age", "city", "age"], "t.csv: several columns are named 'age', which is a feature of the model"),
    ],
)
def test_feature_columns_must_be_there_once(names, expected):
    with pytest.raises(DataError) as caught:
        match(names)
    assert str(caught.value).startswith(expected)
    assert "--missing-columns zero" in str(caught.value) or "several" in expected


def test_many_missing_columns_are_counted():
    columns = [Column(f"c{number}", NUMERIC) for number in range(14)]
    with pytest.raises(DataError, match=r"columns 'c1', .*, 'c10' and 3 more of the model are missing"):
        match(["c0"], columns)


def test_missing_feature_columns_may_count_as_empty():
    assert places(match(["city", "y"], missing_columns="zero")) == ([(0, "city")], (1, None, None))
    report = notes(["y"], missing_columns="zero")
    assert report == ["t.csv: columns of the model that are missing count as empty: age, city"]


def test_columns_of_one_name_are_matched_in_their_order_where_there_are_as_many():
    columns = (Column("a", NUMERIC), Column("a", IGNORED), Column("b", NUMERIC), Column("a", LABEL))
    assert places(match(["b", "a", "a", "a"], columns))[0] == [(1, "a"), (0, "b")]
    assert match(["b", "a", "a"], columns[:1] + columns[2:]).label == 2
    assert places(match(["b", "a"], columns))[0] == [(1, "a"), (0, "b")]
    assert match(["b", "a"], columns).label is None
    with pytest.raises(DataError, match="several columns are named 'a'"):
        match(["b", "a", "a"], columns)


def test_columns_that_are_no_features_may_be_there_several_times():
    assert places(match([*NAMES, "note", "note"]))[0] == [(1, "age"), (3, "city")]


def test_label_weight_and_id_may_have_other_names_than_in_training():
    names = ["age", "city", "target", "weights", "key", "y"]
    found = match(names, label="target", weight="3", row_id="key")
    assert found[2:] == (2, 3, 4)
    assert notes(names, label="target") == ["columns that the model does not know are ignored: weights, key"]
    assert notes(["age", "city"], label="target") == ["the label column 'y' is absent: rows are read without labels"]


def test_the_number_of_the_label_in_training_means_that_column_wherever_it_is():
    found = match(["y", "age", "city", "id", "more", "note"], label="4", weight="5", row_id="0")
    assert found[2:] == (0, None, 3)
    report = Report()
    assert match(["age", "city", "a", "b", "target"], report=report, label="4").label is None
    assert report.notes[0] == "the label column 'y' is absent: rows are read without labels"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"row_id": "key"}, "no column 'key'; the columns found are: 0 id, 1 age"),
        ({"weight": "weights"}, "no column 'weights'; the columns found are"),
        ({"label": "age"}, "column 'age' is a feature of the model, so it cannot be the label"),
        ({"weight": "1"}, "column 'age' is a feature of the model, so it cannot be the weight"),
        ({"row_id": "city"}, "column 'city' is a feature of the model, so it cannot be the id"),
    ],
)
def test_roles_that_do_not_fit_the_columns_of_the_model_are_refused(options, expected):
    with pytest.raises(UsageError) as caught:
        match(NAMES, **options)
    assert str(caught.value).startswith(expected)


def test_a_weight_that_training_had_may_be_missing():
    assert match(["age", "city", "y"], weight="w").weight is None
    with pytest.raises(UsageError, match="no column 'id'"):
        match(["age", "city", "y"], row_id="id")
