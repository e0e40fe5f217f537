"""Outputs that are inputs, or one another, are refused by every command before anything is read or replaced."""

import json
import os
import subprocess

import pytest
from shell import Shell, last_line, libsvm_rows

ROWS = libsvm_rows(30, 5)
KIND = ("--predictor-type", "binary_classifier", "--epochs", 1, "-q")
REPLACES = "which it would replace; name another file"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with a model, a vocabulary of it, and what an import reads."""
    fm = Shell(tmp_path_factory.mktemp("models"))
    fm.write("x.csv", "label,city\n1,Rome\n0,Oslo\n")
    fm(
        "train",
        "x.csv",
        "--label-column",
        "label",
        "--categorical",
        "city",
        "--vocabulary",
        "v.tsv",
        "-o",
        "m.fm",
        *KIND,
    )
    return fm.folder


@pytest.fixture
def files(fm, models):
    """Return the command in a folder of rows, links to them, a model and its vocabulary."""
    for name in ("m.fm", "v.tsv", "x.csv"):
        fm.write(name, (models / name).read_bytes())
    fm.write("x.svm", ROWS)
    fm.write("data/a.svm", ROWS)
    fm.write("data/x-00001-of-00002.svm", ROWS)
    fm.write("list.manifest", json.dumps([{"prefix": "data/"}, "a.svm"]))
    fm.write("h.json", json.dumps({"predictor_type": "binary_classifier"}))
    (fm.folder / "soft.svm").symlink_to("x.svm")
    (fm.folder / "hard.svm").hardlink_to(fm.folder / "x.svm")
    (fm.folder / "here").symlink_to(".")
    return fm


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "x.svm", "-o", "x.svm", *KIND),
        ("train", "x.svm", "-o", "./x.svm", *KIND),
        ("train", "x.svm", "-o", "data/../x.svm", *KIND),
        ("train", "x.svm", "-o", "here/x.svm", *KIND),
        ("train", "x.svm", "-o", "soft.svm", *KIND),
        ("train", "soft.svm", "-o", "x.svm", *KIND),
        ("train", "x.svm", "-o", "hard.svm", *KIND),
        ("train", "--train", "x.svm", "-o", "x.svm", *KIND),
        ("train", "data/a.svm", "--test", "x.svm", "-o", "x.svm", *KIND),
        ("train", "x.svm", "-o", "y.fm", "--metrics-out", "x.svm", *KIND),
        ("train", "data/a.svm", "--test", "x.svm", "-o", "y.fm", "--metrics-out", "x.svm", *KIND),
        ("train", "x.svm", "-o", "y.fm", "--checkpoint", "x.svm", "--resume", *KIND),
        ("train", "x.csv", "-o", "y.fm", "--vocabulary", "x.csv", "--categorical", "city", "--label-column", 0, *KIND),
        ("train", "x.svm", "-o", "h.json", "--hyperparameters", "h.json", "-q"),
        ("train", "x.svm", "--init-model", "m.fm", "-o", "y.fm", "--metrics-out", "m.fm", "-q"),
        ("train", "x.svm", "--init-model", "m.fm", "-o", "y.fm", "--checkpoint", "m.fm", "--resume", "-q"),
        ("train", "data", "-o", "data/a.svm", *KIND),
        ("train", "da*/a.*", "-o", "data/a.svm", *KIND),
        ("train", "list.manifest", "-o", "data/a.svm", *KIND),
        ("tune", "x.svm", "--cv", 2, "-o", "x.svm", *KIND[:2], "-q"),
        ("tune", "x.svm", "--test", "data/a.svm", "-o", "data/a.svm", *KIND[:2], "-q"),
        ("tune", "x.svm", "--cv", 2, "-o", "y.fm", "--report", "x.svm", *KIND[:2], "-q"),
        ("tune", "x.svm", "--cv", 2, "-o", "y.fm", "--study", "x.svm", *KIND[:2], "-q"),
        ("tune", "x.svm", "--cv", 2, "-o", "y.fm", "--report", "h.json", "--hyperparameters", "h.json", "-q"),
        ("predict", "m.fm", "x.svm", "-o", "m.fm", "-q"),
        ("predict", "m.fm", "x.csv", "-o", "x.csv", "-q"),
        ("predict", "m.fm", "x.csv", "-o", "v.tsv", "--vocabulary", "v.tsv", "-q"),
        ("convert", "x.svm", "-o", "x.svm", "-q"),
        ("convert", "x.svm", "-o", "hard.svm", "-q"),
        ("convert", "data", "-o", "data/x.svm", "--shards", 2, "-q"),
        ("convert", "x.csv", "-o", "y.rec", "--vocabulary", "x.csv", "--categorical", "city", "-q"),
        ("export", "m.fm", "-o", "m.fm"),
        ("export", "m.fm", "-o", "v.tsv", "--vocabulary", "v.tsv"),
        ("import", "x.svm", "-o", "x.svm", "-q"),
        ("import", "data", "-o", "data/a.svm", "-q"),
    ],
)
def test_an_output_that_is_an_input_is_refused(files, arguments):
    before = {name: files.read(name) for name in ("x.svm", "x.csv", "m.fm", "v.tsv", "h.json", "data/a.svm")}
    printed = files(*arguments, code=2)
    assert last_line(printed.err).endswith(REPLACES)
    assert printed.out == ""
    assert {name: files.read(name) for name in before} == before


def test_the_message_names_both(files):
    printed = files("train", "soft.svm", "-o", "hard.svm", *KIND, code=2).err
    assert printed == f"fm: the model cannot be written to hard.svm: that is the input soft.svm, {REPLACES}\n"


@pytest.mark.parametrize("arguments", [("predict", "m.fm", "-"), ("eval", "m.fm", "-"), ("convert", "-", "-o", "-")])
def test_a_file_that_is_standard_input_and_standard_output_is_refused(files, arguments):
    before = files.read("x.svm")
    with (files.folder / "x.svm").open("rb") as rows, (files.folder / "x.svm").open("ab") as same:
        process = files.start(*arguments, stdin=rows, stdout=same)
        printed = process.stderr.read().decode()
        process.stderr.close()
    assert process.wait() == 2
    assert "written to standard output: that is the input on standard input, " in printed
    assert files.read("x.svm") == before


@pytest.mark.parametrize("name", ["m.fm", "x.csv"])
@pytest.mark.parametrize("command", ["predict", "eval"])
def test_what_is_read_is_not_appended_to(files, command, name):
    before = files.read(name)
    with (files.folder / name).open("ab") as out:
        process = files.start(command, "m.fm", "x.csv", "-q", stdin=subprocess.DEVNULL, stdout=out)
        printed = process.stderr.read().decode()
        process.stderr.close()
    assert process.wait() == 2
    assert printed.endswith(f"standard output: that is the input {name}, {REPLACES}\n")
    assert files.read(name) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "x.svm", "-o", "-", "--metrics-out", "-", *KIND),
            "standard output is named for two outputs, the model and the metrics; name another file for one of them",
        ),
        (
            ("train", "x.svm", "-o", "/dev/stdout", "--metrics-out", "-", *KIND),
            "standard output is named for two outputs",
        ),
        (("train", "x.svm", "-o", "y", "--metrics-out", "./y", *KIND), "./y is named for two outputs, the model and "),
        (("train", "x.svm", "-o", "y", "--metrics-out", "here/y", *KIND), "here/y is named for two outputs, "),
        (
            ("train", "x.svm", "-o", "y", "--checkpoint", "y", *KIND),
            "y is named for two outputs, the model and the check",
        ),
        (
            ("tune", "x.svm", "--cv", 2, "-o", "y", "--report", "-", *KIND[:2]),
            "standard output is named for two outputs",
        ),
        (
            ("tune", "x.svm", "--cv", 2, "-o", "y", "--report", "y", *KIND[:2]),
            "y is named for two outputs, the model and",
        ),
        (
            ("tune", "x.svm", "--cv", 2, "-o", "y", "--study", "./y", *KIND[:2]),
            "./y is named for two outputs, the model",
        ),
        (
            ("convert", "x.csv", "-o", "y", "--vocabulary", "y", "--categorical", "city"),
            "y is named for two outputs, the rows and the vocabulary",
        ),
        (
            ("train", "x.csv", "-o", "y", "--vocabulary", "y", "--categorical", "city", "--label-column", 0, *KIND),
            "y is named for two outputs, the model and the vocabulary",
        ),
    ],
)
def test_two_outputs_that_are_one_are_refused(files, arguments, message):
    before = files.files()
    printed = files(*arguments, code=2)
    assert last_line(printed.err).startswith(f"fm: {message}")
    assert (printed.out, files.files()) == ("", before)


def test_a_model_may_replace_the_one_that_it_was_warm_started_from(files):
    before = files.read("m.fm")
    files("train", "x.csv", "--init-model", "m.fm", "-o", "m.fm", "-q")
    assert files.read("m.fm") != before


def test_outputs_beside_inputs_and_devices_are_not_refused(files):
    files("convert", "data", "-o", "data/b.svm", "-q")
    files("convert", "data/b.svm", "-o", os.devnull, "--feature-dim", 30, "-q")
    files("train", "x.svm", "-o", os.devnull, "--metrics-out", os.devnull, *KIND)
    assert files("predict", "m.fm", os.devnull, "-o", os.devnull) == (0, "", "")


def test_rows_of_pipes_are_not_replaced(files):
    files.write("train_0", ROWS)
    options = ("--input-mode", "pipe", "--train", "train", *KIND)
    printed = files("train", *options, "-o", "train_0", code=2).err
    assert printed == f"fm: the model cannot be written to train_0: that is the input train_0, {REPLACES}\n"
    files("train", *options, "--feature-dim", 20, "-o", "train.fm")
