"""Every script in benchmarks/ runs, once on a few rows and without peers; figures are kept, compared and marked."""

import ast
import json
from pathlib import Path

import figures
import linear
import marks
import numpy as np
import packaged
import pandas as pd
import peers
import pytest
import real_sets
import sets
import suite
from figures import Figure
from shell import ROOT, environment

FEW = ("--rows", "2000")
SMALL = (*FEW, "--scale", "0.01")
REAL = {
    "defaults": ("--quick", "--only", "ml-latest-small"),
    "tuning": ("--only", "ml-latest-small", "--trials", "2", "--seeds", "1"),
}  # need real data
TINY = {
    "startup": (),
    "train_epoch": SMALL,
    "busy": SMALL,
    "train_to_loss": FEW,
    "roofline": SMALL,
    "parse_libsvm": FEW,
    "decode_recordio": FEW,
    "convert_libsvm": FEW,
    "predict_end_to_end": FEW,
    "memory": FEW,
    "streaming": FEW,
    "growth": (*FEW, "--scale", "2", "--quick"),
    "scaling": (*FEW, "--quick"),
    "quality": ("--rows", "300", "--seeds", "1", "--epochs", "1", "none"),
    "dense": ("--rows", "500", "--quick", "none"),
    "device": ("--rows", "500", "--quick"),
    "serve": (),
    "read_tables": FEW,
    "vocabulary": FEW,
    **REAL,
}


@pytest.fixture
def run(monkeypatch):
    """Provide a function that runs scripts once each, as TINY says or with what is given, and gives their figures."""
    for name, value in environment(FMKIT_PEERS="none").items():
        monkeypatch.setenv(name, value)
    return lambda names, *given: suite.run({name: ("--once", *(given or TINY[name])) for name in names})


def test_every_script_is_in_the_suite():
    here = {path.stem for path in Path(suite.__file__).parent.glob("*.py")}
    assert here == {*suite.SCRIPTS, *suite.HELPERS}
    assert TINY.keys() == suite.SCRIPTS.keys()


def test_benchmarks_import_each_other_in_one_direction():
    """Also where a function imports."""
    here = {path.stem: path for path in Path(suite.__file__).parent.glob("*.py")}
    needs = {name: imported(path) & here.keys() for name, path in here.items()}
    assert needs["suite"] >= {"figures", "marks"}
    while needs:
        free = {name for name, others in needs.items() if not others}
        assert free, f"each of these imports another of them: {sorted(needs)}"
        needs = {name: others - free for name, others in needs.items() if name not in free}


