"""Buckets of numeric columns, through every command: the same edges however rows come, and the model's own afterwards."""

import csv
import io
import json
import math
import os
import random
import threading

import numpy as np
import pytest
from serving import serving
from shell import Shell

from fmcore import api
from fmcore.errors import UsageError
from fmcore.model import file as modelfile
from fmcore.schema.buckets import Buckets
from fmcore.schema.options import TableOptions

CLASSIFIER = ("--predictor-type", "binary_classifier", "--label-column", "bought", "--epochs", 3, "--quiet")
BENT = 0.5, 1.5  # between which rows of x are bought


def table(rows, seed):
    """Return rows of CSV whose label is no monotone function of x: x, gain (mostly 0), city, bought."""
    random_, handle = random.Random(seed), io.StringIO()
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(("x", "gain", "city", "bought"))
    for _ in range(rows):
        x = round(random_.gauss(0, 1.5), 3)
        gain = 0 if random_.random() < 0.9 else random_.choice((-20, 5, 7.5, 300))
        city = random_.choice(("Rome", "Oslo", ""))
        bought = (BENT[0] < abs(x) < BENT[1]) ^ (random_.random() < 0.05)
        writer.writerow(("" if random_.random() < 0.1 else x, gain, city, int(bought)))
    return handle.getvalue()


def as_json_lines(text):
    """Return rows of CSV as JSON Lines by name, without the label."""
    rows = csv.DictReader(io.StringIO(text))
    parsed = ({name: number(value) for name, value in row.items() if name != "bought"} for row in rows)
    return "".join(json.dumps({"features": row}) + "\n" for row in parsed)


