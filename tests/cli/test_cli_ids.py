"""Ids of 64 bits, the index base of every format, and options that mean nothing for a format, as a user meets them."""

import json
import random

import pytest
from record_bytes import features, field, floats, frame, label, sparse
from serving import serving
from shell import last_line

from fmcore.model import file as modelfile

REGRESSOR = ("--predictor-type", "regressor", "--epochs", 3)
TABLE = "a,b,y\n1,2,1\n2,1,0\n3,5,1\n"


def sparse_rows(seed=1, rows=200):
    """Return rows of (label, ids) whose few ids lie in all of 64 bits."""
    chance, drawn = random.Random(seed), random.Random(9)
    pool = [0, 3_000_000_000, 2**64 - 1, *(drawn.randrange(2**64) for _ in range(30))]
    return [(chance.random(), chance.sample(pool, 4)) for _ in range(rows)]


def lines(rows, number=lambda each: each):
    """Return libsvm lines, each id as `number` gives it."""
    return "".join(f"{y:.4f} " + " ".join(f"{number(i)}:1" for i in ids) + "\n" for y, ids in rows)


def by_appearance(rows):
    """Return a function from an id to its number in the order of first appearance."""
    numbers = {}
    for _, ids in rows:
        for each in ids:
            numbers.setdefault(each, len(numbers))
    return numbers.__getitem__


def weights(fm, name):
    tensors = modelfile.load(fm.folder / name).tensors()
    return {name: tensor.tolist() for name, tensor in tensors.items() if not name.startswith("schema.")}


def test_a_compact_training_is_that_of_rows_numbered_beforehand(fm):
    rows = sparse_rows()
    fm.write("sparse.svm", lines(rows))
    fm.write("dense.svm", lines(rows, by_appearance(rows)))
    fm("train", "sparse.svm", *REGRESSOR, "--compact", "-o", "sparse.fm")
    fm("train", "dense.svm", *REGRESSOR, "--index-base", 0, "-o", "dense.fm")
    assert weights(fm, "sparse.fm") == weights(fm, "dense.fm")
    fm("train", "sparse.svm", *REGRESSOR, "--compact", "--memory-limit", 1, "--threads", 2, "-o", "small.fm")
    assert weights(fm, "sparse.fm") == weights(fm, "small.fm")


def test_test_rows_have_the_ids_of_the_training_and_unknown_ones_are_counted(fm):
    rows = sparse_rows()
    number, test = by_appearance(rows), sparse_rows(2, 50)
    strange = [(y, [*ids, 12345]) for y, ids in test]
    fm.write("a.svm", lines(rows))
    fm.write("b.svm", lines(strange))
    fm.write("dense.svm", lines(rows, number))
    fm.write("test.svm", lines(test, number))
    fm("train", "a.svm", "--test", "b.svm", *REGRESSOR, "--compact", "-o", "a.fm", "--metrics-out", "a.jsonl")
    fm("train", "dense.svm", "--test", "test.svm", *REGRESSOR, "-o", "d.fm", "--metrics-out", "d.jsonl")
    ours, theirs = ([json.loads(line) for line in fm.read(name).splitlines()] for name in ("a.jsonl", "d.jsonl"))
    assert [epoch["test"] for epoch in ours] == [epoch["test"] for epoch in theirs]


def test_a_model_holds_its_compact_ids_for_whatever_is_done_with_it(fm):
    rows = sparse_rows()
    number = by_appearance(rows)
    strange = [(0.5, [*rows[0][1], 4, 5])]
    fm.write("a.svm", lines(rows))
    fm.write("new.svm", lines(strange))
    fm.write("dense.svm", lines(rows, number))
    fm.write("a.jsonl", as_requests(rows))
    fm("train", "a.svm", *REGRESSOR, "--compact", "-o", "a.fm")
    fm("train", "dense.svm", *REGRESSOR, "-o", "dense.fm")
    scores = fm("predict", "dense.fm", "dense.svm").out
    assert fm("predict", "a.fm", "a.svm")[1:] == fm("predict", "a.fm", "a.jsonl")[1:] == (scores, "")
    assert fm("eval", "a.fm", "a.svm", "--json").out == fm("eval", "dense.fm", "dense.svm", "--json").out
    found = fm("predict", "a.fm", "new.svm")
    assert found.out == scores.splitlines(keepends=True)[0]
    assert "non-zeros of ids unknown to the model ignored: 2" in found.err
    assert (
        "fm: new.svm, line 1: id 4 is unknown to the model"
        in fm("predict", "a.fm", "new.svm", "--unseen", "error", code=3).err
    )
    with serving(fm, "a.fm") as server:
        answer = server.post(json.dumps({"instances": [json.loads(line) for line in as_requests(rows).splitlines()]}))
    served = [each["score"] for each in json.loads(answer.body)["predictions"]]
    assert served == pytest.approx([float(score) for score in scores.split()], rel=1e-6)


