import pytest

from fmcore.errors import UsageError
from fmcore.schema.columns import CATEGORICAL, DATE, ID, IGNORED, LABEL, LIST, LOG, NUMERIC, WEIGHT, Column
from fmcore.schema.options import TableOptions
from fmcore.schema.roles import columns_of, disagreement, list_column, listed, named_columns

NAMES = ["id", "c1", "c2", "c3", "price", "when", "genres", "y", "w"]
SHOWN = [CATEGORICAL, NUMERIC, NUMERIC, CATEGORICAL, NUMERIC, CATEGORICAL, CATEGORICAL, NUMERIC, None]


def kinds(names=NAMES, found=None, **options):
    columns = columns_of(names, [None] * len(names) if found is None else found, TableOptions(**options))
    assert [column.name for column in columns] == list(names)
    return [column.kind for column in columns]


def refused(**options):
    with pytest.raises(UsageError) as caught:
        kinds(**options)
    return str(caught.value)


def test_columns_have_the_kinds_that_options_say():
    options = {
        "label": "y",
        "weight": "8",
        "row_id": "id",
        "categorical": ("c1-c2",),
        "log": ("price",),
        "dates": ("when",),
        "lists": ("genres:|",),
        "ignore": ("c3",),
    }
    assert kinds(**options) == [ID, CATEGORICAL, CATEGORICAL, IGNORED, LOG, DATE, LIST, LABEL, WEIGHT]


def test_columns_that_no_option_names_have_the_kind_that_they_show_or_are_numeric():
    assert kinds(found=SHOWN, label="y", weight="w") == [*SHOWN[:7], LABEL, WEIGHT]
    assert kinds(found=SHOWN, numeric=("c3",))[3] == NUMERIC
    assert kinds() == [NUMERIC] * 9


def test_what_is_named_exactly_is_not_part_of_a_range_or_pattern():
    found = kinds(categorical=("*",), numeric=("price",), ignore=("c2",), label="y")
    assert found == [
        CATEGORICAL,
        CATEGORICAL,
        IGNORED,
        CATEGORICAL,
        NUMERIC,
        CATEGORICAL,
        CATEGORICAL,
        LABEL,
        CATEGORICAL,
    ]
    assert kinds(ignore=("c1-c3",), categorical=("c2",))[1:4] == [IGNORED, CATEGORICAL, IGNORED]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"label": "y", "ignore": ("y",)}, "column 'y' is named as label and as ignored; choose one (the columns"),
        ({"label": "y", "weight": "7"}, "column 'y' is named as label and as weight; choose one"),
        ({"numeric": ("c1",), "categorical": ("1",)}, "column 'c1' is named as numeric and as categorical"),
        ({"numeric": ("c*",), "log": ("c1-c2",)}, "column 'c1' is named as numeric and as log"),
        ({"lists": ("genres:|", "genres:;")}, "column 'genres' is named as list and as list"),
        ({"categorical": ("d",)}, "no column 'd'; the columns found are: 0 id, 1 c1"),
        ({"categorical": ("q*",)}, "no column 'q*'; the columns found are"),
        ({"categorical": ("c1-c9",)}, "no column 'c1-c9'; the columns found are"),
        ({"ignore": ("9",)}, "no column '9'; the columns found are"),
        ({"weight": "v", "label": "y"}, "no column 'v'"),
        ({"weight": "v"}, "no column 'v'"),
        ({"row_id": "v", "label": "gone"}, "no column 'v'"),
        ({"lists": ("v:|",)}, "no column 'v'"),
        ({"ignore": ("*",)}, "no column is left to be a feature; the columns found are: 0 id"),
        ({"lists": ("genres",)}, "--lists 'genres' is not understood; expected COLUMN:SEPARATOR"),
        ({"lists": (":|",)}, "--lists ':|' is not understood"),
        ({"lists": ("genres:",)}, "--lists 'genres:' is not understood"),
        ({"lists": ("genres:|,tags:;",)}, "no column 'genres:|,tags'"),
    ],
)
def test_roles_that_do_not_fit_the_columns_are_refused(options, expected):
    assert refused(**options).startswith(expected)


def test_a_table_without_the_label_may_lack_the_weight_too():
    assert kinds(label="gone", weight="gone too") == [NUMERIC] * 9


def test_feature_columns_of_one_name_are_refused_and_others_are_not():
    names = ["a", "a", "y"]
    assert refused(names=names) == "two columns are named 'a': leave one out with --ignore 1, its number"
    assert kinds(names, ignore=("1",)) == [NUMERIC, IGNORED, NUMERIC]
    assert kinds(names, label="0") == [LABEL, NUMERIC, NUMERIC]


@pytest.mark.parametrize(
    ("text", "name", "separator", "mean"),
    [
        ("genres:|", "genres", "|", False),
        ("genres:|:mean", "genres", "|", True),
        (" genres :, ", "genres", ", ", False),
        ("genres:::mean", "genres", ":", True),
        ("genres::", "genres", ":", False),
        ("a:b:|", "a:b", "|", False),
        ("a:b:|:mean", "a:b", "|", True),
        ("g: :mean", "g", " ", True),
        ("g: ", "g", " ", False),
        ("g:mean", "g", "mean", False),
        ("g:, :mean", "g", ", ", True),
    ],
)
def test_lists_are_named_with_their_separator(text, name, separator, mean):
    assert list_column(text) == (name, Column("", LIST, separator, mean))


def test_options_that_contradict_the_columns_of_a_model_are_found():
    columns = (
        Column("c1", CATEGORICAL),
        Column("price", NUMERIC),
        Column("genres", LIST, "|"),
        Column("note", IGNORED),
        Column("y", LABEL),
    )

    def found(**options):
        return disagreement(columns, TableOptions(**options))

    assert found(categorical=("c1",), numeric=("price",), lists=("genres:|",), ignore=("note",), label="other") is None
    assert found(categorical=("gone",)) is None
    assert found(numeric=("p*",)) is None
    assert found(numeric=("c1",)) == "column 'c1' is numeric by the options, but categorical in the model"
    assert found(log=("price",)) == "column 'price' is log by the options, but numeric in the model"
    assert found(categorical=("*",)) == "column 'price' is categorical by the options, but numeric in the model"
    assert found(ignore=("price",)) == "column 'price' is ignored by the options, but numeric in the model"
    assert found(lists=("genres:|:mean",)) == (
        "column 'genres' is a list separated by '|', shared by the options, but a list separated by '|' in the model"
    )


def test_messages_list_columns_with_their_numbers():
    assert listed(["a", "1", "3"]) == "0 a, 1, 2 3"
    assert listed([f"c{n}" for n in range(40)]).endswith("29 c29 and 10 more")
    assert named_columns(["a", "b"], TableOptions(label="b")) == {1: Column("", LABEL)}