def number(text):
    try:
        return float(text)
    except ValueError:
        return text or None


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a Shell in a folder with rows and a model trained on them."""
    fm = Shell(tmp_path_factory.mktemp("buckets"))
    fm.write("train.csv", table(900, 1))
    fm.write("test.csv", table(300, 2))
    fm("train", "train.csv", *CLASSIFIER, "--threads", 1, "-o", "m.fm")
    return fm


def buckets(fm, name):
    """Return column -> the texts of its buckets."""
    return {column: each.texts() for column, each in modelfile.load(fm.folder / name).schema.buckets().items()}


def logloss(fm, *arguments):
    return json.loads(fm("eval", *arguments, "--json", "--quiet").out)["logloss"]


def test_a_model_bends_where_without_buckets_it_cannot(home):
    home("train", "train.csv", *CLASSIFIER, "--buckets", "none", "-o", "plain.fm")
    assert logloss(home, "m.fm", "test.csv") < 0.75 * logloss(home, "plain.fm", "test.csv")
    assert buckets(home, "plain.fm") == {}
    assert buckets(home, "m.fm")["gain"] == ("(-inf,0)", "[0,5)", "[5,7.5)", "[7.5,300)", "[300,inf)")
    assert buckets(home, "m.fm")["x"][-1] == "missing"


@pytest.mark.parametrize("more", [("--threads", 2), ("--memory-limit", 1), ("--memory-limit", "1k", "--threads", 3)])
def test_threads_and_memory_do_not_matter(home, more):
    home("train", "train.csv", *CLASSIFIER, *more, "-o", "again.fm")
    assert home.read("again.fm") == home.read("m.fm")


def test_edges_are_kept_to_the_bit(home):
    text = [row["x"] for row in csv.DictReader(io.StringIO(home.read("train.csv").decode()))]
    values = {float(x) for x in text if x}
    edges = modelfile.load(home.folder / "m.fm").schema.buckets()["x"].edges
    assert set(edges.tolist()) <= values
    again = Buckets.of_texts(buckets(home, "m.fm")["x"])
    assert again.edges.tobytes() == edges.tobytes()


def test_standard_input_and_pipes_give_the_edges_of_a_file(home):
    home("train", "-", *CLASSIFIER, "-o", "stdin.fm", stdin=home.read("train.csv").decode())
    assert home.read("stdin.fm") == home.read("m.fm")
    hashed = (*CLASSIFIER, "--hash-bits", 4, "--epochs", 1)
    os.mkfifo(home.folder / "pipe_0")
    feeding = threading.Thread(target=lambda: (home.folder / "pipe_0").write_bytes(home.read("train.csv")))
    feeding.start()
    home("train", "--input-mode", "pipe", "--train", "pipe", *hashed, "-o", "piped.fm")
    feeding.join()
    home("train", "train.csv", *hashed, "-o", "filed.fm")
    assert buckets(home, "piped.fm") == buckets(home, "filed.fm") == buckets(home, "m.fm")
    assert logloss(home, "piped.fm", "test.csv") == pytest.approx(logloss(home, "filed.fm", "test.csv"), rel=1e-6)


def test_a_team_has_the_edges_of_one_worker(home):
    lines = home.read("train.csv").decode().splitlines(keepends=True)
    (home.folder / "parts").mkdir()
    for part in range(3):
        home.write(f"parts/{part}.csv", "".join([lines[0], *lines[1 + 300 * part : 301 + 300 * part]]))
    home("train", "parts", *CLASSIFIER, "--distributed", "local", "--workers", 2, "-o", "team.fm")
    assert buckets(home, "team.fm") == buckets(home, "m.fm")
    assert logloss(home, "team.fm", "test.csv") < 0.6


def test_all_ways_to_score_agree(home):
    unlabelled = as_json_lines(home.read("test.csv").decode())
    home.write("test.jsonl", unlabelled)
    expected = home("predict", "m.fm", "test.csv", "--to", "jsonlines", "--quiet").out
    assert home("predict", "m.fm", "test.jsonl", "--to", "jsonlines", "--quiet").out == expected
    with serving(home, "m.fm") as server:
        for body, kind in ((unlabelled, "application/jsonlines"), (home.read("test.csv").decode(), "text/csv")):
            assert server.post(body.encode(), kind, "application/jsonlines").body.decode() == expected
        one = server.post(f'{{"instances": [{unlabelled.splitlines()[0]}]}}'.encode(), "application/json")
    assert json.loads(one.body)["predictions"] == [json.loads(expected.splitlines()[0])]


def test_values_beyond_the_edges_and_missing_ones_are_scored(home):
    home.write("far.csv", "x,gain,city\n-1e6,0,Rome\n-99,0,Rome\n99,1e6,\nNA,0,\nnull,0,\n,0,\n")
    scores = [float(line) for line in home("predict", "m.fm", "far.csv", "--quiet").out.split()]
    assert all(0 <= score <= 1 for score in scores)
    assert scores[3] == scores[4] == scores[5]
    home.write("inf.csv", "x,gain,city\ninf,0,Rome\n")
    refused = home("predict", "m.fm", "inf.csv", "--quiet", code=3).err
    assert "inf as feature value; expected a finite 32-bit number" in refused


def test_a_warm_start_keeps_the_edges(home):
    home.write("wide.csv", table(300, 3).replace("300", "700"))
    home("train", "wide.csv", "--init-model", "m.fm", "--epochs", 2, "--quiet", "-o", "warm.fm")
    assert buckets(home, "warm.fm") == buckets(home, "m.fm")
    home("train", "train.csv", *CLASSIFIER, "--buckets", "none", "-o", "old.fm")
    home("train", "wide.csv", "--init-model", "old.fm", "--epochs", 2, "--quiet", "-o", "warm.fm")
    assert buckets(home, "warm.fm") == {}


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("m.fm", ("--buckets", 9), "--buckets is 9, but the model has buckets, whose edges are kept; leave it out"),
        ("m.fm", ("--buckets", "none"), "--buckets is none, but the model has buckets"),
        ("m.fm", ("--buckets-for", "x"), "--buckets-for is given, but the model has buckets"),
    ],
)
def test_a_model_is_not_given_other_buckets(home, model, options, expected):
    assert expected in home("eval", model, "test.csv", *options, code=2).err
    assert expected in home("train", "train.csv", "--init-model", model, "-o", "no.fm", *options, code=2).err
    home("eval", model, "test.csv", "--buckets", "auto", "--quiet")


def test_converted_rows_are_those_of_training(home):
    vocabulary = ("--label-column", "bought", "--vocabulary", "v.tsv", "--quiet")
    home("convert", "train.csv", "-o", "train.rec", *vocabulary)
    home("convert", "test.csv", "-o", "test.rec", *vocabulary)
    listed = [line.split("\t")[1:] for line in home.read("v.tsv").decode().splitlines()[1:]]
    assert listed[0] == ["x", ""]
    assert [text for column, text in listed if column == "gain"] == ["", *buckets(home, "m.fm")["gain"]]
    home("train", "train.rec", "--predictor-type", "binary_classifier", "--epochs", 3, "--quiet", "-o", "rec.fm")
    own, converted = (modelfile.load(home.folder / name) for name in ("m.fm", "rec.fm"))
    for name, array in own.weights.items():
        np.testing.assert_array_equal(array, converted.weights[name])
    assert logloss(home, "rec.fm", "test.rec") == logloss(home, "m.fm", "test.csv")
    assert logloss(home, "m.fm", "test.rec", "--by-position") == logloss(home, "m.fm", "test.csv")


def test_a_conversion_without_a_vocabulary_says_that_it_has_none(home):
    options = ("--label-column", "bought", "--ignore", "city")
    said = home("convert", "train.csv", "-o", "plain.rec", *options).err
    assert "note: numeric columns have no buckets, as fm train gives them; --vocabulary FILE" in said
    assert "feature_dim: 2\n" in said
    assert "no buckets" not in home("convert", "train.csv", "-o", "plain.rec", *options, "--buckets", "none").err
    refused = home("convert", "train.csv", "-o", "no.rec", *options, "--buckets", 4, code=2).err
    assert "buckets of columns need --vocabulary FILE, which keeps their edges for other rows" in refused


def test_a_vocabulary_is_written_and_shared(home):
    home("train", "train.csv", *CLASSIFIER, "--vocabulary", "shared.tsv", "-o", "first.fm")
    home("train", "test.csv", *CLASSIFIER, "--vocabulary", "shared.tsv", "-o", "second.fm")
    assert buckets(home, "second.fm") == buckets(home, "first.fm") == buckets(home, "m.fm")


def test_names_of_features(home):
    shown = home("inspect", "m.fm", "--top", 50).out
    assert "  gain: numeric, -20 to 300, 5 buckets\n" in shown
    assert "  gain in [0,5)\n" in shown
    assert "  x missing\n" in shown
    assert json.loads(home("inspect", "m.fm", "--json").out)["schema"]["buckets"]["gain"] == {
        "edges": [0, 5, 7.5, 300],
        "missing": False,
        "features": 5,
    }
    rows = list(csv.DictReader(io.StringIO(home("export", "m.fm", "--to", "csv").out)))
    assert ("gain", "[7.5,300)") in {(row["column"], row["value"]) for row in rows}
    shown = home("train", "train.csv", *CLASSIFIER, "--dry-run").out
    assert "gain\tnumeric\tits value, 5 buckets\n" in shown
    assert "gain in [0,5):1" in shown


def test_the_log_says_what_was_done(home):
    said = home("train", "train.csv", *CLASSIFIER[:-1], "-o", "said.fm").err
    number = len(buckets(home, "m.fm")["x"])
    assert f"note: buckets: x {number}, gain 5 (--buckets none leaves them out)\n" in said
    said = home("train", "train.csv", *CLASSIFIER[:-1], "--buckets", 3, "--buckets-for", "x", "-o", "said.fm").err
    assert "note: buckets: x 4 (--buckets none leaves them out)\n" in said


def test_other_presets_have_buckets_where_they_are_asked_for(home):
    job = (*CLASSIFIER, "--preset", "sagemaker", "--epochs", 1, "-o", "preset.fm")
    home("train", "train.csv", *job)
    assert buckets(home, "preset.fm") == {}
    home("train", "train.csv", *job, "--buckets", "auto")
    assert buckets(home, "preset.fm") == buckets(home, "m.fm")
    home("train", "train.csv", *job, "--buckets-for", "gain")
    assert list(buckets(home, "preset.fm")) == ["gain"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--buckets", 1), "--buckets is '1'; expected auto, none, or a number from 2 to 1,000"),
        (("--buckets", -3), "--buckets is '-3'; expected auto, none"),
        (("--buckets", 1001), "--buckets is '1001'; expected auto, none"),
        (("--buckets", "many"), "--buckets is 'many'; expected auto, none"),
        (("--buckets-for", "age"), "no column 'age'; the columns found are: 0 x, 1 gain, 2 city, 3 bought"),
        (("--buckets-for", "city"), "--buckets-for names 'city', but column 'city' is categorical"),
        (("--buckets-for", "x", "--buckets", "none"), "--buckets none and --buckets-for contradict each other"),
    ],
)
def test_what_makes_no_sense_is_refused(home, options, expected):
    assert expected in home("train", "train.csv", *CLASSIFIER, "-o", "no.fm", *options, code=2).err


def test_a_search_has_the_buckets_of_training(home):
    job = ("--predictor-type", "binary_classifier", "--label-column", "bought", "--epochs", 2, "--factors-lr", 0.05)
    found = home(
        "tune", "train.csv", "--test", "test.csv", *job, "--choice", "num_factors=2", "--trials", 2, "-o", "t.fm"
    )
    command = next(line for line in found.out.splitlines() if line.startswith("fm train"))
    home(*command.replace("t.fm", "same.fm").split()[1:])
    assert math.isclose(logloss(home, "t.fm", "test.csv"), logloss(home, "same.fm", "test.csv"))
    printed = home("tune", "train.csv", "--test", "test.csv", *job, "--buckets", 3, "--trials", 1, "-o", "u.fm").out
    assert "--buckets 3" in next(line for line in printed.splitlines() if line.startswith("fm train"))


def test_a_training_is_resumed_with_its_edges_and_no_others(home, tmp_path):
    def trained(epochs, buckets, **saved):
        options = api.ReadOptions(binary=True, table=TableOptions(label="bought", buckets=buckets))
        h = api.resolve(predictor_type="binary_classifier", epochs=epochs, lr_schedule="constant", pilot="none")
        api.train(api.Data([str(home.folder / "train.csv")], options), h, tmp_path / "m.fm", **saved)
        return (tmp_path / "m.fm").read_bytes()

    checkpoint = str(tmp_path / "c")
    trained(2, "auto", checkpoint=checkpoint)
    for other in (None, 3, 9):
        with pytest.raises(UsageError, match=r"is a checkpoint of another training: .*(buckets|non-zeros)"):
            trained(4, other, checkpoint=checkpoint)
    assert trained(4, "auto", checkpoint=checkpoint) == trained(4, "auto")


# ---------------------------------------------------------------------------------------- ids of index formats
def ids(rows, seed):
    """Return libsvm text, ids from 1, whose label is no monotone function of the value of id 3."""
    random_, lines = random.Random(seed), []
    for _ in range(rows):
        x, y = round(random_.gauss(0, 1.5), 3), round(random_.uniform(1, 9), 2)
        label = (BENT[0] < abs(x) < BENT[1]) ^ (random_.random() < 0.05)
        lines.append(f"{int(label)} 3:{x} 5:{y} {10 + random_.randrange(20)}:1\n")
    return "".join(lines)


OF_IDS = ("--predictor-type", "binary_classifier", "--index-base", 1, "--quiet")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Return a Shell in a folder with rows of ids and a model whose ids have buckets."""
    fm = Shell(tmp_path_factory.mktemp("ids"))
    fm.write("train.svm", ids(900, 1))
    fm.write("test.svm", ids(300, 2))
    fm("train", "train.svm", *OF_IDS, "--buckets", "auto", "-o", "m.fm")
    return fm