def test_a_warm_start_numbers_new_ids_behind_those_of_the_model(fm):
    rows, more = sparse_rows(), [(0.5, [1000 + n, 2**50 + n]) for n in range(20)]
    number = by_appearance([*rows, *more])
    for name, given in (("a", rows), ("b", more)):
        fm.write(f"{name}.svm", lines(given))
        fm.write(f"{name}.dense.svm", lines(given, number))
    for suffix, options in (("", ("--compact",)), (".dense", ("--index-base", 0))):
        fm("train", f"a{suffix}.svm", *REGRESSOR, *options, "-o", f"a{suffix}.fm")
        fm("train", f"b{suffix}.svm", "--init-model", f"a{suffix}.fm", "-o", f"b{suffix}.fm")
    assert weights(fm, "b.fm") == weights(fm, "b.dense.fm")
    assert fm("predict", "b.fm", "b.svm").out == fm("predict", "b.dense.fm", "b.dense.svm").out


def as_records(rows):
    return b"".join(frame(sparse(sorted(ids), [1] * len(ids)) + label(y)) for y, ids in rows)


def as_requests(rows):
    return "".join(json.dumps({"features": {"keys": ids, "values": [1] * len(ids)}}) + "\n" for _, ids in rows)


def test_hashed_ids_score_alike_in_every_format_and_are_kept_by_the_model(fm):
    rows = [(y, sorted(ids)) for y, ids in sparse_rows()]
    fm.write("a.svm", lines(rows))
    fm.write("a.ffm", lines(rows, lambda each: f"3:{each}"))
    fm.write("a.rec", as_records(rows))
    fm.write("a.jsonl", as_requests(rows))
    fm("train", "a.svm", *REGRESSOR, "--hash-bits", 12, "-o", "a.fm")
    assert modelfile.load(fm.folder / "a.fm").feature_dim == 4096
    scores = fm("predict", "a.fm", "a.svm").out
    assert len(set(scores.split())) > 100
    for name in ("a.ffm", "a.rec", "a.jsonl"):
        assert fm("predict", "a.fm", name).out == scores
    fm("train", "a.svm", "--init-model", "a.fm", "--epochs", 1, "-o", "b.fm")
    assert modelfile.load(fm.folder / "b.fm").feature_dim == 4096
    with serving(fm, "a.fm") as server:
        answer = server.post(json.dumps({"instances": [json.loads(line) for line in as_requests(rows).splitlines()]}))
    found = [each["score"] for each in json.loads(answer.body)["predictions"]]
    assert found == pytest.approx([float(score) for score in scores.split()], rel=1e-6)


@pytest.mark.parametrize(
    ("trained", "given", "refused"),
    [
        ((), ("--hash-bits", 5), "--hash-bits is 5, but the model "),
        (("--hash-bits", 6), ("--hash-bits", 5), "--hash-bits is 5, but the model hashes ids into 6 bits; "),
        (("--compact",), ("--hash-bits", 5), "--hash-bits is 5, but the model "),
        ((), ("--compact",), "--compact is given, but the model does not number ids; "),
        (("--hash-bits", 6), ("--compact",), "--compact is given, but the model does not number ids; "),
    ],
)
def test_ids_are_mapped_as_the_model_knows_them_or_refused(fm, trained, given, refused):
    fm.write("a.svm", "1 1:1 2:1\n0 2:1\n")
    fm("train", "a.svm", *REGRESSOR, *trained, "-o", "a.fm")
    for command in (("predict", "a.fm", "a.svm"), ("eval", "a.fm", "a.svm")):
        assert f"fm: {refused}" in fm(*command, *given, code=2).err
        assert fm(*command, *trained).code == 0
    assert "fm: " in fm("train", "a.svm", "--init-model", "a.fm", *given, "-o", "b.fm", code=2).err
    fm("train", "a.svm", "--init-model", "a.fm", *trained, "-o", "b.fm")


def test_hashed_columns_of_tables_leave_the_indices_of_requests_as_they_stand(fm):
    fm.write("a.csv", "c,y\nx,1\nz,0\n")
    fm.write("plain.rec", as_records([(0, [1, 2])]))
    fm("train", "a.csv", *REGRESSOR, "--label-column", "y", "--categorical", "c", "--hash-bits", 3, "-o", "a.fm")
    fm("convert", "a.csv", "-o", "a.rec", "--label-column", "y", "--categorical", "c", "--hash-bits", 3)
    assert fm("predict", "a.fm", "a.rec", "--by-position").out == fm("predict", "a.fm", "a.csv").out


