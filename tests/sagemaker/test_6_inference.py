"""SageMaker's contract, section 6: every request and every response, by `fm predict` and over HTTP."""

import json
import subprocess

import numpy as np
import pytest
from serving import serving
from shell import COMMAND, Shell, environment, records

from fmcore.io.recordio import codec as recordio
from fmcore.io.recordio.record_message import record_class
from fmcore.rows.batch import Batch

JSON, LINES, RECORDS = "application/json", "application/jsonlines", "application/x-recordio-protobuf"
FORMATS = {JSON: "json", LINES: "jsonlines", RECORDS: "recordio"}
FORMS = {  # the four of the guide, the feature numbers as far as the model knows them
    "dense": {"features": [1.5, 16.0]},
    "values": {"data": {"features": {"values": [1.5, 16.0]}}},
    "data": {"data": {"features": [1.5, 16.0]}},
    "sparse": {"data": {"features": {"keys": [6, 18], "shape": [2000], "values": [1, 1]}}},
}
MIXED = [*FORMS.values(), {"features": [1, 16]}, {"data": {"features": []}}, {**FORMS["sparse"], "configuration": {}}]
MIXED_ROWS = "0 0:1.5 1:16\n" * 3 + "0 6:1 18:1\n" + "0 0:1 1:16\n" + "0\n" + "0 6:1 18:1\n"


@pytest.fixture(scope="module", params=["predict", "http"])
def endpoint(request, world, tmp_path_factory):
    """Return a function (predictor type, body, content type, accept) -> bytes of the answer, in both ways."""
    fm = Shell(tmp_path_factory.mktemp("endpoint"))
    models = {"binary_classifier": world.classifier, "regressor": world.regressor}

    def predict(kind, body, content_type, accept):
        command = [*COMMAND, "predict", models[kind], "--to", FORMATS[accept or content_type], "--quiet"]
        return subprocess.run(
            command, input=body, capture_output=True, check=True, cwd=fm.folder, env=environment()
        ).stdout

    if request.param == "predict":
        yield predict
        return
    with serving(fm, world.classifier) as classifier, serving(fm, world.regressor) as regressor:

        def ask(kind, body, content_type, accept):
            server = classifier if kind == "binary_classifier" else regressor
            answer = server.post(body, content_type, accept)
            assert (answer.status, answer.type) == (200, accept or content_type)
            assert int(answer.headers["content-length"]) == len(answer.body)
            return answer.body

        yield ask


@pytest.fixture(scope="module")
def expected(world, tmp_path_factory):
    """Return the scores of MIXED_ROWS as text rows, by predictor type."""
    fm = Shell(tmp_path_factory.mktemp("expected"))
    return {
        kind: [np.float32(line) for line in fm("predict", model, stdin=MIXED_ROWS).out.split()]
        for kind, model in (("binary_classifier", world.classifier), ("regressor", world.regressor))
    }


def body_of(instances, content_type):
    if content_type == JSON:
        return json.dumps({"instances": instances}).encode()
    return b"".join(json.dumps(instance).encode() + b"\n" for instance in instances)


def answers(kind, scores):
    """Return the documented answers, as parsed JSON; the score has the digits of its float32."""
    rows = [{"score": float(str(score))} for score in scores]
    if kind == "binary_classifier":
        rows = [{**row, "predicted_label": int(row["score"] >= 0.5)} for row in rows]
    return rows


def read(body, content_type):
    """Return the rows of an answer, read by other libraries."""
    if content_type == JSON:
        document = json.loads(body)
        assert list(document) == ["predictions"]
        return document["predictions"]
    if content_type == LINES:
        assert body.endswith(b"\n")
        return [json.loads(line) for line in body.splitlines()]
    return [
        {name: float(str(np.float32(single(value)))) for name, value in sorted(record.label.items(), reverse=True)}
        for record in records(body)
    ]