def test_ids_have_buckets_only_where_these_are_asked_for(indexed):
    indexed("train", "train.svm", *OF_IDS, "-o", "plain.fm")
    assert modelfile.load(indexed.folder / "plain.fm").feature_dim == 29
    assert modelfile.load(indexed.folder / "m.fm").feature_dim == 29 + 2 * 5
    assert logloss(indexed, "m.fm", "test.svm") < 0.8 * logloss(indexed, "plain.fm", "test.svm")


def test_buckets_of_ids_are_the_same_for_any_threads_memory_and_pipe(indexed):
    for more in (("--threads", 1), ("--threads", 2, "--memory-limit", 1)):
        indexed("train", "train.svm", *OF_IDS, "--buckets", "auto", "-o", "again.fm", *more)
        assert indexed.read("again.fm") == indexed.read("m.fm")
    text = (indexed.folder / "train.svm").read_text()
    indexed("train", "-", *OF_IDS, "--buckets", "auto", "-o", "again.fm", stdin=text)
    assert logloss(indexed, "again.fm", "test.svm") == logloss(indexed, "m.fm", "test.svm")


@pytest.mark.parametrize("more", [("--compact",), ("--hash-bits", 12), ("--min-count", 10)], ids=lambda more: more[0])
def test_buckets_of_ids_go_with_every_way_from_ids_to_indices(indexed, more):
    indexed("train", "train.svm", *OF_IDS, "--buckets", 6, *more, "-o", "other.fm")
    assert logloss(indexed, "other.fm", "test.svm") < 0.45


