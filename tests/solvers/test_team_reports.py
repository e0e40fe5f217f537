"""Reports of a team on its rows: those of a single reader, whichever worker has read which rows."""

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rows import random_rows
from shell import libsvm_rows
from teams import team

from fmcore import api
from fmcore.errors import DataError
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions, Report
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources.source import title
from fmcore.schema.options import TableOptions
from fmcore.solvers.team.team import note_skew

SKIP = ReadOptions(binary=True, on_error="skip")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.svm").write_text(libsvm_rows(200, 9))


def damaged(rows, seed, wrong):
    """Return libsvm text with wrong lines, of several kinds, at random places."""
    lines, rng = libsvm_rows(rows, seed).splitlines(keepends=True), random.Random(seed)
    for number in range(wrong):
        lines.insert(rng.randrange(len(lines)), ("1 3:x\n", "7 1:1\n", "y 1:1\n", "# nothing\n")[number % 4])
    return "".join(lines)


def reports_of(names, tests, read, resources, **hyperparameters):
    """Return the Reports of training and test rows."""
    data, test = api.Data(names, read), api.Data(tests, read)
    h = resolve(predictor_type="binary_classifier", epochs=1, **hyperparameters)
    api.train(data, h, "x.fm", test=test, resources=resources)
    return data.report, test.report


def in_order(report, names):
    """Return the errors of a report with an unlimited list, as text, in the order of the files."""
    return [str(error) for error in sorted(report.errors, key=lambda error: (names.index(error.source), error.number))]


def require_alike(names, tests, read=SKIP, **hyperparameters):
    """Assert that teams report as much as a single process, whose list of errors is unlimited; return its reports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmcore.io.options.SHOWN", 10**6)
        alone = reports_of(names, tests, read, None, **hyperparameters)
    for workers, limit in ((1, None), (3, None), (4, 1)):
        found = reports_of(names, tests, read, team(workers, memory_limit=limit), **hyperparameters)
        for one, other, files in zip(found, alone, (names, tests), strict=True):
            assert one.counts == other.counts
            assert [str(error) for error in one.errors] == in_order(other, files)[:5]
            assert set(other.notes) <= set(one.notes)
            assert {name: one.facts[name] for name in other.facts} == other.facts
    return alone


def test_rows_that_workers_skip_are_counted_and_named_by_their_places_in_whole_files():
    Path("a.svm").write_text(damaged(900, 1, 40))
    Path("b.svm").write_text(damaged(1500, 2, 9))
    Path("test.svm").write_text(damaged(800, 3, 30))
    train, test = require_alike(["b.svm", "a.svm"], ["test.svm"])
    assert train.counts == {"rows skipped": 37}
    assert test.counts["rows skipped"] == 23


def test_rows_beyond_the_stated_features_are_counted_and_named_by_their_places_in_whole_files():
    Path("a.svm").write_text(libsvm_rows(1500, 1))
    train, _ = require_alike(["a.svm"], ["good.svm"], feature_dim=19)
    assert train.counts["rows skipped"] > 100


def test_bad_records_of_workers_are_named_with_the_byte_at_which_they_begin():
    batch = random_rows(2000, 20, seed=4)
    batch.labels[[3, 700, 1400, 1401, 1900]] = 5
    Path("a.rec").write_bytes(recordio.encode(batch, 20))
    Path("b.rec").write_bytes(recordio.encode(random_rows(900, 20), 20))
    train, _ = require_alike(["b.rec", "a.rec"], ["a.rec"])
    assert [error.number for error in train.errors] == [4, 701, 1401, 1402, 1901]


def test_files_that_all_workers_read_are_reported_once():
    Path("a.gz").write_bytes(gzip.compress(damaged(600, 1, 20).encode()))
    Path("a.svm").write_text(damaged(900, 2, 20))
    require_alike(["a.gz", "a.svm"], ["a.gz"])
    Path("x.csv").write_text("a,y\n" + "".join(f"{n % 5},{'?' if n % 100 == 7 else n % 2}\n" for n in range(600)))
    read = replace(SKIP, table=TableOptions(label="y"))
    train, _ = require_alike(["x.csv"], ["x.csv"], read)
    assert train.counts == {"rows skipped": 6}


def test_notes_of_a_team_are_those_of_all_rows():
    Path("one.svm").write_text("".join(f"{n % 2} {1 + n % 6}:1 {7 + n % 3}:1\n" for n in range(2000)))
    train, test = require_alike(["one.svm"], ["one.svm"])
    assert "lowest index is 1 in one.svm" in train.notes[0]
    assert "lowest index is 1 in one.svm" in test.notes[0]


def test_values_unknown_to_the_model_are_counted_over_all_workers():
    Path("narrow.svm").write_text("".join(f"{n % 2} {n % 6}:1\n" for n in range(2000)))
    _, test = require_alike(["narrow.svm"], ["good.svm"])
    assert test.counts["non-zeros of features unknown to the model ignored"] > 100


def test_labels_0_and_minus_1_in_different_workers_are_refused_even_where_errors_are_skipped():
    """Each worker sees one kind, so neither kind can be called wrong because the other came first."""
    Path("zero.svm").write_text(
        "".join(f"{n % 2} 1:1\n" for n in range(600))
    )  # a piece each, and so one for each worker
    Path("minus.svm").write_text("".join(f"{n % 2 * 2 - 1} 1:1\n" for n in range(600)))
    names, said = ["zero.svm", "minus.svm"], "labels 0 in some places and -1 in others; expected 0 and 1, or -1 and 1"
    for on_error in ("skip", "fail"):
        read = replace(SKIP, on_error=on_error)
        with pytest.raises(DataError, match=rf"^{title(api.Data(names).sources)}: {said}"):
            reports_of(names, ["good.svm"], read, team(2), shuffle=False)
        with pytest.raises(DataError, match=r"^(zero\.svm and|minus\.svm, line 1: label -1 beside label 0)"):
            reports_of(["good.svm"], names, read, team(2))
    with pytest.raises(DataError, match=r"^minus\.svm, line 1: label -1 beside label 0; expected 0 and 1"):
        reports_of(names, ["good.svm"], replace(SKIP, on_error="fail"), team(1), shuffle=False)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([10, 10, 12], []),
        ([10, 0, 12, 0], ["2 of 4 workers have no rows"]),
        ([1000, 1000, 4000], ["one worker has 4,000 rows where the mean is 2,000"]),
    ],
)
def test_uneven_numbers_of_rows_of_workers_are_noted(rows, said):
    report = Report()
    note_skew(report, rows)
    assert [note[: len(start)] for note, start in zip(report.notes, said, strict=True)] == said
