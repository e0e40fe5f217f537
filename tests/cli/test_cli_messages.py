"""Messages about what is nearly right say what was found, where, what was expected and what to try."""

import struct

import pyarrow as pa
import pytest
from shell import last_line

ROWS = "1 0:1\n0 1:1\n"
KIND = ("--predictor-type", "binary_classifier")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("? 0:1\n", "line 1, field 1: found '?' where the label stands; expected a finite number, or label:weight"),
        ("nan 0:1\n1 0:1\n", "line 1, field 1: found 'nan' where the label stands; expected a finite number, or"),
        ("yes 0:1\n", "line 1, field 1: found 'yes' where the label stands; "),
        ("1 1e3:1\n", "line 1, field 2: found '1e3:1'; expected index:value, the index a decimal integer of 0 or more"),
        (
            "# rows\n1 -1:1\n",
            "line 2, field 2: found '-1:1'; expected index:value, the index a decimal integer of 0 or ",
        ),
        ("1 0:1 -1:1\n", "line 1, field 3: found '-1:1'; expected index:value, "),
        ("? 0:0:1\n", "line 1, field 1: found '?' where the label stands; "),
        ("1 0:-1:1\n", "line 1, field 2: found '0:-1:1'; expected field:index:value, field and index decimal integers"),
        ("y;a;b\n1;2;3\n", "the content is of no known format; if fields stand between ';', give --delimiter ';'"),
        (
            "y,a\n1,2\n".encode("utf-16"),
            "the text is in UTF-16, but is read as UTF-8; convert it first, as by iconv -f ",
        ),
    ],
)
def test_a_wrong_first_line_is_named_like_a_later_one(fm, content, message):
    fm.write("x", content)
    for arguments in (("convert", "x", "-o", "y"), ("train", "x", *KIND, "-o", "y")):
        place = "" if message.startswith("the ") else ", "
        assert last_line(fm(*arguments, code=3).err).startswith(f"fm: x{place or ': '}{message}")
    assert fm.files() == ["x"]


def test_a_wrong_first_line_can_be_left_out(fm):
    printed = fm("convert", "-", "-o", "-", "--to", "libsvm", "--on-error", "skip", stdin="? 0:1\n" + ROWS)
    assert printed.out == ROWS
    assert "skipped: stdin, line 1, field 1: found '?' where the label stands; " in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "Error: No such command 'trian'. Did you mean 'train'?"),
        (("Train",), "Error: No such command 'Train'. Did you mean 'train'?"),
        (("fit",), "Error: No such command 'fit'. Did you mean 'train'?"),
        (("evaluate",), "Error: No such command 'evaluate'. Did you mean 'eval'?"),
        (("xyz",), "Error: No such command 'xyz'."),
        (("train", "--epoch", 3), "Error: No such option '--epoch'. (Did you mean one of: '--epochs', "),
        (
            ("tune", "x", *KIND, "-o", "y", "--objective", "auc"),
            "Error: Invalid value for '--objective': 'auc' is no objective; did you mean test:auc? Expected one of test:",
        ),
        (
            ("tune", "x", *KIND, "-o", "y", "--objective", "test:rsme"),
            "Error: Invalid value for '--objective': 'test:rsme' is no objective; did you mean test:rmse? Expected one",
        ),
        (
            ("tune", "x", *KIND, "-o", "y", "--objective", "f"),
            "Error: Invalid value for '--objective': 'f' is no objective; Expected one of test:binary_classification_",
        ),
        (
            ("convert", "x", "-o", "y", "--feature-dim", 10**20),
            "Error: Invalid value for '--feature-dim': 100000000000000000000 is not in the range 1<=x<=2147483647.",
        ),
        (
            ("convert", "https://a.b/c.svm", "-o", "y"),
            "fm: https://a.b/c.svm is a URL, which is not read; download it ",
        ),
        (("predict", "m", "HTTP://a.b/c.svm"), "fm: m: No such file or directory"),
        (
            ("train", "gs://a/b", *KIND, "-o", "y"),
            "fm: gs://a/b is a URL, which is not read; download it first, or pipe",
        ),
        (
            ("train", "file:///a", *KIND, "-o", "y"),
            "fm: file:///a is a URL, which is not read; name the file by its path",
        ),
        (("train", "s3://a/b", *KIND, "-o", "y"), "fm: s3://a/b is on S3, which cannot be read directly; copy it to "),
        (("train", "--input-mode", "pipe", "--train", "https://a/b", *KIND, "-o", "y"), "fm: https://a/b is a URL, "),
        (
            ("train", "x", *KIND, "-o", "s3://a/b"),
            "fm: s3://a/b is a URL, to which nothing is written; write a file, ",
        ),
        (("predict", "https://a/m", "x"), "fm: https://a/m: it is a URL, which is not read; download the model first"),
    ],
)
def test_what_is_nearly_right_is_refused_with_what_is_meant(fm, arguments, message):
    fm.write("x", ROWS)
    code = 4 if arguments[0] == "predict" else 2
    assert last_line(fm(*arguments, code=code).err).startswith(message)