def test_convert_writes_hashed_indices_and_refuses_to_number_ids(fm):
    fm.write("a.svm", "1 3000000000:2\n0 5:1\n")
    fm("convert", "a.svm", "-o", "a.rec", "--hash-bits", 8)
    written = fm("convert", "a.svm", "-o", "-", "--to", "libsvm", "--hash-bits", 8).out
    assert fm("convert", "a.rec", "-o", "-", "--to", "libsvm").out == written
    assert all(int(line.split()[1].split(":")[0]) < 256 for line in written.splitlines())
    assert "feature_dim: 256" in fm("convert", "a.svm", "-o", "b.rec", "--hash-bits", 8).err
    refused = fm("convert", "a.svm", "-o", "c.rec", "--compact", code=2).err
    assert refused == (
        "fm: --compact keeps the ids that it numbers in a model, which fm convert does not write; give it to fm train, "
        "or hash the ids with --hash-bits\n"
    )


def test_ids_that_are_too_large_or_too_sparse_name_the_ways_out(fm):
    fm.write("large.svm", "1 5:1\n0 3000000000:1\n")
    printed = fm("train", "large.svm", *REGRESSOR, "-o", "a.fm", code=3).err
    assert printed.startswith(
        "fm: large.svm, line 2, field 2: found '3000000000:1'; the largest index allowed is 2147483646; "
    )
    fm.write("sparse.svm", "1 5:1\n0 2000000000:1\n")
    refused = fm("train", "sparse.svm", *REGRESSOR, "--memory-limit", "1G", "-o", "a.fm", code=6).err
    for printed_line in (printed, refused):
        assert "--hash-bits" in last_line(printed_line)
        assert "--compact" in last_line(printed_line)
    fm("train", "sparse.svm", *REGRESSOR, "--memory-limit", "1G", "--compact", "-o", "a.fm")
    fm("train", "large.svm", *REGRESSOR, "--hash-bits", 10, "-o", "a.fm")
    assert (
        "exclude each other"
        in fm("train", "large.svm", *REGRESSOR, "--hash-bits", 10, "--compact", "-o", "a.fm", code=2).err
    )


def test_workers_agree_on_ids_and_pipes_number_none(fm):
    fm.write("a.svm", lines(sparse_rows()))
    team = ("--distributed", "local", "--workers", 2)
    fm("train", "a.svm", *REGRESSOR, "--compact", *team, "-o", "team.fm")
    fm("train", "a.svm", *REGRESSOR, "--compact", "-o", "alone.fm")
    team, alone = (modelfile.load(fm.folder / name).schema.tensors for name in ("team.fm", "alone.fm"))
    assert {name: tensor.tolist() for name, tensor in team.items()} == {
        name: tensor.tolist() for name, tensor in alone.items()
    }
    assert team.keys() == {"ids.keys", "ids.indices"}
    piped = fm("train", "--train", "p", *REGRESSOR, "--compact", "--input-mode", "pipe", "-o", "a.fm", code=2).err
    assert "which pipes do not give; take --hash-bits" in piped


@pytest.fixture
def based(fm):
    """Provide a folder with a model of indices from 1 and its rows, one a feature, in every format."""
    rows = "".join(f"{n} {n}:1\n" for n in range(1, 5))
    fm.write("a.svm", rows)
    fm.write("a.rec", b"".join(frame(sparse([n], [1], 4)) for n in range(1, 5)))
    fm.write(
        "a.jsonl", "".join(f'{{"features": {{"keys": [{n}], "values": [1], "shape": [4]}}}}\n' for n in range(1, 5))
    )
    fm.write("dense.jsonl", "".join(json.dumps({"features": [int(m == n) for m in range(4)]}) + "\n" for n in range(4)))
    fm.write("dense.rec", b"".join(frame(features(field(1, floats(*(m == n for m in range(4)))))) for n in range(4)))
    fm("train", "a.svm", *REGRESSOR, "--index-base", 1, "-o", "a.fm")
    return fm


def test_the_index_base_of_a_model_holds_for_every_format(based):
    fm = based
    scores = fm("predict", "a.fm", "a.svm").out
    assert len(set(scores.split())) == 4
    for name in ("a.jsonl", "dense.jsonl", "dense.rec"):
        assert fm("predict", "a.fm", name)[1:] == (scores, "")
    records = fm("predict", "a.fm", "a.rec")
    assert records.out == scores
    assert records.err.startswith("note: keys of recordIO are counted from 1, as indices were in training; ")
    assert fm("predict", "a.fm", "a.rec", "--index-base", 1)[1:] == (scores, "")
    fm("convert", "a.svm", "-o", "zero.rec", "--index-base", 1)
    assert fm("predict", "a.fm", "zero.rec", "--index-base", 0)[1:] == (scores, "")
    assert fm("predict", "a.fm", "zero.rec", code=3).err.endswith(
        "fm: zero.rec, record 1, byte 0, field features.values.keys: key 0, but ids count from 1 (--index-base 0 counts "
        "them from 0)\n"
    )
    assert (
        "key 0, but ids count from 1"
        in fm("predict", "a.fm", stdin='{"features": {"keys": [0], "values": [1]}}', code=3).err
    )


