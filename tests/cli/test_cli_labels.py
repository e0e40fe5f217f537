"""What labels and weights of all rows together show: refused, or said in the last lines whatever --quiet says."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet
from shell import last_line, libsvm_rows

KIND = ("--predictor-type", "binary_classifier", "--epochs", 2)
TABLE = ("--label-column", "y", "--numeric", "a")
WORDS = "y,a\n" + "yes,1\nno,2\nno,3\nmaybe,1\n" * 5
ONES, ZEROS, BOTH = "1 0:1\n1 1:2\n", "0 0:1\n0 1:2\n", "1 0:1\n0 1:2\n"
WEIGHTLESS = "1:0 0:1\n0:0 1:1\n"
NOTHING_LEARNED = "a classifier learns nothing from one class"
LITTLE = "metrics of one class say little, and auc is not defined"


@pytest.fixture
def words(fm):
    """Return the command in a folder with a table of words as labels, and a model of them."""
    fm.write("x.csv", WORDS)
    fm("train", "x.csv", *TABLE, "--positive-label", "yes", *KIND, "-o", "m.fm", "-q")
    return fm


@pytest.mark.parametrize("options", [(), ("--memory-limit", "40M"), ("--distributed", "local", "--workers", 2)])
def test_a_positive_label_that_no_training_row_has_is_refused_with_those_that_they_have(words, options):
    before = words.files()
    printed = words("train", "x.csv", *TABLE, "--positive-label", "Yes", *KIND, "-o", "n.fm", "-q", *options, code=3)
    assert printed.err == (
        "fm: x.csv: no row has the positive label 'Yes'; the labels found are 'no' (10), 'yes' (5), 'maybe' (5), of "
        "which 'yes' differs in case alone; name one of them with --positive-label\n"
    )
    assert words.files() == before


@pytest.mark.parametrize("options", [("--test", "x.csv"), ("--cv", 2)])
def test_tune_refuses_a_positive_label_that_no_row_has(words, options):
    arguments = ("x.csv", *TABLE, "--positive-label", "never", *KIND[:2], "-o", "n.fm", "--trials", 1, "-q")
    printed = words("tune", *arguments, *options, code=3).err
    assert last_line(printed).startswith("fm: x.csv: no row has the positive label 'never'; the labels found are 'no' ")


def test_many_labels_are_counted_and_five_are_shown(fm):
    fm.write("x.csv", "y,a\n" + "".join(f"{n % 1500},1\n" for n in range(3000)) + "7,1\n")
    printed = fm("train", "x.csv", *TABLE, "--positive-label", "-5", *KIND, "-o", "m.fm", "-q", code=3).err
    assert "the labels found are '7' (3), '0' (2), '1' (2), '2' (2), '3' (2) and 995 or more others; name" in printed


def test_labels_of_numbers_are_named_as_they_are(fm):
    fm.write("x.svm", "4 0:1\n-1 0:1\n0.25 1:1\n4 1:1\n")
    printed = fm("train", "x.svm", "--positive-label", 3, *KIND, "-o", "m.fm", "-q", code=3).err
    assert "no row has the positive label '3'; the labels found are '4' (2), '-1' (1), '0.25' (1); name" in printed


@pytest.mark.parametrize(
    ("label", "positive"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("cafe\u0301", "caf\u00e9"),
        ("yes", "  yes "),
        ("yes", "\u00a0yes"),
        ("1.0", "1"),
        ("1", "1.00"),
        ("True", "true"),
        ("True", "TRUE"),
    ],
)
def test_spellings_of_one_positive_label_are_one(fm, label, positive):
    fm.write("x.csv", f"y,a\n{label},1\nno,2\n")
    printed = fm("convert", "x.csv", *TABLE, "--positive-label", positive, "-o", "-", "--to", "libsvm", "-q")
    assert (printed.out, printed.err) == ("1 0:1\n0 0:2\n", "")


@pytest.mark.parametrize("label", ["1_0", "\u0661\u0660"])
def test_labels_have_the_grammar_of_features(fm, label):
    fm.write("x.csv", f"y,a\n{label},1\n10,2\n")
    printed = fm("convert", "x.csv", *TABLE, "-o", "-", "--to", "libsvm", "-q", code=3).err
    assert printed.startswith(f"fm: x.csv, row 1, field y: label '{label}' is not a finite number; ")
    found = fm("convert", "x.csv", *TABLE, "--positive-label", 10, "-o", "-", "--to", "libsvm", "-q").out
    assert found == "0 0:1\n1 0:2\n"


def test_a_positive_label_that_no_other_row_has_is_a_warning(words):
    words.write("t.csv", "y,a\nno,1\nmaybe,2\n")
    sentence = (
        "t.csv: no row has the positive label 'yes'; the labels found are 'no' (1), 'maybe' (1); every row counts as 0"
    )
    assert words("eval", "m.fm", "t.csv", "-q").err == f"warning: {sentence}\n"
    train = ("train", "x.csv", *TABLE, "--positive-label", "yes", *KIND, "-o", "n.fm", "--test", "t.csv")
    assert words(*train, "-q").err == f"warning: {sentence}\n"
    assert last_line(words(*train).err) == f"warning: {sentence}"
    assert json.loads(last_line(words(*train, "--log-format", "jsonl").err)) == {"warning": sentence}
    assert last_line(words(*train, "--log-format", "sagemaker", "-q").err).endswith(f" {sentence}")
    team = words(*train, "-q", "--distributed", "local", "--workers", 2).err
    assert team == f"warning: {sentence}\n"
    tune = ("tune", "x.csv", *TABLE, "--positive-label", "yes", *KIND[:2], "-o", "n.fm", "--test", "t.csv")
    assert last_line(words(*tune, "--trials", 1, "-q").err) == f"warning: {sentence}"
    convert = ("convert", "t.csv", *TABLE, "--positive-label", "yes", "-o", "t.rec")
    assert words(*convert, "-q").err == f"warning: {sentence}\n"
    assert last_line(words(*convert).err) == f"warning: {sentence}"
    assert words("predict", "m.fm", "t.csv", "-q").err == ""


@pytest.mark.parametrize("options", [(), ("--distributed", "local", "--workers", 2)])
@pytest.mark.parametrize(("rows", "label"), [(ONES, 1), (ZEROS, 0), (ZEROS.replace("0 ", "-1 "), -1)])
def test_one_class_alone_is_a_warning(fm, rows, label, options):
    fm.write("one.svm", rows * 10)
    fm.write("both.svm", BOTH * 10)
    learned = f"warning: one.svm: all rows have label {label}; {NOTHING_LEARNED}\n"
    assert fm("train", "one.svm", *KIND, "-o", "m.fm", "-q", *options).err == learned
    tested = f"warning: one.svm: all rows have label {label}; {LITTLE}\n"
    assert fm("train", "both.svm", "--test", "one.svm", *KIND, "-o", "m.fm", "-q", *options).err == tested
    assert fm("eval", "m.fm", "one.svm", "-q").err == tested
    assert fm("eval", "m.fm", "both.svm", "-q").err == ""
    assert fm("train", "one.svm", "--predictor-type", "regressor", "-o", "r.fm", "-q").err == ""


def test_one_class_in_all_rows_of_positive_weight_is_a_warning(fm):
    fm.write("x.svm", "1:2 0:1\n0:0 1:1\n1:1 1:1\n")
    assert "x.svm: all rows have label 1; " in fm("train", "x.svm", *KIND, "-o", "m.fm", "-q").err


def test_one_class_in_pipes_is_a_warning(fm):
    for epoch in (0, 1):
        fm.write(f"train_{epoch}", ONES)
    options = ("--input-mode", "pipe", "--train", "train", "--feature-dim", 5)
    printed = fm("train", *options, *KIND, "-o", "m.fm", "-q").err
    assert printed == f"warning: train_0: all rows have label 1; {NOTHING_LEARNED}\n"
    for epoch in (0, 1):
        fm.write(f"train_{epoch}", WEIGHTLESS)
    assert fm("train", *options, *KIND, "-o", "m.fm", "-q", code=3).err.startswith(
        "fm: train_0: all rows have weight 0; "
    )


@pytest.mark.parametrize(
    "options", [(), ("--memory-limit", "40M"), ("--distributed", "local", "--workers", 2), ("--solver", "gradient")]
)
def test_rows_of_weight_0_alone_are_refused(fm, options):
    fm.write("none.svm", WEIGHTLESS * 20)
    fm.write("some.svm", BOTH * 20)
    before = fm.files()
    for kind in ("binary_classifier", "regressor"):
        arguments = ("--predictor-type", kind, "--epochs", 1, "-o", "m.fm", "-q", *options)
        printed = fm("train", "none.svm", *arguments, code=3).err
        assert printed == "fm: none.svm: all rows have weight 0; training needs rows of positive weight\n"
        printed = fm("train", "some.svm", "--test", "none.svm", *arguments, code=3).err
        assert printed == "fm: none.svm: all rows have weight 0; metrics need a positive one\n"
    assert fm.files() == before


def test_rows_of_weight_0_alone_are_refused_by_eval_and_tune(fm, world):
    fm.write("none.svm", WEIGHTLESS * 20)
    fm.write("some.svm", libsvm_rows(50, 1))
    printed = fm("eval", world.classifier, "none.svm", code=3).err
    assert last_line(printed) == "fm: none.svm: all rows have weight 0; metrics need a positive one"
    tune = ("--trials", 1, *KIND[:2], "-o", "m.fm", "-q")
    printed = fm("tune", "none.svm", "--test", "some.svm", *tune, code=3).err
    assert last_line(printed).startswith("fm: none.svm: all rows have weight 0; training needs ")
    printed = fm("tune", "some.svm", "--test", "none.svm", *tune, code=3).err
    assert last_line(printed).startswith("fm: none.svm: all rows have weight 0; metrics need ")


def test_values_that_a_fixed_vocabulary_drops_in_training_are_a_warning(fm):
    fm.write("a.csv", "y,city,site\n1,Rome,a b\n0,Oslo,c\n")
    fm.write("b.csv", "y,city,site\n1,Rome,x\n0,Lima,y\n0,Lima,c\n")
    options = ("--label-column", "y", "--categorical", "city,site", "--vocabulary", "v.tsv", *KIND)
    fm("train", "a.csv", *options, "-o", "a.fm", "-q")
    dropped = (
        "warning: b.csv: 4 values of the rows to train on are not in the vocabulary, which is fixed, and are dropped: "
        "city (2), site (2)"
    )
    fixed = (*options, "--vocabulary-mode", "fixed")
    assert fm("train", "b.csv", *fixed, "-o", "b.fm", "-q").err == f"{dropped}\n"
    assert last_line(fm("train", "b.csv", *fixed, "-o", "b.fm").err) == dropped
    assert fm("predict", "a.fm", "b.csv", "-q").err == ""
    assert fm("train", "a.csv", *options, "-o", "a.fm", "--test", "b.csv", "-q").err == ""


def test_labels_of_parquet_are_counted(fm):
    parquet.write_table(pa.table({"y": [True, False, False], "a": [1.0, 2.0, 3.0]}), fm.folder / "x.parquet")
    printed = fm("train", "x.parquet", *TABLE, "--positive-label", "yes", *KIND, "-o", "m.fm", "-q", code=3).err
    assert "the labels found are 'false' (2), 'true' (1); name one of them" in printed
    fm("train", "x.parquet", *TABLE, "--positive-label", "True", *KIND, "-o", "m.fm", "-q")


def test_a_warning_is_the_last_line_before_a_failure(fm):
    fm.write("x.svm", ONES)
    printed = fm("train", "x.svm", "--test", "gone_one.svm", *KIND, "-o", "m.fm", code=3).err
    assert "warning" not in printed
    fm.write("none.svm", WEIGHTLESS)
    lines = fm("train", "x.svm", "--test", "none.svm", *KIND, "-o", "m.fm", "-q", code=3).err.splitlines()
    assert lines[0].startswith("warning: x.svm: all rows have label 1; ")
    assert lines[1].startswith("fm: none.svm: all rows have weight 0; ")
