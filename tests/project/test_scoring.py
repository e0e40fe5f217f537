"""Requests to predictions as one library call."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rows import random_rows, small_model

from fmcore import api
from fmcore.errors import DataError, UsageError
from fmcore.io.recordio import codec as recordio

JSON, RECORDS = "application/json", "application/x-recordio-protobuf"


@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("threads", [1, 3])
def test_answers_to_requests_hold_the_scores(predictor_type, threads):
    scorer = api.Scorer(small_model(predictor_type), threads)
    batch = random_rows()
    media_type, body = scorer.answer(recordio.encode(batch, 30), RECORDS, JSON)
    rows = json.loads(body)["predictions"]
    assert media_type == JSON
    assert np.array([row["score"] for row in rows], np.float32).tolist() == scorer.scores(batch).tolist()
    assert all(len(row) == 1 + (predictor_type == "binary_classifier") for row in rows)
    same = recordio.encode(batch, 30), RECORDS
    assert scorer.answer(*same) == scorer.answer(*same, "*/*") == scorer.answer(*same, RECORDS)


def test_wrong_requests_raise_errors_of_their_kind():
    scorer = api.Scorer(small_model())
    for headers in (("text/html",), (None,), (JSON, "text/html")):
        with pytest.raises(UsageError):
            scorer.answer(b"", *headers)
    with pytest.raises(DataError, match=r"^request, row 2, field features: expected an object, found 3$"):
        scorer.answer(b'{"instances": [{"features": []}, {"features": 3}]}', JSON)
    with pytest.raises(DataError, match=r"^request, record 2, byte 48: a record begins with"):
        scorer.answer(recordio.encode(random_rows(1), 30) + b"rubbish!", RECORDS)


def test_features_unknown_to_the_model_are_ignored():
    scorer = api.Scorer(small_model())
    bodies = [
        json.dumps({"instances": [{"features": {"keys": keys, "values": [1] * len(keys)}}]}).encode()
        for keys in ([1, 29], [1, 29, 30, 5000])
    ]
    assert scorer.answer(bodies[0], JSON) == scorer.answer(bodies[1], JSON)


def test_a_scorer_answers_several_threads_at_once():
    scorer = api.Scorer(small_model())
    bodies = [recordio.encode(random_rows(300, seed=seed), 30) for seed in range(20)]
    want = [scorer.answer(body, RECORDS, JSON) for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda body: scorer.answer(body, RECORDS, JSON), bodies)) == want
