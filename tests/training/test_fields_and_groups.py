"""Rows with fields and groups: trained like any others on every path, where no family or metric needs these."""

import itertools
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fielded import Fielded
from shell import ROOT
from teams import team, trained

from fmcore import api
from fmcore.errors import DataError, ModelError
from fmcore.families import FAMILIES, family_of
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions, needed_by
from fmcore.kernels.cpu import CpuBackend
from fmcore.model import info as modelinfo
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.objectives.squared import Squared
from fmcore.schema.options import TableOptions

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


@pytest.mark.parametrize("values", [None, (), ("NA", "?")])
def test_a_model_keeps_how_its_tables_were_read(values):
    Path("t.csv").write_text("y;n\n1;2\n0;3\n")
    table = TableOptions(label="y", missing_values=values, delimiter=";", quotes=False)
    trained("t.fm", ["t.csv"], read=replace(PLAIN, format="csv", table=table))
    model = api.load("t.fm")
    assert modelinfo.read_options(model).table == replace(table, label=None)  # which the schema knows
    assert model.schema.label["name"] == "y"


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_workers_of_which_some_find_a_qid_and_others_none_refuse_the_rows(on_error):
    Path("with.svm").write_text("".join(f"{n % 2} qid:1 1:1\n" for n in range(300)))  # a piece each, so for a worker
    Path("none.svm").write_text("".join(f"{n % 2} 123456:1\n" for n in range(300)))
    names, read = ["with.svm", "none.svm"], replace(KEPT, on_error=on_error)
    said = "with.svm and the 1 after it: some rows have a qid: and others none; each row of the data must have one"
    with pytest.raises(DataError, match=said):
        trained("x.fm", names, read=read, resources=team(2), shuffle=False)
    trained("x.fm", names, read=PLAIN, resources=team(2), shuffle=False)


def fielded(**chosen):
    """Hyperparameters of a family that needs fields, which is trained slowly and starts at weights of 0.1."""
    linear = {"linear_init_method": "constant", "linear_init_value": 0.1, "linear_lr": 0.5, "linear_wd": 0.0}
    return {"predictor_type": "regressor", "family": "fielded", "epochs": 10, "seed": 1, **linear, **chosen}


def files(kind):
    """Return read options and two files of rows whose field is their column: libffm text, or the same rows as CSV."""
    rng = np.random.default_rng(5)
    X, weights = np.round(rng.normal(size=(300, 3)), 3), np.array([1.0, -0.5, 0.25]) * [1, 2, 3]
    labels = np.round(X @ weights, 3)
    for name, some in (("train", slice(200)), ("test", slice(200, 300))):
        rows = zip(labels[some], X[some], strict=True)
        if kind == "csv":
            lines = ["y,a,b,c", *(f"{y},{x[0]},{x[1]},{x[2]}" for y, x in rows)]
        else:
            lines = [" ".join([f"{y}", *(f"{i}:{i}:{value}" for i, value in enumerate(x))]) for y, x in rows]
        Path(f"{name}.{kind}").write_text("\n".join(lines) + "\n")
    table = TableOptions(label="y") if kind == "csv" else TableOptions()
    return ReadOptions(format=kind, table=table), f"train.{kind}", f"test.{kind}"


def matrix_of(name):
    """Return the values of such a file, float64 (rows, 3)."""
    lines = Path(name).read_text().splitlines()
    if name.endswith("csv"):
        return np.array([line.split(",")[1:] for line in lines[1:]], float)
    return np.array([[token.split(":")[2] for token in line.split()[1:]] for line in lines], float)


@pytest.mark.parametrize("kind", ["libffm", "csv"])
def test_a_family_that_needs_fields_is_read_with_them_by_train_eval_and_predict(kind, monkeypatch):
    monkeypatch.setitem(FAMILIES, "fielded", Fielded())
    read, train, test = files(kind)
    assert not read.fields
    model = api.train(api.Data([train], read), resolve("native-1", **fielded()), "a.fm", test=api.Data([test], read))
    assert model.info["input"]["fields"] is True
    np.testing.assert_allclose(model.weights["linear"], [1, -0.5, 0.25], atol=0.02)  # [1, -1, 0.75] without fields
    loaded = api.load("a.fm")
    found = api.evaluate(loaded, api.Data([test], read))
    assert found["rmse"] == pytest.approx(model.info["epochs"][-1]["test"]["rmse"])
    assert api.predict(loaded, api.Data([test], modelinfo.read_options(loaded)), "scores.txt") == 100
    expected = matrix_of(test) @ (model.weights["linear"] * [1, 2, 3])
    np.testing.assert_allclose(np.loadtxt("scores.txt"), expected, rtol=1e-5, atol=1e-5)


TUNING = """import sys
sys.path.insert(0, {helpers!r})
import fielded
fielded.register()
if __name__ == "__main__":
    from fmcore import api
    from fmcore.io.options import ReadOptions
    from fmcore.schema.options import TableOptions
    from fmcore.tuning.dimensions import Range
    from fmcore.tuning.space import search_space
    from fmcore.tuning.tune import Plan, tune
    data = [api.Data([name], {read!r}) for name in {names!r}]
    space = search_space({{"linear_lr": Range(0.05, 0.5)}}, {fixed!r})
    tune(*data, space, "b.fm", Plan(trials=1, strategy="random"))
"""


def test_tuning_reads_the_fields_that_a_family_needs(monkeypatch):
    monkeypatch.setitem(FAMILIES, "fielded", Fielded())
    read, *names = files("libffm")
    fixed = {name: value for name, value in fielded(epochs=2).items() if name != "linear_lr"}
    program = TUNING.format(helpers=str(ROOT / "tests/helpers"), read=read, names=names, fixed=fixed)
    Path("program.py").write_text(program)
    subprocess.run([sys.executable, "program.py"], check=True)
    assert api.load("b.fm").info["input"]["fields"] is True


def test_groups_are_read_where_an_objective_couples_rows_by_them(monkeypatch):
    class Coupled(Squared):
        name, kernel, groups = "coupled", None, True

    monkeypatch.setitem(OBJECTIVES, "coupled", Coupled())
    h = resolve("native", predictor_type="coupled", epochs=1)
    assert needed_by(PLAIN, objective_of(h), family_of(h)) == replace(PLAIN, groups=True)
    assert needed_by(KEPT, objective_of("regressor"), family_of(h)) == KEPT
    assert api.train(api.Data(["train.ffm"], ReadOptions()), h, "c.fm").info["input"]["groups"] is True
