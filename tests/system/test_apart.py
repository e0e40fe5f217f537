"""Paths that lead to one file are recognized, whether the file exists or not."""

import os
from pathlib import Path

import pytest

from fmcore import api
from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.system import apart
from fmcore.system.apart import require_apart


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("one", "other"), [("y", "./y"), ("y", "sub/../y"), ("link", "y"), ("through/y", "y")])
def test_a_file_to_be_is_recognized(one, other):
    Path("sub").mkdir()
    Path("link").symlink_to("y")
    Path("through").symlink_to(".")
    with pytest.raises(UsageError, match="is named for two outputs, a and b; "):
        require_apart({"a": one, "b": other})
    require_apart({"a": one, "b": other + "2"})


def test_case_counts_only_where_the_file_system_minds_it(monkeypatch):
    assert not apart.ignores_case(Path.cwd())
    require_apart({"a": "Model.fm", "b": "model.fm"})
    monkeypatch.setattr(apart, "ignores_case", lambda _: True)
    with pytest.raises(UsageError, match=r"model\.fm is named for two outputs"):
        require_apart({"a": "Model.fm", "b": "model.fm"})


def test_a_file_system_that_ignores_case_is_recognized(folder, monkeypatch):
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: real(str(path).replace("SUB", "sub"), **options))
    (folder / "sub").mkdir()
    assert apart.ignores_case(folder / "sub")


def test_none_and_paths_that_cannot_exist_are_passed_over():
    require_apart({"a": None, "b": "x\0y", "c": "x" * 5000}, [None, "x\0y", "gone/x"])


def test_files_of_a_folder_are_inputs_and_a_descriptor_is_seen_through(folder):
    (folder / "sub").mkdir()
    (folder / "sub/x").write_text("")
    with pytest.raises(UsageError, match="that is the input sub, which it would replace"):
        require_apart({"a": "sub/x"}, ["sub"])
    with (folder / "sub/x").open() as handle, pytest.raises(UsageError, match="that is the input sub/x"):
        require_apart({"a": f"/dev/fd/{handle.fileno()}"}, ["sub/x"])


def test_programs_in_python_are_protected_as_well(folder):
    rows = folder / "x.svm"
    rows.write_text("1 0:1\n0 1:1\n")
    h = resolve(predictor_type="binary_classifier", epochs=1)
    with pytest.raises(UsageError, match="the model cannot be written to "):
        api.train(api.Data([rows]), h, rows)
    model = api.train(api.Data([rows]), h, "m.fm")
    with pytest.raises(UsageError, match="the rows cannot be written to "):
        api.convert(api.Data([rows]), "x.svm")
    with pytest.raises(UsageError, match="the predictions cannot be written to "):
        api.predict(model, api.Data([rows]), "x.svm")
    with pytest.raises(UsageError, match=r"the predictions cannot be written to m\.fm"):
        api.predict(api.load("m.fm"), api.Data([rows]), "m.fm")
    with pytest.raises(UsageError, match=r"the export cannot be written to m\.fm"):
        api.export(api.load("m.fm"), "m.fm")
    assert rows.read_text() == "1 0:1\n0 1:1\n"