def test_rows_and_requests_are_scored_with_the_buckets_of_the_model(indexed):
    """Compare rows of text with requests of the same: one keyed, one dense, whose places count from 0."""
    one = json.dumps({"features": {"keys": [3, 5], "values": [1.0, 4.5]}})
    dense = json.dumps({"features": [0, 0, 1.0, 0, 4.5]})
    scores = [indexed("predict", "m.fm", "-", stdin=rows).out for rows in ("0 3:1 5:4.5\n", one, dense)]
    assert scores[0] == scores[1] == scores[2]
    with serving(indexed, "m.fm") as server:
        body = f'{{"instances": [{one}]}}'
        assert f"{json.loads(server.post(body).body)['predictions'][0]['score']:.6g}" == f"{float(scores[0]):.6g}"


def test_a_warm_start_and_a_search_keep_and_make_buckets_of_ids(indexed):
    indexed("train", "test.svm", "--init-model", "m.fm", "--epochs", 1, "-q", "-o", "warm.fm")
    tensors = [modelfile.load(indexed.folder / name).schema.tensors for name in ("m.fm", "warm.fm")]
    assert {name: array.tolist() for name, array in tensors[0].items()} == {
        name: array.tolist() for name, array in tensors[1].items()
    }
    found = indexed(
        "tune", "train.svm", "--test", "test.svm", *OF_IDS, "--buckets", "auto", "--trials", 1, "-o", "tuned.fm"
    ).out
    assert "--buckets auto" in found.splitlines()[-1]
    assert logloss(indexed, "tuned.fm", "test.svm") == logloss(indexed, "m.fm", "test.svm")