def test_objectives_keep_their_names(fm):
    fm.write("x", ROWS * 5)
    options = ("x", "--test", "x", *KIND, "-o", "y", "--trials", 1, "-q")
    for name in ("test:binary_classification_cross_entropy", "test:binary-classification-accuracy"):
        fm("tune", *options, "--objective", name)


def test_a_file_whose_name_looks_like_a_url_is_read(fm):
    fm.write("http:/x", ROWS)
    assert fm("convert", "http://x", "-o", "-", "--to", "libsvm", "-q").out == ROWS


def test_zstd_may_begin_with_frames_that_are_skipped(fm):
    skipped = struct.pack("<II", 0x184D2A5E, 3) + b"abc"
    fm.write("x.zst", skipped + skipped + pa.compress(ROWS.encode(), codec="zstd", asbytes=True))
    assert fm("convert", "x.zst", "-o", "-", "--to", "libsvm", "-q").out == ROWS
    data = fm.read("x.zst")
    assert fm("convert", "-", "-o", "-", "--to", "libsvm", "--feature-dim", 2, "-q", stdin=data).out == ROWS


def test_options_of_tables_do_not_keep_an_empty_file_from_being_one(fm):
    fm.write("a.csv", "")
    fm.write("b.csv", "y,a\n1,2\n0,3\n")
    assert (
        fm("convert", "a.csv", "b.csv", "--label-column", "y", "-o", "-", "--to", "libsvm", "-q").out
        == "1 0:2\n0 0:3\n"
    )


@pytest.mark.parametrize(("content", "name"), [("", "x"), ('{"features": [1]}\n', "x.jsonl"), ("1:0 0:1\n", "x")])
@pytest.mark.parametrize("options", [(), ("--distributed", "local", "--workers", 2)])
def test_errors_of_test_rows_name_the_test_file(fm, content, name, options):
    fm.write("train.svm", ROWS)
    fm.write(name, content)
    printed = fm("train", "train.svm", "--test", name, *KIND, "-o", "m", "-q", *options, code=3).err
    assert printed.startswith(f"fm: {name}")


def test_a_warm_start_that_cannot_be_resumed_starts_from_its_model(fm):
    fm.write("x", ROWS)
    fm("train", "x", *KIND, "-o", "m.fm", "-q")
    resuming = ("--checkpoint", "c", "--resume")
    printed = fm("train", "x", "--init-model", "m.fm", "-o", "n.fm", *resuming).err
    assert "training starts from m.fm: there is no checkpoint c to resume from\n" in printed
    printed = fm("train", "x", *KIND, "-o", "n.fm", *resuming).err
    assert "training starts from the beginning: there is no checkpoint c to resume from\n" in printed
