import io
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from models import COLUMNS, HYPERPARAMETERS, INFO, READ, schema_model, small_model
from shell import ROOT

from fmcore import api
from fmcore.errors import DivergedError
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.model import header as modelheader
from fmcore.model.export import feature_names
from fmcore.model.file import dump, load, save
from fmcore.model.model import initial
from fmcore.optimizers import OPTIMIZERS
from fmcore.schema.dates import parts, seconds

GOLDEN = ROOT / "tests" / "golden" / "model-v1.fm"
GOLDEN_2 = ROOT / "tests" / "golden" / "model-v2.fm"
MADE = (small_model, schema_model)


def dumped(model):
    handle = io.BytesIO()
    dump(model, handle)
    return handle.getvalue()


def assert_same(one, other):
    assert one.hyperparameters == other.hyperparameters
    assert one.info == other.info
    assert (one.schema and one.schema.as_dict()) == (other.schema and other.schema.as_dict())
    mine, theirs = one.tensors() | one.schema_tensors(), other.tensors() | other.schema_tensors()
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        twin = theirs[name]
        assert (array.dtype, array.shape, array.tobytes()) == (twin.dtype, twin.shape, twin.tobytes())


def test_the_golden_file_of_version_1_stays_readable():
    model = load(GOLDEN, verify=True)
    assert {name: model.hyperparameters.as_dict()[name] for name in HYPERPARAMETERS} == HYPERPARAMETERS
    assert model.info == INFO
    assert model.bias.tolist() == [-1.5]
    assert model.linear.tolist() == np.array([0, 1, -2.5, 3e38, 1e-45], np.float32).tolist()
    assert model.factors.tolist() == (np.arange(15, dtype=np.float32).reshape(5, 3) / 7).tolist()
    assert {name: array.tolist() for name, array in model.state.items()} == {
        "adagrad.linear": [0, 1, 2, 3, 4],
        "adagrad.bias": [1],
        "updates": 12,
        "sums": [[0.1, 0.2]],
    }
    assert (model.schema, model.schema_tensors()) == (None, {})


def test_the_golden_file_of_version_2_stays_readable_and_means_the_same():
    model = load(GOLDEN_2, verify=True)
    assert_same(model, schema_model())
    assert dumped(model) == GOLDEN_2.read_bytes()
    assert model.schema.columns == COLUMNS
    assert model.info["input"] == READ
    names = feature_names(model)
    assert [names.get(index) for index in (0, 1, 2, 8, 9, 10, 11, 12)] == [
        "age",
        "pay",
        "when:years",
        "when:cos(day)",
        "city=Zürich",
        "tags=a",
        "city=Oslo, NO",
        "tags=b",
    ]


ROWS = """\
when,tags,id,city,more,pay,age
2024-01-31 07:30,a|b,r1," Oslo, NO ",x,-3,1.5
,b|c,r2,Zürich,y,0,
2000-01-01,,r3,Rome,z,9,-2
"""


def test_the_golden_file_of_version_2_scores_a_table_by_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    model = load(GOLDEN_2)
    assert api.predict(model, api.Data([str(path)], api.read_options(model)), str(tmp_path / "s.csv")) == 3
    when = parts(np.array([seconds("2024-01-31 07:30"), 0.0]))
    dense = np.zeros((3, 13))
    dense[0] = [1.5, -np.log1p(3), *when[0], 0, 0.5, 1, 0.5]
    dense[1, [9, 12]] = 1, 0.5
    dense[2] = [-2, np.log1p(9), *when[1], 0, 0, 0, 0]
    v = model.factors.astype(np.float64)
    pairs = ((dense @ v) ** 2 - (dense**2) @ (v**2)).sum(axis=1) / 2
    expected = 1 / (1 + np.exp(-(0.5 + dense @ model.linear + pairs)))
    found = [line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    assert [line[0] for line in found] == ["r1", "r2", "r3"]
    np.testing.assert_allclose([float(line[1]) for line in found], expected, rtol=1e-5)


@pytest.mark.parametrize("make", MADE)
def test_a_round_trip_keeps_every_bit(tmp_path, make):
    path = tmp_path / "m.fm"
    save(make(), path)
    model = load(path, verify=True)
    assert_same(model, make())
    assert dumped(model) == path.read_bytes()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**63 - 1),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
    ),
)
def test_any_model_is_loaded_as_it_was_saved(tmp_path_factory, d, k, seed, info):
    model = initial(resolve(predictor_type="regressor", feature_dim=d, num_factors=k, seed=seed))
    model.info = {"any": info}
    path = tmp_path_factory.getbasetemp() / "any.fm"
    save(model, path)
    assert_same(load(path, verify=True), model)


def test_keys_of_info_that_are_no_texts_become_texts(tmp_path):
    model = small_model()
    model.info = {"sizes": {10: (1, 2), 9: "x"}}
    save(model, tmp_path / "m.fm")
    assert load(tmp_path / "m.fm").info == {"sizes": {"10": [1, 2], "9": "x"}}


