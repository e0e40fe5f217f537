"""Requests by the names of columns, in JSON and CSV, as `fm serve` and the library answer them."""

import json

import pytest
from serving import serving
from shell import Shell

from fmcore import api
from fmcore.errors import DataError

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
ROWS = [(0.5, "a", "Action|Comedy", 1), (1.5, "b", "Drama", 0), (2.5, "a", "Comedy", 1), (0.25, "c", "", 0)] * 8
NAMES = ("price", "site", "genres")
FIRST = {"price": 0.5, "site": "a", "genres": ["Action", "Comedy"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    lines = [",".join((*NAMES, "click")), *(",".join(map(str, row)) for row in ROWS)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    options = ("--label-column", "click", "--lists", "genres:|", "--predictor-type", "binary_classifier")
    Shell(folder)("train", "rows.csv", *options, "--epochs", "3", "-o", "m.fm")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """Return the score of the first row, as the command line gives it."""
    return json.loads(Shell(folder)("predict", "m.fm", "rows.csv", "--to", "jsonlines").out.splitlines()[0])["score"]


def scored(folder, body, content_type=JSON, **options):
    scorer = api.Scorer(api.load(folder / "m.fm"), **options)
    _, answer = scorer.answer(body if isinstance(body, bytes) else json.dumps(body).encode(), content_type, JSON)
    return [each["score"] for each in json.loads(answer)["predictions"]]


def test_the_server_answers_by_name(folder, expected):
    with serving(Shell(folder), "m.fm", workers=1) as server:
        answer = server.post(json.dumps({"instances": [{"features": FIRST}]}).encode())
        assert (answer.status, json.loads(answer.body)["predictions"][0]["score"]) == (200, expected)
        answer = server.post(b"site,genres,price\na,Action|Comedy,0.5\n", CSV)
        assert (answer.status, answer.type.split(";")[0]) == (200, CSV)
        assert float(answer.body.splitlines()[1].split(b",")[1]) == expected
        answer = server.post(json.dumps({"instances": [{"features": {"price": 1}}]}).encode())
        assert answer.status == 400
        assert b"columns 'site', 'genres' of the model are missing" in answer.body
        assert server.post(b'{"instances": [{"features": {"keys": [0], "values": [1]}}]}').status == 400


@pytest.mark.parametrize(
    "features",
    [
        dict(reversed(FIRST.items())),
        {**FIRST, "unknown": 3},
        {**FIRST, "genres": "Action|Comedy"},
        {**FIRST, "price": "0.5"},
        {**FIRST, "genres": ["Comedy", "Action", "Comedy", None]},
    ],
)
def test_names_count_and_not_their_order(folder, expected, features):
    assert scored(folder, {"instances": [{"features": features}]})[0] == pytest.approx(expected, rel=1e-6)


def test_lines_and_data_and_ids(folder, expected):
    body = "\n".join(json.dumps({"data": {"features": FIRST}, "id": name}) for name in "xy").encode()
    assert scored(folder, body, LINES) == [expected] * 2
    answer = api.Scorer(api.load(folder / "m.fm")).answer(body, LINES)[1]
    assert [json.loads(line)["id"] for line in answer.splitlines()] == ["x", "y"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({**FIRST, "price": "dear"}, "row 1, field price: 'dear' is not a number"),
        ({**FIRST, "price": [1]}, "a list is not a number"),
        ({**FIRST, "site": {"a": 1}}, "an object is not the value of one column"),
        ({"price": 1, "site": "a"}, "column 'genres' of the model is missing"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], "the body has indices instead of columns"),
    ],
)
def test_what_is_not_the_models_is_refused(folder, features, message):
    with pytest.raises(DataError, match="request") as raised:
        scored(folder, {"instances": [{"features": features}]})
    assert message in str(raised.value)


def test_features_by_index_are_taken_by_position_where_that_is_asked(folder):
    body = {"instances": [{"features": [1, 2, 3, 4, 5, 6, 7, 8, 9]}]}
    with pytest.raises(DataError, match="9 features, expected 11 as the columns of training made"):
        scored(folder, body, by_position=True)
    assert scored(folder, {"features": {"keys": [10], "values": [1]}}, LINES, by_position=True)


def test_a_body_without_header_is_taken_by_position_where_that_is_asked(folder, expected):
    body = b"0.5,a,Action|Comedy\n1.5,b,Drama\n"
    with pytest.raises(DataError, match="has no header"):
        scored(folder, body, CSV)
    assert scored(folder, body, CSV, by_position=True)[0] == expected


def test_rows_by_name_and_by_index_do_not_mix(folder):
    body = {"instances": [{"features": FIRST}, {"features": [1, 2]}]}
    with pytest.raises(DataError, match="features by index among rows by name"):
        scored(folder, body)