def test_buckets_of_ids_have_names(indexed):
    table_ = indexed("export", "m.fm", "--to", "csv", "-o", "-").out
    assert (
        next(csv.DictReader(io.StringIO(table_.split("\n", 1)[0] + "\n" + table_.split("\n")[2])))["column"] == "id 3"
    )
    assert "id 3 in [" in indexed("inspect", "m.fm").out
    shown = indexed("train", "train.svm", *OF_IDS, "--buckets", "auto", "--dry-run", "-o", "none.fm").out
    assert "id=3:" in shown
    assert "id 5 in [" in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--buckets-for", "price"),
            "--buckets-for names 'price'; expected ids, which these rows have, such as 7 or 3-9",
        ),
        (("--buckets-for", "4"), "--buckets-for names 4, but no such id has a value in the first rows"),
        (("--buckets-for", "3", "--buckets", "none"), "--buckets none and --buckets-for contradict each other"),
    ],
)
def test_buckets_that_ids_cannot_have_are_refused(indexed, options, expected):
    assert expected in indexed("train", "train.svm", *OF_IDS, "-o", "no.fm", *options, code=2).err


def test_columns_are_not_taken_for_ids_that_have_buckets(indexed):
    refused = indexed("predict", "m.fm", "-", "--by-position", stdin=",".join("1" * 39) + "\n", code=2).err
    assert refused.endswith("features are known by index instead of columns; give rows of the format of training\n")


def test_a_model_has_its_own_buckets_of_ids_or_none(indexed):
    refused = indexed("eval", "m.fm", "test.svm", "--buckets", 4, code=2).err
    assert "--buckets is 4, but the model has buckets, whose edges are kept; leave it out" in refused
    indexed("train", "train.svm", *OF_IDS, "-o", "plain.fm")
    refused = indexed("predict", "plain.fm", "test.svm", "--buckets", "auto", code=2).err
    assert "--buckets is auto, but the model has no buckets; leave it out" in refused
