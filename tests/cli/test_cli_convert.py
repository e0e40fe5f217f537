"""`fm convert` as a user runs it: formats, pipes, shards, vocabularies, labels, and what it prints."""

import bz2
import gzip
import os
import threading

import pyarrow as pa
import pytest
from pyarrow import parquet
from shell import TABLE_OPTIONS, TEST_TABLE, TRAIN_TABLE, last_line, records

LIBSVM = "1 0:1.5 3:-2\n0 0:0.5 1:1\n1\n"
SUMMARY = "rows: 3\nnon-zeros: 4\nfeature_dim: 4\nlabels: 0 (1), 1 (2)\nvalues: -2 to 1.5\n"
TAKEN_AS_HEADER = "note: first line taken as the header\n"


def zstd(data):
    return pa.compress(data.encode(), codec="zstd", asbytes=True)


def parquet_bytes(**columns):
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


ROWS = {  # the rows of LIBSVM in every format: name -> (content, options)
    "rows.svm": (LIBSVM, ()),
    "rows.ffm": ("1 0:0:1.5 7:3:-2\n0 0:0:0.5 1:1:1\n1 4:2:0\n".replace(" 4:2:0", ""), ()),
    "rows.csv": ("y,a,b,c,d\n1,1.5,,0,-2\n0,.5,1,,\n1,0,0,0,0\n", ("--label-column", "y")),
    "rows.tsv": ("1\t1.5\t\t0\t-2\n0\t.5\t1\t\t\n1\t0\t0\t0\t0\n", ("--label-column", "0")),
    "rows.parquet": (
        parquet_bytes(y=[1, 0, 1], a=[1.5, 0.5, 0], b=[None, 1.0, 0], c=[0, 0, 0], d=[-2, 0, 0]),
        ("--label-column", "y"),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_format_converts_to_records_and_back(fm, name):
    content, options = ROWS[name]
    fm.write(name, content)
    printed = fm("convert", name, "-o", "rows.rec", *options)
    assert (printed.out, printed.err[-len(SUMMARY) :]) == ("", SUMMARY)
    for record in records(fm.read("rows.rec")):
        assert list(record.features["values"].float32_tensor.shape) == [4]
    printed = fm("convert", "rows.rec", "-o", "back.svm")
    assert (printed.err, fm.read("back.svm").decode()) == (SUMMARY, LIBSVM)
    fm("convert", "back.svm", "-o", "again.rec", "--feature-dim", 4)
    assert records(fm.read("again.rec")) == records(fm.read("rows.rec"))


def test_ignored_fields_of_libffm_are_noted(fm):
    fm.write("rows.ffm", ROWS["rows.ffm"][0])
    assert fm("convert", "rows.ffm", "-o", "rows.svm").err.startswith("note: libffm fields are checked and ignored: ")
    fm.write("bad.ffm", "1 0:0:1 0:1\n")
    printed = fm("convert", "bad.ffm", "-o", "rows.svm", "--format", "libffm", code=3).err
    assert printed.startswith("fm: bad.ffm, line 1, field 3: found '0:1'; expected field:index:value, ")


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", lambda text: gzip.compress(text.encode())),
        (".bz2", lambda text: bz2.compress(text.encode())),
        (".zst", zstd),
    ],
)
def test_convert_reads_and_writes_compressed_files(fm, suffix, compress):
    fm.write(f"rows.svm{suffix}", compress(LIBSVM))
    fm.write("no_suffix", compress(LIBSVM))
    assert fm("convert", f"rows.svm{suffix}", "-o", f"out.rec{suffix}").err == SUMMARY
    assert fm("convert", "no_suffix", "-o", "stated.rec", "--feature-dim", 4).err == SUMMARY
    assert fm("convert", f"out.rec{suffix}", "-o", f"back.svm{suffix}").err == SUMMARY
    assert fm.read(f"back.svm{suffix}") != LIBSVM.encode()
    assert fm("convert", f"back.svm{suffix}", "-o", "-", "--to", "libsvm").out == LIBSVM
    assert fm("convert", f"out.rec{suffix}", "-o", "-", "--feature-dim", 4, binary=True).out == fm.read("stated.rec")


def test_convert_reads_standard_input_and_writes_standard_output(fm):
    done = fm("convert", "-", "-o", "-", "--feature-dim", 9, stdin=LIBSVM, binary=True)
    assert done.err == SUMMARY.replace("feature_dim: 4", "feature_dim: 9")
    assert list(records(done.out)[2].features["values"].float32_tensor.shape) == [9]
    assert fm("convert", "-", "-o", "-", "--to", "libsvm", "-q", stdin=done.out) == (0, LIBSVM, "")
    assert fm.files() == []


