"""`fm serve` with a model of named columns: bodies by name, in JSON and CSV, beside SageMaker's forms."""

import json

import pytest
from named import NAMES, OPTIONS, TRAINING, as_csv, as_json, as_jsonlines, frame
from serving import serving
from shell import Shell

JSON, LINES, RECORDS, CSV = "application/json", "application/jsonlines", "application/x-recordio-protobuf", "text/csv"
TEST = frame(25, 2)
ENCODED = {JSON: as_json, LINES: as_jsonlines, CSV: as_csv}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a Shell in a folder with a model trained on CSV."""
    fm = Shell(tmp_path_factory.mktemp("named"))
    fm.write("train.csv", as_csv(frame()))
    fm.write("test.csv", as_csv(TEST))
    fm("train", "train.csv", *OPTIONS, *TRAINING, "-o", "m.fm")
    return fm


@pytest.fixture(scope="module")
def server(home):
    """Return a server of that model."""
    with serving(home, "m.fm") as server:
        yield server


@pytest.fixture(scope="module")
def expected(home):
    """Return what fm predict writes for the test rows."""
    return home("predict", "m.fm", "test.csv", "--to", "jsonlines").out.encode()


@pytest.mark.parametrize("content_type", ENCODED)
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ("id", "when", "genres", "site", "price")])
def test_bodies_by_name_are_answered_as_files_are(server, expected, content_type, names):
    answer = server.post(ENCODED[content_type](TEST, names).encode(), content_type, LINES)
    assert (answer.status, answer.body) == (200, expected)


def test_answers_are_in_the_format_of_the_request_unless_asked(server):
    for content_type, encode in ENCODED.items():
        answer = server.post(encode(TEST).encode(), content_type)
        assert answer.type.startswith(content_type)
    assert answer.body.startswith(b"id,score,predicted_label\nr0,0.")


def test_one_row_with_values_that_training_did_not_see(server):
    body = b'{"instances": [{"features": {"price": 8.1, "site": "new.com", "genres": ["Action", "Western"], "when": null}}]}'
    known = body.replace(b'"new.com"', b"null").replace(b', "Western"', b"")
    answers = [json.loads(server.post(each).body)["predictions"][0]["score"] for each in (body, known)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (
            b'{"instances": [{"features": {"price": 1, "site": "a.com", "when": null}}]}',
            JSON,
            "request: column 'genres' of the model is missing; the columns found are: 0 price, 1 site, 2 when",
        ),
        (
            as_json(TEST[:1])[:-2].encode() + b', {"features": {"price": 1, "site": "a.com", "when": null}}]}',
            JSON,
            "request, row 2, field features.genres: column 'genres' of the model is missing; null is a missing value",
        ),
        (
            b'{"features": {"price": "much", "site": "a.com", "genres": [], "when": null}}',
            LINES,
            "request, line 1, field price: 'much' is not a number",
        ),
        (
            b"price,site\n1,a.com\n",
            CSV,
            "request: columns 'genres', 'when' of the model are missing; the columns found are: 0 price, 1 site; --missing-columns zero reads rows without",
        ),
        (
            as_csv(TEST[:2], header=False).encode(),
            CSV,
            "request: ",
        ),
        (
            b"price,site,genres,when\n1,a.com,War,yesterday\n",
            CSV,
            "request, row 1, field when: 'yesterday' is not a date",
        ),
        (
            bytes.fromhex("0a23d7ce"),
            RECORDS,
            "request: the body has indices instead of columns, but columns are known by name (price, site, genres, when)",
        ),
    ],
)
def test_bodies_that_do_not_fit_the_columns_are_refused(server, body, content_type, sentence):
    answer = server.post(body, content_type)
    assert answer.status == 400
    assert answer.body.decode().startswith(sentence)


def test_the_forms_of_sagemaker_count_columns_by_index(home):
    home("train", "train.csv", *OPTIONS, *TRAINING, "--buckets", "none", "-o", "plain.fm")
    with serving(home, "plain.fm") as server:
        count_columns_by_index(server)


def test_the_forms_of_sagemaker_are_refused_where_columns_have_buckets(server):
    answer = server.post(b'{"instances": [{"features": {"keys": [3], "values": [1]}}]}')
    assert answer.status == 400
    assert b"the body has indices instead of columns, but columns are known by name" in answer.body


def count_columns_by_index(server):
    by_name = b'{"instances": [{"features": {"price": 0, "site": "a.com", "genres": [], "when": null}}]}'
    named = json.loads(server.post(by_name).body)["predictions"][0]["score"]
    scores = []
    for index in range(8, 15):  # where the value is that the row has
        body = b'{"instances": [{"features": {"keys": [%d], "values": [1]}}]}' % index
        answer = server.post(body)
        if answer.status == 400:
            assert b"is none of the" in answer.body
            break
        scores.append(json.loads(answer.body)["predictions"][0]["score"])
    assert named in scores