def single(value):
    assert value.WhichOneof("value") == "float32_tensor"
    tensor = value.float32_tensor
    assert (len(tensor.values), list(tensor.keys), list(tensor.shape)) == (1, [], [])
    return tensor.values[0]


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
@pytest.mark.parametrize("content_type", [JSON, LINES])
@pytest.mark.parametrize("accept", [None, JSON, LINES, RECORDS])
def test_every_form_of_instance_is_answered_in_every_form(endpoint, expected, kind, content_type, accept):
    body = endpoint(kind, body_of(MIXED, content_type), content_type, accept)
    found = read(body, accept or content_type)
    assert found == answers(kind, expected[kind])
    assert [list(row) for row in found] == [["score", "predicted_label"][: 1 + (kind == "binary_classifier")]] * 7


@pytest.mark.parametrize("accept", [None, JSON, LINES])
def test_record_requests_with_and_without_labels_are_answered(endpoint, expected, accept):
    fm_rows = [line.split()[1:] for line in MIXED_ROWS.splitlines()]
    pairs = [[pair.split(":") for pair in row] for row in fm_rows]
    batch = Batch(
        np.cumsum([0, *map(len, pairs)]),
        np.array([int(i) for row in pairs for i, _ in row], np.int32),
        np.array([float(x) for row in pairs for _, x in row], np.float32),
        np.full(len(pairs), np.nan, np.float32),
    )
    sparse = recordio.encode(batch, 2000)
    batch.labels[:] = 1
    for body in (sparse, recordio.encode(batch, 2000), dense_records(pairs)):
        found = read(endpoint("binary_classifier", body, RECORDS, accept), accept or RECORDS)
        assert found == answers("binary_classifier", expected["binary_classifier"])


def dense_records(rows):
    """Return records as the official library writes them: dense values of 20 features, and nothing else."""
    out = []
    for row in rows:
        record = record_class()()
        values = np.zeros(20)
        for index, value in row:
            values[int(index)] = float(value)
        record.features["values"].float32_tensor.values.extend(values)
        payload = record.SerializeToString()
        out.append(bytes.fromhex("0a23d7ce") + len(payload).to_bytes(4, "little") + payload + bytes(-len(payload) % 4))
    return b"".join(out)


def test_answers_are_the_text_of_the_developer_guide(endpoint, expected):
    score = str(expected["binary_classifier"][0])
    label = int(float(score) >= 0.5)
    instance = body_of([FORMS["dense"]], JSON)
    assert endpoint("binary_classifier", instance, JSON, None) == (
        b'{"predictions":[{"score":%s,"predicted_label":%d}]}\n' % (score.encode(), label)
    )
    assert endpoint("binary_classifier", instance, JSON, LINES) == (
        b'{"score":%s,"predicted_label":%d}\n' % (score.encode(), label)
    )
    number = str(expected["regressor"][0]).encode()
    assert endpoint("regressor", instance, JSON, None) == b'{"predictions":[{"score":%s}]}\n' % number


@pytest.mark.parametrize(
    ("content_type", "body", "nothing"),
    [(JSON, b'{"instances": []}', b'{"predictions":[]}\n'), (LINES, b"", b""), (RECORDS, b"", b"")],
)
def test_a_request_without_instances_gets_no_predictions(endpoint, content_type, body, nothing):
    assert endpoint("regressor", body, content_type, None) == nothing


def test_configuration_ids_and_unknown_features_are_accepted(endpoint, expected):
    body = json.dumps(
        {
            "configuration": {},
            "instances": [
                {**FORMS["sparse"], "id": "mine"},
                {"features": {"keys": [6, 18, 1999], "values": [1, 1, 5]}, "uid": 7},
            ],
        }
    )
    found = read(endpoint("regressor", body.encode(), JSON, None), JSON)
    score = answers("regressor", [expected["regressor"][3]])[0]
    assert found == [{"id": "mine", **score}, {"id": "7", **score}]
    answer = endpoint("regressor", body.encode(), JSON, RECORDS)
    assert [record.uid for record in records(answer)] == ["mine", "7"]


def test_json_lines_may_end_as_in_windows(endpoint, expected):
    body = b"\r\n".join(json.dumps(instance).encode() for instance in MIXED)
    assert read(endpoint("regressor", body, LINES, None), LINES) == answers("regressor", expected["regressor"])