def test_convert_of_a_pipe_needs_feature_dim_unless_the_output_is_a_plain_file(fm):
    printed = fm("convert", "-", "-o", "-", stdin=LIBSVM, code=2)
    assert (printed.out, printed.err) == (
        "",
        (
            "fm: a record states feature_dim, which is known only after all rows are read: from a pipe to standard output, "
            "give it with --feature-dim, or write to an uncompressed file\n"
        ),
    )
    fm("convert", "-", "-o", "rows.rec.gz", stdin=LIBSVM, code=2)
    assert fm.files() == []
    assert fm("convert", "-", "-o", "rows.rec", stdin=LIBSVM).err == SUMMARY
    again = fm("convert", "rows.rec", "-o", "-", binary=True).out
    assert records(again) == records(fm.read("rows.rec"))


def test_convert_reads_and_writes_named_pipes(fm):
    os.mkfifo(fm.folder / "in")
    writer = threading.Thread(target=lambda: fm.write("in", LIBSVM))
    writer.start()
    assert fm("convert", "in", "-o", "/dev/stdout", "--to", "libsvm").out == LIBSVM
    writer.join()


def test_convert_distributes_all_rows_over_shards(fm):
    lines = [f"{n % 2} {n}:1\n" for n in range(10)]
    fm.write("a.svm", "".join(lines[:7]))
    fm.write("b.svm", "".join(lines[7:]))
    assert fm("convert", "a.svm", "b.svm", "-o", "part.svm.gz", "--shards", 3).err.startswith("rows: 10\n")
    shards = [f"part-{n:05}-of-00003.svm.gz" for n in range(3)]
    assert fm.files() == ["a.svm", "b.svm", *shards]
    for n, shard in enumerate(shards):
        assert gzip.decompress(fm.read(shard)).decode() == "".join(lines[n::3])
    fm("convert", "a.svm", "b.svm", "-o", "part.rec", "--shards", 2)
    for n in range(2):
        shard = records(fm.read(f"part-{n:05}-of-00002.rec"))
        assert {tuple(record.features["values"].float32_tensor.shape) for record in shard} == {(10,)}
        assert len(shard) == 5
    printed = fm("convert", "a.svm", "-o", "-", "--shards", 2, code=2).err
    assert printed == "fm: standard output cannot be written in several shards; name a file\n"


def test_a_vocabulary_of_the_training_rows_is_used_for_the_test_rows(fm):
    fm.write("train.csv", TRAIN_TABLE)
    fm.write("test.csv", TEST_TABLE)
    options = (*TABLE_OPTIONS, "--vocabulary", "v.tsv", "--buckets", "none")
    printed = fm("convert", "train.csv", "-o", "train.svm", *options).err
    columns = """\
note: columns of train.csv:
  label        bought (yes, no)
  weight       weight (1, 2, 0.5)
  id           id (a, b, c, ...)
  numeric      age (1.5, 3, 0)
  categorical  city (Rome, Oslo)
  by their content, where no option says it: --numeric, --categorical, --lists, --dates, --ignore
"""
    summary = "rows: 4\nnon-zeros: 5\nfeature_dim: 3\nlabels: 0 (2), 1 (2)\nvalues: 1 to 3\n"
    assert printed == TAKEN_AS_HEADER + columns + summary
    vocabulary = fm.read("v.tsv")
    assert vocabulary == b"index\tcolumn\tvalue\n0\tage\t\n1\tcity\tRome\n2\tcity\tOslo\n"
    assert fm.read("train.svm") == b"1:1 0:1.5 1:1\n0:2 2:1\n0:1 0:3 1:1\n1:0.5\n"
    for target in ("test.svm", "test.rec", "test.rec.gz"):  # the last is read twice, and reported once
        printed = fm("convert", "test.csv", "-o", target, *options).err
        assert printed.startswith(TAKEN_AS_HEADER + "note: columns of test.csv:\n")
        assert printed.split("--ignore\n")[1] == (
            "unknown values in column city: 1\nrows: 3\nnon-zeros: 5\nfeature_dim: 3\nlabels: 0 (2), 1 (1)\n"
            "values: 1 to 2\n"
        )
    assert fm.read("test.svm") == b"0:1 0:2 1:1\n1:1 0:2\n0:3 0:1 2:1\n"
    assert [record.uid for record in records(fm.read("test.rec"))] == ["x", "y", "z"]
    assert records(fm.read("test.rec"))[2].label["weight"].float32_tensor.values == [3]
    assert fm.read("v.tsv") == vocabulary