def test_the_index_base_of_a_model_holds_for_the_requests_that_it_serves(based):
    fm = based
    scores = [float(score) for score in fm("predict", "a.fm", "a.svm").out.split()]
    instances = [json.loads(line) for line in fm.read("a.jsonl").splitlines()]
    with serving(fm, "a.fm") as server:
        answer = server.post(json.dumps({"instances": instances}))
        records = server.post(fm.read("a.rec"), "application/x-recordio-protobuf", "application/json")
        wrong = server.post(b'{"instances": [{"features": {"keys": [0], "values": [1]}}]}')
    for each in (answer, records):
        assert [row["score"] for row in json.loads(each.body)["predictions"]] == pytest.approx(scores, rel=1e-6)
    assert wrong.status == 400
    assert b"request, row 1, field features.keys: key 0, but ids count from 1" in wrong.body


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (
            ("--label-column", "y"),
            "--label-column is for the columns of tables, but a.svm is libsvm, which has none; leave it out",
        ),
        (("--weight-column", "y", "--id-column", "z"), "--weight-column, --id-column are for the columns"),
        (("--categorical", "c", "--numeric", "d"), "--numeric, --categorical are for the columns"),
        (("--ignore", "c"), "--ignore is for the columns"),
        (("--vocabulary", "v.tsv"), "--vocabulary is for the columns"),
        (("--missing", "zero"), "--missing is for the columns"),
        (("--no-header",), "--header and --no-header are for the columns"),
    ],
)
def test_options_of_tables_are_refused_for_other_formats(fm, options, refused):
    fm.write("a.svm", "1 0:1\n0 1:1\n")
    fm("train", "a.svm", *REGRESSOR, "-o", "a.fm")
    for command in (
        ("convert", "a.svm", "-o", "a.rec"),
        ("train", "a.svm", *REGRESSOR, "-o", "b.fm"),
        ("predict", "a.fm", "a.svm"),
        ("eval", "a.fm", "a.svm"),
    ):
        assert f"fm: {refused}" in fm(*command, *options, code=2).err
    fm("tune", "a.svm", "--cv", 2, "--trials", 1, *REGRESSOR, "-o", "b.fm", *options, code=2)
    assert fm.files() == ["a.fm", "a.svm"]


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (
            ("--index-base", "1"),
            "--index-base is for the ids of libsvm, libffm, recordIO and JSON, but a.csv is csv, which has none",
        ),
        (("--index-base", "auto", "--compact"), "--index-base, --compact are for the ids"),
    ],
)
def test_options_of_ids_are_refused_for_tables(fm, options, refused):
    fm.write("a.csv", TABLE)
    for command in (("convert", "a.csv", "-o", "a.rec"), ("train", "a.csv", *REGRESSOR, "-o", "b.fm")):
        expected = "--compact keeps the ids" if "--compact" in options and command[0] == "convert" else refused
        assert f"fm: {expected}" in fm(*command, "--label-column", "y", *options, code=2).err
    assert fm.files() == ["a.csv"]


def test_what_a_model_keeps_is_not_held_against_other_formats(fm):
    fm.write("a.csv", TABLE)
    fm.write("b.csv", TABLE)
    fm("train", "a.csv", "--test", "b.csv", *REGRESSOR, "--label-column", "y", "--buckets", "none", "-o", "a.fm")
    assert fm("predict", "a.fm", stdin='{"features": [1, 2]}').code == 0
    fm.write("a.svm", "1 1:1\n0 2:1\n")
    fm("train", "a.svm", *REGRESSOR, "--index-base", 1, "-o", "b.fm")
    assert fm("predict", "b.fm", "--label-column", "y", "--by-position", stdin=TABLE).code == 0


def test_a_header_is_not_for_parquet(fm):
    fm.python(
        "import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'a': [1.0, 2.0], 'y': [0.0, 1.0]}), 'a.parquet')"
    )
    printed = fm("train", "a.parquet", *REGRESSOR, "--label-column", "y", "--header", "-o", "a.fm", code=2).err
    assert printed == (
        "fm: --header and --no-header are for the text of CSV and TSV, but a.parquet is parquet, which has none; "
        "leave them out\n"
    )
