import pytest

from fmcore.errors import UsageError
from fmcore.schema.selection import is_number, names_columns, several, single, split

NAMES = ["id", "c1", "c2", "price", "c10", "x-y", "3", "c20", "a*", "[z]"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ('"last, first",b', ("last, first", "b")),
        ('a, "b, c" ,d', ("a", "b, c", "d")),
        ('"a ""quoted"" one"', ('a "quoted" one',)),
        ("c1-c20,c*", ("c1-c20", "c*")),
        ("a,,b,", ("a", "b")),
        ("", ()),
        (" ", ()),
    ],
)
def test_lists_of_columns_are_cut_at_commas_that_are_not_quoted(text, columns):
    assert split(text) == columns


@pytest.mark.parametrize(
    ("column", "place"),
    [
        ("price", 3),
        (" price ", 3),
        ("0", 0),
        ("3", 6),  # a name goes before a number
        ("9", 9),
        ("10", None),
        ("-1", None),
        ("\u0663", None),
        ("Price", None),
        ("a*", 8),
        ("x-y", 5),
        ("c1-c2", None),
        (None, None),
    ],
)
def test_a_column_is_found_by_name_or_else_by_number(column, place):
    assert single(NAMES, column) == place


def test_a_name_that_several_columns_have_is_refused_and_their_numbers_are_not():
    with pytest.raises(UsageError, match="several columns are named 'a': give the number of the one meant, from 0"):
        single(["a", "b", "a"], "a")
    assert single(["a", "b", "a"], "2") == 2


@pytest.mark.parametrize(
    ("column", "places"),
    [
        ("c1-c20", [1, 2, 4, 7]),  # all of that name, wherever they are
        ("c2-c10", [2, 4]),
        ("c1 - c10", [1, 2, 4]),
        ("c10-c2", None),
        ("id-price", [0, 1, 2, 3]),  # in the table's order
        ("price-id", None),
        ("c1-c3", None),  # both ends must be there
        ("1-4", [1, 2, 3, 4]),
        ("4-1", None),
        ("c1-", None),
        ("-c1", None),
        ("price-x-y", [3, 4, 5]),  # one of the names has a dash
        ("c*", [1, 2, 4, 7]),
        ("c?", [1, 2]),
        ("*", list(range(10))),
        ("*c*", [1, 2, 3, 4, 7]),
        ("[z]*", [9]),  # brackets are themselves
        ("[idz]*", None),
        ("C*", None),
        ("q*", None),
        ("price", None),
    ],
)
def test_ranges_and_patterns_stand_for_several_columns(column, places):
    assert several(NAMES, column) == places


def test_numbers_in_the_names_of_a_range_are_compared_as_numbers():
    names = [f"I{number:02d}" for number in range(1, 14)]
    assert several(names, "I03-I11") == list(range(2, 11))


def test_what_can_only_be_a_name_is_told_from_a_number():
    assert all(map(is_number, ("0", "12")))
    assert not any(map(is_number, ("-1", "a", "1.0", "\u0663", "")))
    assert not any(map(names_columns, ("0", "12", "3-7", " 3 - 7 ", "*")))
    assert all(map(names_columns, ("a", "c1-c2", "c*", "-1", "1-c")))