def imported(path):
    """Return the names of the modules that a script imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("name", sorted(TINY.keys() - marks.scripts()))
def test_every_script_of_the_benchmarks_runs(run, name, real_data):
    if name in REAL and not real_data.is_dir():
        pytest.skip(f"{real_data} is not here (set FMKIT_DATA to the folder of data sets)")
    found = run([name])
    assert found
    assert all(np.isfinite(one.values).all() and one.unit in figures.BETTER for one in found.values())


def test_scripts_give_the_figures_of_all_marks(run):
    table = marks.table(run(marks.scripts()))
    assert len(table) > 2 + len(marks.ROWS)
    assert "not compared" in "\n".join(table)


def test_defaults_need_no_folder_of_real_data(run, capfd):
    found = run(["defaults"], "--only", "diabetes", "none")
    assert found["defaults", "diabetes, rmse"].unit == "loss"
    printed = capfd.readouterr().out
    assert "there is no folder none" in printed
    assert "| diabetes | 354 | rmse |" in printed


def test_data_sets_keep_text_and_what_is_missing_apart_from_numbers(tmp_path):
    frame = pd.DataFrame(
        {
            "a,b": [1.5, None, 2, 3],
            "c": ["x", None, "y", "x"],
            "d": range(4),
            "e": [True] * 4,
            "y": ["no", "yes", "no", None],
        }
    )
    part = sets.table(frame, "y", sets.BINARY, text=["d"], positive="yes")
    assert part.categorical == ["c", "d"]
    assert part.y.tolist() == [0, 1, 0]
    assert part.write(tmp_path / "rows", "y").read_text() == "a_b,c,d,e,y\n1.5,x,0,1,0\n,,1,1,1\n2.0,y,2,1,0\n"
    assert np.isfinite(linear.linear(sets.BINARY, part, part))


def test_data_sets_are_split_alike_each_time():
    part = sets.Part(pd.DataFrame({"a": np.arange(100)}), np.arange(100))
    rows, test = sets.at_random(part)
    assert sorted([*rows.y, *test.y]) == [*range(100)]
    assert (len(test), list(test.X.a)) == (20, list(sets.at_random(part)[1].y))
    assert [list(one.y) for one in sets.every(part.take(range(10)), 5)] == [[0, 1, 2, 3, 5, 6, 7, 8], [4, 9]]


def test_data_sets_have_names_of_their_own_and_quick_ones_of_every_source():
    groups = [*packaged.SETS.values(), [*real_sets.REAL.values()], real_sets.settings(1), real_sets.DRAWN]
    names = [one.name for group in groups for one in group]
    assert len(names) == len(set(names))
    assert all(any(one.quick for one in group) for group in groups)


def test_a_script_without_enough_runs_is_refused(run, capfd):
    with pytest.raises(Exception, match="exit status 2"):
        suite.run({"startup": ("--runs", "4")})
    assert "at least 5 runs" in capfd.readouterr().err


def test_figures_that_are_kept_come_back_with_the_machine(tmp_path):
    found = {("train", "an epoch"): Figure([1.0, 2.0], "s"), ("train", "rows"): Figure([5.0], "rows")}
    figures.save(tmp_path / "kept.json", found, "quick")
    way, machine, again = figures.load(tmp_path / "kept.json")
    assert (way, again) == ("quick", found)
    assert machine["python"]
    assert machine["processors to use"] >= 1
    assert machine["kernels"] in {"v3", "baseline"}


def test_a_name_that_comes_again_is_numbered(tmp_path):
    lines = [{"script": "decode", "name": "", "unit": "s", "values": [n]} for n in (1.0, 2.0)]
    (tmp_path / "lines").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert figures.read(tmp_path / "lines") == {
        ("decode", "time"): Figure([1.0], "s"),
        ("decode", "time #2"): Figure([2.0], "s"),
    }


@pytest.mark.parametrize(
    ("unit", "before", "now", "verdict"),
    [
        ("s", [1, 1.1, 1.2], [1.3, 1.4, 1.5], "WORSE"),
        ("s", [1, 1.1, 1.2], [0.7, 0.8, 0.9], "better"),
        ("s", [1, 1.1, 1.4], [1.3, 1.4, 1.5], ""),
        ("s", [1, 1, 1], [1.04, 1.04, 1.04], ""),
        ("share", [0.5], [0.4], "WORSE"),
        ("share", [0.5], [0.6], "better"),
        ("loss", [0.5], [0.502], "WORSE"),
        ("loss", [0.5], [0.5005], ""),
    ],
)
def test_a_change_beyond_the_spread_of_both_is_judged(unit, before, now, verdict):
    assert figures.judged(Figure(before, unit), Figure(now, unit)) == verdict


def test_a_comparison_counts_what_has_become_worse_of_fmkit_alone():
    slow, fast = Figure([2.0], "s"), Figure([1.0], "s")
    base = {("a", "own"): fast, ("a", "xlearn, 1"): fast, ("a", "gone"): fast, ("a", "rows"): Figure([1], "rows")}
    new = {("a", "own"): slow, ("a", "xlearn, 1"): fast, ("a", "new"): fast, ("a", "rows"): Figure([2], "rows")}
    assert figures.worse(base, new) == [("a", "own")]
    text = "\n".join(figures.compared(base, new))
    assert text.count("WORSE") == 1
    assert "| a: own | s | 1 (1 to 1) | 2 (2 to 2) | +100.0% | WORSE |" in text
    assert "| a: gone | s | 1 (1 to 1) | absent | | |" in text
    assert "not the same work" in text


def test_what_became_slower_as_others_did_is_not_worse():
    fast, slow = Figure([1.0], "s"), Figure([2.0], "s")
    base, new = ({("a", name): one for name in ("own", "xlearn, 1")} for one in (fast, slow))
    assert figures.worse(base, new) == []
    assert figures.worse(base, {**new, ("a", "own"): Figure([2.2], "s")}) == [("a", "own")]
    assert figures.worse(base, {**base, ("a", "own"): slow}) == [("a", "own")]


def test_what_seems_worse_is_measured_once_more(monkeypatch):
    slow, fast, best = Figure([2.0], "s"), Figure([1.0], "s"), Figure([0.5], "share")
    asked = []
    monkeypatch.setattr(suite, "run", lambda commands: asked.append(commands) or {("startup", "own"): fast})
    old = {("startup", "own"): fast, ("roofline", "share"): best}
    assert suite.confirmed(("quick", {}, old), {("startup", "own"): slow, ("roofline", "share"): best}) == old
    assert asked == [{"startup": ()}]
    assert suite.confirmed(("quick", {}, old), old) == old
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("peer", "seconds", "verdict"),
    [
        ("xlearn", 4.0, "met"),
        ("xlearn", 3.9, "NOT MET"),
        ("modern_fm", 12.5, "met"),
        ("modern_fm", 12.4, "NOT MET"),
        ("vowpalwabbit", 6.2, "met"),
        ("vowpalwabbit", 6.1, "NOT MET"),
    ],
)
def test_a_mark_without_xlearn_goes_by_another_peer(peer, seconds, verdict):
    found = {("train_epoch", f"k = {k}, fmkit, {n}"): Figure([1.0], "s") for k in marks.EPOCH for n in (1, 2)}
    found["train_epoch", f"k = 8, {peer}, 1"] = Figure([seconds], "s")
    found["train_epoch", "rows"] = Figure([1e6], "rows")
    first, *others = marks.epochs(marks.Found(found))
    assert first.verdict() == verdict
    assert {mark.verdict() for mark in others if "xLearn" in mark.wanted} == {"not compared"}


def test_peers_can_be_left_out_or_looked_for_elsewhere(monkeypatch, capsys):
    for python, expected in (("none", ()), (peers.sys.executable, None)):
        monkeypatch.setattr(peers, "PYTHON", python)
        peers.here.cache_clear()
        assert set(peers.here()) <= set(peers.NAMES if expected is None else expected)
    peers.here.cache_clear()
    monkeypatch.setattr(peers, "PYTHON", "none")
    peers.print_missing()
    assert "xlearn, vowpalwabbit, modern_fm, myfm" in capsys.readouterr().out
    peers.here.cache_clear()


def test_the_makefile_runs_the_suite():
    assert "benchmarks/suite.py --save" in (ROOT / "Makefile").read_text()