def test_convert_hashes_categorical_columns(fm):
    fm.write("train.csv", TRAIN_TABLE)
    printed = fm("convert", "train.csv", "-o", "train.rec", *TABLE_OPTIONS, "--hash-bits", 5).err
    assert "feature_dim: 33\n" in printed
    keys = [list(record.features["values"].float32_tensor.keys) for record in records(fm.read("train.rec"))]
    rome, oslo = keys[0][1], keys[1][0]
    assert keys == [[0, rome], [oslo], [0, rome], []]
    assert 1 <= min(rome, oslo) < max(rome, oslo) < 33
    printed = fm(
        "convert", "train.csv", "-o", "x.rec", *TABLE_OPTIONS, "--hash-bits", 5, "--vocabulary", "v.tsv", code=2
    )
    assert printed.err == "fm: --vocabulary and --hash-bits exclude each other: values are either listed or hashed\n"
    printed = fm("convert", "train.csv", "-o", "x.rec", *TABLE_OPTIONS, code=2).err
    assert last_line(printed).startswith("fm: categorical columns (city) need either --vocabulary FILE, ")
    assert fm.files() == ["train.csv", "train.rec"]


@pytest.mark.parametrize(
    ("labels", "options", "mapped"),
    [
        ("0 1 1", (), "0 1 1"),
        ("-1 1 -1", (), "-1 1 -1"),
        ("-1 1 -1", ("--predictor-type", "binary_classifier"), "0 1 0"),
        ("0 1 0", ("--predictor-type", "binary_classifier"), "0 1 0"),
        ("3 5 7", ("--positive-label", "5"), "0 1 0"),
        ("2.5 1 -3", ("--predictor-type", "regressor"), "2.5 1 -3"),
    ],
)
def test_convert_maps_labels(fm, labels, options, mapped):
    rows = "".join(f"{label} 0:1\n" for label in labels.split())
    done = fm("convert", "-", "-o", "-", "--to", "libsvm", *options, stdin=rows)
    assert [line.split()[0] for line in done.out.splitlines()] == mapped.split()


@pytest.mark.parametrize(
    ("labels", "row", "found"),
    [("1 2 0", 2, "2"), ("0 1 -1", 3, "-1 beside label 0"), ("-1 -1 0", 3, "0 beside label -1")],
)
def test_convert_refuses_labels_of_more_than_two_classes(fm, labels, row, found):
    rows = "".join(f"{label} 0:1\n" for label in labels.split())
    printed = fm("convert", "-", "-o", "x.rec", "--predictor-type", "binary_classifier", stdin=rows, code=3).err
    assert printed == (
        f"fm: stdin, line {row}: label {found}; expected 0 and 1, or "
        "-1 and 1; for other labels name the one that means 1 with --positive-label\n"
    )
    done = fm(
        "convert",
        "-",
        "-o",
        "-",
        "--to",
        "libsvm",
        "--predictor-type",
        "binary_classifier",
        "--on-error",
        "skip",
        stdin=rows,
    )
    assert done.out.count("\n") == 2
    assert "rows skipped: 1\nrows: 2\n" in done.err


def test_convert_prints_label_counts_or_their_range(fm):
    assert (
        "labels: 2024010 (1), 2024011 (2)\n"
        in fm("convert", "-", "-o", "x.svm", stdin="2024010\n2024011\n2024011\n").err
    )
    printed = fm("convert", "-", "-o", "x.svm", stdin="".join(f"{n / 4}\n" for n in range(21))).err
    assert printed == "rows: 21\nnon-zeros: 0\nfeature_dim: 0\nlabels: 0 to 5, many different\n"
    fm.write("x.csv", "a,b\n1,2\n")
    printed = fm("convert", "x.csv", "-o", "x.rec").err
    assert "labels: none\nrows without a label: 1\n" in printed
    assert not records(fm.read("x.rec"))[0].label
    printed = fm("convert", "x.rec", "-o", "x.svm", code=3).err
    assert printed == "fm: x.rec, record 1: the row has no finite label; libsvm text cannot be written without\n"
    assert fm("convert", "-", "-o", "x.rec").err == "rows: 0\nnon-zeros: 0\nfeature_dim: 0\nlabels: none\n"
    assert fm.read("x.rec") == b""


