"""Rows with fields and groups: trained like any others on every path, where no family or metric needs these."""

import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from teams import team, trained

from fmcore import api
from fmcore.errors import DataError, ModelError
from fmcore.io.options import ReadOptions
from fmcore.kernels.cpu import CpuBackend
from fmcore.model import info as modelinfo

PLAIN = ReadOptions(binary=True)
KEPT = ReadOptions(binary=True, fields=True, groups=True)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Provide a folder of rows whose fields follow from their indices, two rows for each group."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(1)
    rows = [[(i % 7, i, rng.random()) for i in rng.sample(range(40), 4)] for _ in range(1200)]
    lines = (
        " ".join([f"{n % 2} qid:{n // 2}", *(f"{f}:{i}:{x}" for f, i, x in row)]) + "\n" for n, row in enumerate(rows)
    )
    Path("train.ffm").write_text("".join(lines))


def tensors(path):
    return api.load(path).tensors()


def test_fields_and_groups_reach_the_backend_and_change_no_bit_of_the_model(monkeypatch):
    seen, prepare = [], CpuBackend.prepare

    def watched(self, block):
        seen.append(prepare(self, block))
        return seen[-1]

    monkeypatch.setattr(CpuBackend, "prepare", watched)
    for number, (options, read) in enumerate(
        itertools.product(({}, {"memory_limit": 1 << 20}, {"team": 2}), (PLAIN, KEPT))
    ):
        seen.clear()
        workers = options.get("team")
        resources = team(workers) if workers else api.Resources(**options)
        trained(f"{number}.fm", ["train.ffm"], read=read, resources=resources)
        assert sum(len(block.batch) for block in seen) >= 1200
        for batch in (block.batch for block in seen):
            if read is PLAIN:
                assert (batch.fields, batch.groups) == (None, None)
            else:
                np.testing.assert_array_equal(batch.fields, batch.indices % 7)
                assert (len(batch.groups), batch.groups.dtype) == (len(batch), np.int64)
                assert set(np.unique(batch.groups)) <= set(range(600))
    for number in (0, 2, 4):
        for name, tensor in tensors(f"{number}.fm").items():
            np.testing.assert_array_equal(tensors(f"{number + 1}.fm")[name], tensor)


def test_a_model_states_fields_and_groups_only_where_they_were_read():
    for name, read in (("a.fm", PLAIN), ("b.fm", KEPT)):
        trained(name, ["train.ffm"], read=read)
    plain, kept = (api.load(name).info["input"] for name in ("a.fm", "b.fm"))
    assert set(plain) == {"index_base", "binary", "positive", "table"}
    assert kept == {**plain, "fields": True, "groups": True}
    assert modelinfo.read_options(api.load("a.fm")) == replace(PLAIN, index_base="0")
    assert modelinfo.read_options(api.load("b.fm")) == replace(KEPT, index_base="0")
    model = api.load("a.fm")
    model.info["input"]["fields"] = "yes"
    with pytest.raises(ModelError, match="fields is 'yes' among its read options"):
        modelinfo.read_options(model)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_workers_of_which_some_find_a_qid_and_others_none_refuse_the_rows(on_error):
    Path("with.svm").write_text("".join(f"{n % 2} qid:1 1:1\n" for n in range(300)))  # a piece each, so for a worker
    Path("none.svm").write_text("".join(f"{n % 2} 123456:1\n" for n in range(300)))
    names, read = ["with.svm", "none.svm"], replace(KEPT, on_error=on_error)
    said = "with.svm and the 1 after it: some rows have a qid: and others none; each row of the data must have one"
    with pytest.raises(DataError, match=said):
        trained("x.fm", names, read=read, resources=team(2), shuffle=False)
    trained("x.fm", names, read=PLAIN, resources=team(2), shuffle=False)
