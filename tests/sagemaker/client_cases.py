"""Rows that the tests exchange with the SageMaker SDK, and checks of its answers."""

import numpy as np
import pytest
import sdk as official

from fmcore.api import load

RANDOM = np.random.default_rng(0)
DENSE = np.where(RANDOM.random((240, 12)) < 0.5, RANDOM.integers(-8, 9, (240, 12)), 0)  # whole numbers, half of them 0
DENSE[0], DENSE[5] = 1, 0  # a row of every feature, and an empty one
LABELS = (DENSE[:, 0] + DENSE[:, 1] * DENSE[:, 2] + RANDOM.normal(0, 2, 240) > 0).astype(int)
ASKED = DENSE[:20] / 4  # the rows of requests
INSTANCES = [{"data": {"features": {"values": row.tolist()}}} for row in ASKED]
SPARSE = [
    {"data": {"features": {"keys": np.flatnonzero(row).tolist(), "values": row[row != 0].tolist(), "shape": [12]}}}
    for row in ASKED
]
REQUESTS = {  # case -> the SDK's serializer, and what it is given
    "JSON": ("JSONSerializer", {"instances": INSTANCES}),
    "sparse JSON": ("JSONSerializer", {"instances": SPARSE}),
    "JSON Lines": ("JSONLinesSerializer", INSTANCES),
    "mixed JSON Lines": ("JSONLinesSerializer", [*INSTANCES[:9], *SPARSE[9:]]),
    "records of float32": ("RecordSerializer", ASKED.astype(np.float32)),
    "records of float64": ("RecordSerializer", ASKED),
}
ANSWERS = {"json": "JSONDeserializer", "jsonlines": "JSONLinesDeserializer", "recordio": "RecordDeserializer"}


def libsvm(rows, labels):
    """Return the same rows as text."""
    texts = (" ".join(f"{index}:{row[index]:g}" for index in np.flatnonzero(row)) for row in rows)
    return "".join(f"{label} {text}\n" for label, text in zip(labels, texts, strict=True))


def predictions(answer):
    """Return (score, predicted label or None) of each row of a deserialized answer."""
    rows = answer["predictions"] if isinstance(answer, dict) else answer
    if rows and "label" in rows[0]:
        rows = [{key: tensor[1][0] for key, tensor in row["label"].items()} for row in rows]
    return [(row["score"], row.get("predicted_label")) for row in rows]


def scores(models, kind):
    """Return (score, predicted label or None) of each row of ASKED, by the model's formula."""
    loaded = load(models / f"{kind}.fm")
    sums = ASKED @ loaded.factors
    raw = loaded.bias + ASKED @ loaded.linear + 0.5 * (sums**2 - ASKED**2 @ loaded.factors**2).sum(axis=1)
    if kind == "regressor":
        return [(score, None) for score in raw]
    return [(1 / (1 + np.exp(-score)), float(score >= 0)) for score in raw]


def agree(found, wanted):
    """Return whether predictions are the same, scores to a few float32 roundings."""
    assert [label for _, label in found] == [label for _, label in wanted]
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in wanted], rtol=2e-5, atol=1e-6)


def judge(sdk, serializer, deserializer):
    """Skip the test where this SDK has no recordIO code and the case needs it."""
    if "Record" in serializer + deserializer and sdk(official.where)["records"] is None:
        pytest.skip(f"version {official.version()} of the SageMaker SDK cannot handle recordIO any more; 2.x can")
