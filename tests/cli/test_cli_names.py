"""The name of an output says its format: what is written is what the name says, or the name is refused."""

import bz2
import gzip
import json

import pytest
from shell import last_line, libsvm_rows, records

ROWS = "1 0:1\n0 1:1\n"
FORMS = {
    "text": ("s", "s.txt", "s.scores", "S.TXT", "s.txt.gz"),
    "csv": ("s.csv", "S.CSV", "s.csv.gz", "s.csv.BZ2"),
    "json": ("s.json",),
    "jsonlines": ("s.jsonl", "s.ndjson", "s.jsonlines"),
    "recordio": ("s.rec", "s.recordio"),
}
KIND = ("--predictor-type", "binary_classifier", "-q")


def plain(data):
    """Return the bytes as they were before gzip or bzip2."""
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress)):
        if data.startswith(magic):
            return unpack(data)
    return data


@pytest.mark.parametrize(("form", "name"), [(form, name) for form, names in FORMS.items() for name in names])
def test_predictions_are_what_their_name_says(fm, world, form, name):
    fm("predict", world.classifier, "-o", name, stdin=ROWS)
    wanted = fm("predict", world.classifier, "--to", form, stdin=ROWS, binary=True).out
    written = fm.read(name)
    assert (plain(written), plain(written) == written) == (wanted, not name.lower().endswith(("gz", "bz2")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("-o", "s.parquet"),
            "s.parquet is named as .parquet, which is not written here; expected .txt, .csv, .json, ",
        ),
        (("-o", "s.tsv"), "s.tsv is named as .tsv, which is not written here; "),
        (("-o", "s.svm"), "s.svm is named as .svm, which is not written here; "),
        (("-o", "s.csv.xz"), "s.csv.xz is named as .xz, which is not written here; "),
        (("-o", "s.CSV.XZ"), "s.CSV.XZ is named as .xz, which is not written here; "),
        (("-o", "s.xlsx", "--to", "csv"), "s.xlsx is named as .xlsx, which is not written here; "),
        (("-o", "s.csv", "--to", "json"), "s.csv is named as csv, but --to is json; change one of them"),
        (("-o", "s.json.gz", "--to", "text"), "s.json.gz is named as json, but --to is text; change one of them"),
        (("-o", "s.txt", "--to", "recordio"), "s.txt is named as text, but --to is recordio; change one of them"),
    ],
)
def test_predictions_under_the_name_of_another_format_are_refused(fm, world, arguments, message):
    assert fm("predict", world.classifier, *arguments, stdin=ROWS, code=2).err.startswith(f"fm: {message}")
    assert fm.files() == []


def test_a_format_of_text_may_be_named_txt(fm, world):
    fm("predict", world.classifier, "-o", "s.txt", "--to", "csv", stdin=ROWS)
    assert fm.read("s.txt").startswith(b"id,score,predicted_label\n")


def test_conversions_are_what_their_name_says(fm):
    for name in ("x.rec", "X.SVM", "x.svm.GZ", "x.RECORDIO.bz2"):
        fm("convert", "-", "-o", name, "--feature-dim", 2, "-q", stdin=ROWS)
    assert fm.read("X.SVM").decode() == ROWS
    assert gzip.decompress(fm.read("x.svm.GZ")).decode() == ROWS
    assert records(fm.read("x.rec")) == records(bz2.decompress(fm.read("x.RECORDIO.bz2")))
    assert fm("convert", "x.svm.GZ", "-o", "-", "--to", "libsvm", "-q").out == ROWS
    fm.write("y.GZ", ROWS)
    assert "its name ends with .gz, but it holds no gzip data" in fm("convert", "y.GZ", "-o", "z", code=3).err


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.csv.gz", "x.tsv", "x.json", "x.ffm", "x.svm.xz", "x.zip"])
def test_conversions_under_the_name_of_another_format_are_refused(fm, name):
    printed = fm("convert", "-", "-o", name, stdin=ROWS, code=2).err
    assert " which is not written here; expected .rec, .svm, each perhaps with .gz, .bz2 or .zst behind" in printed
    assert fm.files() == []


def test_a_conversion_to_another_format_than_its_name_is_refused(fm):
    message = "x.svm.gz is named as libsvm, but --to is recordio; change one of them"
    assert last_line(fm("convert", "-", "-o", "x.svm.gz", "--to", "recordio", stdin=ROWS, code=2).err).endswith(message)


def test_exports_are_what_their_name_says(fm, world):
    fm("export", world.classifier, "-o", "w.csv.GZ")
    assert gzip.decompress(fm.read("w.csv.GZ")).startswith(b"index,linear,v0")
    fm("export", world.classifier, "-o", "w.json")
    assert json.loads(fm.read("w.json"))["feature_dim"] == 20
    vectors = ("export", world.classifier, "--vectors", "users", "--range", ":3")
    fm(*vectors, "-o", "v.jsonl")
    assert len(list(map(json.loads, fm.read("v.jsonl").splitlines()))) == 3
    fm(*vectors, "-o", "v.rec")
    assert len(records(fm.read("v.rec"))) == 3
    for name, arguments in (("w.jsonl", ()), ("w.rec", ()), ("w.parquet", ()), ("w.csv", ("--to", "json"))):
        assert f"{name} is named as " in fm("export", world.classifier, "-o", name, *arguments, code=2).err
    assert "v.json is named as .json, " in fm(*vectors, "-o", "v.json", code=2).err


def test_models_and_shards_keep_their_names(fm):
    fm.write("x.svm", libsvm_rows(20, 1))
    fm("train", "x.svm", *KIND, "-o", "m.csv")
    fm("convert", "x.svm", "-o", "part.SVM.gz", "--shards", 2, "-q")
    assert {"part-00000-of-00002.SVM.gz", "part-00001-of-00002.SVM.gz"} <= set(fm.files())
    assert gzip.decompress(fm.read("part-00000-of-00002.SVM.gz")).count(b"\n") == 10