def test_convert_shifts_indices_by_index_base(fm):
    rows = "1 1:1 2:1\n"
    auto = fm("convert", "-", "-o", "-", "--to", "libsvm", stdin=rows)
    assert auto.out == rows
    assert auto.err.startswith(
        "note: lowest index is 1 in stdin: indices look 1-based and are kept as they are; "
        "--index-base 1 would shift them to 0\n"
    )
    assert fm("convert", "-", "-o", "-", "--to", "libsvm", "-q", stdin=rows) == (0, rows, "")
    zero = fm("convert", "-", "-o", "-", "--to", "libsvm", "--index-base", 0, stdin=rows)
    assert (zero.out, zero.err[:5]) == (rows, "rows:")
    one = fm("convert", "-", "-o", "-", "--to", "libsvm", "--index-base", 1, stdin=rows)
    assert (one.out, one.err[:5]) == ("1 0:1 1:1\n", "rows:")
    printed = fm("convert", "-", "-o", "x.svm", "--index-base", 1, stdin="1 0:1\n", code=3).err
    assert printed == (
        "fm: stdin, line 1, field 2: found '0:1' where indices begin at 1; expected an index of 1 or "
        "more, or --index-base 0\n"
    )


def test_convert_refuses_indices_beyond_a_stated_feature_dim(fm):
    printed = fm("convert", "-", "-o", "x.rec", "--feature-dim", 3, stdin=LIBSVM, code=3).err
    assert printed == "fm: stdin, line 1: index 3 is beyond the stated feature_dim 3; indices count from 0\n"
    printed = fm("convert", "-", "-o", "x.rec", "--feature-dim", 3, "--on-error", "skip", stdin=LIBSVM).err
    assert "rows skipped: 1\nrows: 2\nnon-zeros: 2\nfeature_dim: 3\n" in printed
    assert "Invalid value for '--feature-dim': 0" in fm("convert", "-", "-o", "x", "--feature-dim", 0, code=2).err


def test_convert_takes_columns_by_number_or_name_and_refuses_others(fm):
    fm.write("x.csv", "0,5,Rome\n1,,Oslo\n")
    options = ("--label-column", 0, "--ignore", 2)
    assert fm("convert", "x.csv", "-o", "-", "--to", "libsvm", "--no-header", *options).out == "0 0:5\n1\n"
    header = ("--header", "--ignore", "Rome", "--label-column", 0)
    assert fm("convert", "x.csv", "-o", "-", "--to", "libsvm", *header).out == "1\n"
    assert fm("convert", "x.csv", "-o", "-", "--to", "libsvm", *options).err.startswith(
        "note: first line taken as data; columns are numbered from 0\n"
    )
    printed = fm("convert", "x.csv", "-o", "y.svm", *options, "--missing", "error", code=3).err
    assert last_line(printed) == "fm: x.csv, row 2, field 1: is empty; --missing zero reads it as no feature"
    printed = fm("convert", "x.csv", "-o", "y.svm", "--label-column", 0, "--numeric", 2, code=3).err
    assert last_line(printed) == "fm: x.csv, row 1, field 2: 'Rome' is not a number: --categorical 2 or --ignore 2"
    printed = fm("convert", "x.csv", "-o", "y.svm", "--label-column", 0, code=2).err
    assert last_line(printed).startswith("fm: categorical columns (2) need either --vocabulary FILE, ")
    printed = fm("convert", "x.csv", "-o", "y.svm", "--numeric", "0,7", code=2).err
    assert last_line(printed) == "fm: no column '7'; the columns found are: 0, 1, 2"
    printed = fm("convert", "x.csv", "-o", "y.svm", "--numeric", "1", "--weight-column", "1", code=2).err
    assert last_line(printed).startswith("fm: column '1' is named as weight and as numeric; choose one")
    assert fm.files() == ["x.csv"]


def test_a_failed_convert_publishes_nothing(fm):
    fm.write("rows.csv", TRAIN_TABLE.replace("d,0", "d,zero"))
    fm.write("old.rec", "old")
    options = (*TABLE_OPTIONS, "--numeric", "age", "--vocabulary", "v.tsv")
    printed = fm("convert", "rows.csv", "-o", "old.rec", *options, code=3).err
    assert last_line(printed).startswith("fm: rows.csv, row 4, field age: 'zero' is not a number")
    fm("convert", "rows.csv", "-o", "new.rec", "--shards", 2, *options, code=3)
    assert fm.files() == ["old.rec", "rows.csv"]
    assert fm.read("old.rec") == b"old"
    printed = fm("convert", "rows.csv", "-o", "old.rec", *options, "--on-error", "skip").err
    assert "skipped: rows.csv, row 4, field age: " in printed
    assert "rows skipped: 1\nrows: 3\n" in printed
    assert len(records(fm.read("old.rec"))) == 3


def test_convert_gives_the_same_bytes_on_any_number_of_threads(fm):
    fm.write("x.svm", LIBSVM * 50)
    for threads in (1, 3):
        fm("convert", "x.svm", "-o", f"{threads}.rec", "--threads", threads)
    assert fm.read("1.rec") == fm.read("3.rec")
    assert "Invalid value for '--threads'" in fm("convert", "x.svm", "-o", "x.rec", "--threads", 0, code=2).err