@pytest.mark.parametrize("make", MADE)
def test_the_safetensors_library_reads_the_same(tmp_path, make):
    model = make()
    (tmp_path / "m.fm").write_bytes(dumped(model))
    with safetensors.safe_open(tmp_path / "m.fm", "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
    assert list(metadata) == ["fmkit"]
    assert {name: array.tobytes() for name, array in tensors.items()} == {
        name: array.tobytes() for name, array in (model.tensors() | model.schema_tensors()).items()
    }


def test_two_processes_write_the_same_bytes():
    code = (
        "import sys, io; from models import schema_model; from fmcore.model.file import dump; "
        "b = io.BytesIO(); dump(schema_model(), b); sys.stdout.buffer.write(b.getvalue())"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    written = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1] == dumped(schema_model())


def test_loading_does_not_import_the_library():
    code = "import sys; from fmcore.model.file import load; load(sys.argv[1]); sys.exit('safetensors' in sys.modules)"
    for path in (GOLDEN, GOLDEN_2):
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=ROOT)


@pytest.mark.parametrize("make", MADE)
def test_arrays_are_mapped_aligned_and_read_only(tmp_path, make):
    save(make(), tmp_path / "m.fm")
    model = load(tmp_path / "m.fm")
    for array in (model.tensors() | model.schema_tensors()).values():
        assert array.flags.aligned
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("info", ["", "x", "xy" * 40])
def test_factors_are_mapped_on_cache_lines(tmp_path, optimizer, info):
    hyperparameters = resolve(predictor_type="regressor", feature_dim=7, num_factors=3, optimizer=optimizer)
    model, backend = initial(hyperparameters), backend_for("cpu")
    model = backend.trainer(model).snapshot()
    model.info = {"any": info}
    save(model, tmp_path / "m.fm")
    assert load(tmp_path / "m.fm").factors.ctypes.data % 64 == 0


def test_a_mapped_model_may_replace_its_own_file(tmp_path):
    path = tmp_path / "m.fm"
    save(small_model(), path)
    model = load(path)
    model.info = {"again": True}
    save(model, path)
    assert_same(load(path, verify=True), model)
    assert [p.name for p in tmp_path.iterdir()] == ["m.fm"]


@pytest.mark.parametrize("name", ["bias", "linear", "factors", "state"])
def test_a_number_that_is_not_finite_is_never_written(name, tmp_path):
    path, model = tmp_path / "m.fm", small_model()
    save(model, path)
    before, handle = path.read_bytes(), io.BytesIO()
    array = model.state["adagrad.linear"] if name == "state" else getattr(model, name)
    array.flat[-1] = np.nan
    for write in (lambda: save(model, path), lambda: dump(model, handle)):
        with pytest.raises(DivergedError, match=name):
            write()
    assert (path.read_bytes(), handle.getvalue()) == (before, b"")
    assert [p.name for p in tmp_path.iterdir()] == ["m.fm"]


def test_a_metric_that_is_not_finite_is_never_written():
    model = small_model()
    model.info["metrics"]["test"] = {"logloss": float("inf")}
    with pytest.raises(DivergedError, match="metric"):
        dumped(model)


def test_what_a_model_file_cannot_hold_is_refused(monkeypatch):
    model = small_model()
    model.state["sums"] = np.zeros(2, np.float16)
    with pytest.raises(ValueError, match=r"state\.sums is float16"):
        dumped(model)
    monkeypatch.setattr(modelheader, "MAX_LENGTH", 1000)
    with pytest.raises(ValueError, match="makes a header of"):
        dumped(small_model())


def test_a_large_model_is_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("fmcore.model.file.CHUNK", 7)
    save(small_model(), tmp_path / "m.fm")
    assert (tmp_path / "m.fm").read_bytes() == dumped(small_model())


MEASURE = """
import resource, sys
from fmcore.model.file import load
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
model = load(sys.argv[1])
assert model.feature_dim == 60_000_000
assert float(model.factors[[1, 30_000_000, 59_999_999]].sum() + model.linear[[7, 59_999_999]].sum()) == 0
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 64 << 20
"""


def test_scoring_from_a_large_file_does_not_read_it_whole(tmp_path):
    path, d, k = tmp_path / "m.fm", 60_000_000, 8
    with path.open("wb") as file:
        tensors = {"bias": (1,), "linear": (d,), "factors": (d, k)}
        table, end = {}, 0
        for name, shape in tensors.items():
            begin, end = end, end + 4 * int(np.prod(shape))
            table[name] = modelheader.TensorEntry("F32", shape, begin, end)
        h = resolve(predictor_type="regressor", num_factors=k)
        head = modelheader.encode(table, {"feature_dim": d, "hyperparameters": h.as_dict(), "info": {}, "checksum": ""})
        file.write(head)
        file.truncate(len(head) + end)  # 2 GB of hole
    subprocess.run([sys.executable, "-c", MEASURE, str(path)], check=True, cwd=ROOT)
