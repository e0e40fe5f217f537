"""`fm train` as a user runs it: every form of input, the same model every time, what it prints, what it refuses."""

import json
import os
import threading

import pytest
from shell import TABLE_OPTIONS, TEST_TABLE, TRAIN_TABLE, last_line, libsvm_rows

from fmcore.model import file as modelfile

CLASSIFIER = ("--predictor-type", "binary_classifier")
REGRESSOR = ("--predictor-type", "regressor")
COLUMNS = ["epoch", "train logloss", "test logloss", "test accuracy", "test f1", "test auc", "seconds", "rows/s"]


def table(text):
    """Return the lines of a table by their columns' names."""
    head, *lines = [line for line in text.splitlines() if line.startswith(" ")]
    names = [name.strip() for name in head.split("  ") if name]
    return [dict(zip(names, line.split(), strict=True)) for line in lines]


def test_every_form_of_input_gives_one_model(fm, world):
    lines = world.train.read_text().splitlines(keepends=True)
    fm.write("parts/a.svm", "".join(lines[:150]))
    fm.write("parts/b.svm", "".join(lines[150:]))
    fm.write("train.manifest", json.dumps([{"prefix": "parts/"}, "a.svm", "b.svm"]))
    fm.write("all.amazon.manifest", json.dumps([{"prefix": ""}, str(world.train)]))
    os.mkfifo(fm.folder / "pipe")
    forms = [
        [world.train],
        ["parts"],
        ["parts/*.svm"],
        ["train.manifest"],
        ["all.amazon.manifest"],
        ["parts/a.svm", "parts/b.svm"],
        ["-"],
        ["pipe"],
        ["parts/a.svm", "-"],
    ]
    stdins = {6: "".join(lines), 8: "".join(lines[150:])}
    writer = threading.Thread(target=lambda: (fm.folder / "pipe").write_text("".join(lines)))
    writer.start()
    for number, form in enumerate(forms):
        fm("train", *form, *CLASSIFIER, "--epochs", 1, "-o", f"{number}.fm", stdin=stdins.get(number, ""))
        assert fm.read(f"{number}.fm") == fm.read("0.fm"), form
    writer.join()


def test_any_threads_and_any_memory_give_one_model(fm, world):
    runs = [
        ("--threads", 1),
        ("--threads", 2),
        ("--threads", 3),
        ("--threads", 8),
        ("--memory-limit", 1),
        ("--memory-limit", "1k", "--threads", 3),
    ]
    printed = [
        fm("train", world.train, "--test", world.test, *CLASSIFIER, "--epochs", 2, "-o", "a.fm", *run).err
        for run in runs[:1]
    ]
    for run in runs[1:]:
        printed.append(
            fm("train", world.train, "--test", world.test, *CLASSIFIER, "--epochs", 2, "-o", "b.fm", *run).err
        )
        assert fm.read("a.fm") == fm.read("b.fm"), run
    assert ", in memory; " in printed[0]
    assert ", streamed each epoch, beyond the memory limit; " in printed[-1]
    assert ", 3 threads" in printed[-1] or "OpenMP no" in fm("--version").out


def test_the_seed_decides_the_model(fm, world):
    for name, options in (("a", ("--seed", 5)), ("b", ("--seed=5",)), ("c", ("--seed", 6))):
        fm("train", world.train, *CLASSIFIER, "--epochs", 1, "-o", name, *options)
    assert fm.read("a") == fm.read("b") != fm.read("c")


def test_rows_of_a_pipe_beyond_the_memory_limit_are_refused(fm, world):
    printed = fm("train", "-", *CLASSIFIER, "--memory-limit", "2K", "-o", "x.fm", stdin=world.train.read_text(), code=6)
    assert printed.err == (
        "fm: the training rows do not fit in 2,048 bytes of memory, and a pipe cannot be read again "
        "for the next epoch; give a file, or more memory with --memory-limit\n"
    )
    assert fm.files() == []


def test_metrics_out_holds_the_epochs_that_are_printed(world):
    pilot, first, *_ = world.printed.splitlines()
    assert pilot.startswith("pilot on 400 rows, logloss: recipe 0.")
    assert pilot.endswith("; training goes by the recipe, for 3 epochs (--pilot none: do without)")
    assert first.startswith("400 rows, 1,601 non-zeros, feature_dim 20, in memory; mini-batches of 6; model of ")
    shown = table(world.printed)
    assert list(shown[0]) == COLUMNS
    records = [json.loads(line) for line in world.lines.read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    for record, line in zip(records, shown, strict=True):
        assert record.keys() == {"epoch", "train", "test", "seconds", "rows_per_second"}
        assert record["train"].keys() == {"logloss"}
        assert record["test"].keys() == {"logloss", "accuracy", "f1", "auc"}
        assert line["epoch"] == str(record["epoch"])
        assert line["train logloss"] == f"{record['train']['logloss']:.5f}"
        assert line["test auc"] == f"{record['test']['auc']:.5f}"
    assert records[2]["test"]["logloss"] < records[0]["test"]["logloss"] < 0.6931
    assert modelfile.load(world.classifier).info["epochs"] == [
        {name: record[name] for name in ("epoch", "train", "test")} for record in records
    ]


def test_quiet_is_silent_and_changes_nothing(fm, world):
    for quiet in ((), ("-q",)):
        printed = fm("train", world.ratings, *REGRESSOR, "--epochs", 1, "-o", f"m{len(quiet)}", *quiet)
        assert printed.out == ""
        assert bool(printed.err) is not bool(quiet)
    assert fm.read("m0") == fm.read("m1")
    assert fm("train", "-", *REGRESSOR, "-q", "-o", "x", code=3).err == "fm: stdin: no rows to train on\n"


def test_the_model_is_written_to_standard_output(fm, world):
    done = fm("train", world.ratings, *REGRESSOR, "--epochs", 1, "-o", "-", "-q", binary=True)
    fm("train", world.ratings, *REGRESSOR, "--epochs", 1, "-o", "file.fm", "-q")
    assert done.out == fm.read("file.fm")


def test_early_stopping_keeps_the_best_model(fm):
    fm.write("noise.svm", "".join(f"{n % 2} {n}:1\n" for n in range(40)))
    fm.write("test.svm", "".join(f"{1 - n % 2} {n}:1\n" for n in range(40)))
    options = (*CLASSIFIER, "--preset", "native-1", "--test", "test.svm", "--linear-lr", 0.5)
    printed = fm("train", "noise.svm", *options, "--epochs", 50, "--early-stopping-patience", 2, "-o", "a.fm").err
    assert last_line(printed) == "best epoch: 1, whose model is kept"
    assert [line["epoch"] for line in table(printed)] == ["1", "2", "3"]
    fm("train", "noise.svm", *options, "--epochs", 1, "-o", "b.fm")
    a, b = modelfile.load(fm.folder / "a.fm"), modelfile.load(fm.folder / "b.fm")
    assert a.linear.tolist() == b.linear.tolist()
    printed = fm("train", "noise.svm", *CLASSIFIER, "--early-stopping-patience", 2, "-o", "c.fm", code=2).err
    assert printed == (
        "fm: early_stopping_patience needs test rows, but none are given; name some with --test, hold some out with "
        "--validation-fraction, or set it to none\n"
    )


def test_test_rows_of_several_sources_with_unknown_features(fm):
    fm.write("a.svm", "1 0:1 9:1\n")
    fm.write("b.svm", "0 1:1\n")
    printed = fm(
        "train",
        "-",
        *CLASSIFIER,
        "--test",
        "a.svm",
        "--test",
        "b.svm",
        "--epochs",
        2,
        "-o",
        "x.fm",
        stdin="1 0:1\n0 1:1\n",
    ).err
    assert last_line(printed) == "non-zeros of features unknown to the model ignored: 1"
    fm.write("empty.svm", "")
    printed = fm("train", "-", *CLASSIFIER, "--test", "empty.svm", "-o", "y.fm", stdin="1 0:1\n", code=3).err
    assert last_line(printed) == "fm: empty.svm: no rows to test on"
    printed = fm("train", "-", *CLASSIFIER, "--test", "-", "-o", "y.fm", stdin="1 0:1\n", code=2).err
    assert printed == "fm: standard input (-) is named for training and for testing, but can be read once\n"
    assert "y.fm" not in fm.files()


def test_a_row_of_weight_n_counts_as_n_rows(fm):
    rows = ["1 0:1\n"] * 3 + ["0 1:1\n"]
    options = (*CLASSIFIER, "--preset", "native-1", "--epochs", 1, "--no-shuffle", "--mini-batch-size", 4)
    options += ("--rescale-grad", 0.25, "-q")
    fm("train", "-", *options, "-o", "rows.fm", stdin="".join(rows))
    fm("train", "-", *options, "-o", "weights.fm", stdin="1:3 0:1\n0:1 1:1\n")
    rows, weights = (modelfile.load(fm.folder / name) for name in ("rows.fm", "weights.fm"))
    assert rows.bias == pytest.approx(weights.bias)
    assert rows.linear == pytest.approx(weights.linear)
    assert rows.info["epochs"][0]["train"]["logloss"] == pytest.approx(weights.info["epochs"][0]["train"]["logloss"])


@pytest.mark.parametrize("limit", [(), ("--memory-limit", 1)])
def test_bad_rows_are_skipped_and_counted_once(fm, limit):
    fm.write("x.svm", "1 0:1\nyes 1:1\n0 2:1\n7 3:1\n0 1:1\n")
    printed = fm("train", "x.svm", *CLASSIFIER, "--on-error", "skip", "--epochs", 3, "-o", "x.fm", *limit).err
    assert printed.count("skipped: x.svm, line 2, field 1: found 'yes' where the label stands; ") == 1
    assert printed.count("skipped: x.svm, line 4: label 7; ") == 1
    assert "rows skipped: 2\n3 rows, " in printed
    printed = fm("train", "x.svm", *CLASSIFIER, "-o", "y.fm", *limit, code=3).err
    assert printed.startswith(
        "fm: x.svm, line 2, field 1: found 'yes' where the label stands; expected a finite number"
    )
    assert fm.files() == ["x.fm", "x.svm"]


def test_tables_with_a_vocabulary_are_trained_and_scored(fm):
    fm.write("train.csv", TRAIN_TABLE)
    fm.write("test.csv", TEST_TABLE)
    options = (*CLASSIFIER, *TABLE_OPTIONS, "--vocabulary", "v.tsv", "--test", "test.csv", "--epochs", 2)
    options += ("--buckets", "none")
    printed = fm("train", "train.csv", *options, "-o", "a.fm").err
    assert printed.splitlines()[0] == "note: first line taken as the header"
    assert last_line(printed) == "unknown values in column city: 1"
    assert fm.read("v.tsv") == b"index\tcolumn\tvalue\n0\tage\t\n1\tcity\tRome\n2\tcity\tOslo\n"
    fm("train", "train.csv", *options, "-o", "b.fm", "--memory-limit", 1)
    assert fm.read("a.fm") == fm.read("b.fm")
    printed = fm(
        "train",
        "train.csv",
        *CLASSIFIER,
        *TABLE_OPTIONS,
        "--label-column",
        "spent",
        "--ignore",
        "bought",
        "--hash-bits",
        4,
        "-o",
        "c.fm",
        code=3,
    ).err
    lines = printed.splitlines()
    assert lines[:2] == [
        "note: first line taken as the header",
        "note: the label column 'spent' is absent: rows are read without labels",
    ]
    assert lines[2] == "note: columns of train.csv:"
    assert lines[-1] == (
        "fm: train.csv, row 1: the row has no label, which training and metrics need; in a table, name its column "
        "with --label-column"
    )


def test_a_failure_leaves_no_vocabulary_and_no_metrics(fm):
    fm.write("train.csv", TRAIN_TABLE + "e,1,Rome,-3,yes\n")
    printed = fm(
        "train",
        "train.csv",
        *CLASSIFIER,
        *TABLE_OPTIONS,
        "--vocabulary",
        "v.tsv",
        "--metrics-out",
        "m.jsonl",
        "-o",
        "x.fm",
        code=3,
    ).err
    assert last_line(printed) == "fm: train.csv, row 5, field weight: -3 as weight; expected a finite number from 0 up"
    assert fm.files() == ["train.csv"]


def test_hyperparameters_in_either_spelling_end_up_in_the_model(fm, world):
    fm(
        "train",
        world.ratings,
        "--predictor_type",
        "regressor",
        "--num_factors",
        3,
        "--factors-lr=0.25",
        "--epochs",
        "2",
        "--mini_batch_size",
        "auto",
        "--optimizer",
        "sgd",
        "--no_shuffle",
        "--clip_gradient",
        "1e2",
        "--linear-init-method",
        "uniform",
        "--linear_init_scale",
        "0.5",
        "--feature_scaling",
        "none",
        "--feature-dim",
        30,
        "--eps",
        "1e-6",
        "-o",
        "x.fm",
    )
    h = modelfile.load(fm.folder / "x.fm").hyperparameters.as_dict()
    given = {
        "predictor_type": "regressor",
        "num_factors": 3,
        "factors_lr": 0.25,
        "epochs": 2,
        "optimizer": "sgd",
        "mini_batch_size": None,
        "shuffle": False,
        "clip_gradient": 100.0,
        "linear_init_method": "uniform",
        "linear_init_scale": 0.5,
        "feature_scaling": "none",
        "feature_dim": 30,
        "eps": 1e-6,
    }
    assert {name: h[name] for name in given} == given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Error: Missing option '--predictor-type'. Expected binary_classifier or regressor."),
        (
            ("--predictor-type", "ranking"),
            "Error: Invalid value for '--predictor-type': predictor_type is 'ranking'; expected binary_classifier or reg",
        ),
        (
            (*REGRESSOR, "--num-factors", 0),
            "Error: Invalid value for '--num-factors': num_factors is 0; expected an integer from 1 to 65536",
        ),
        (
            (*REGRESSOR, "--linear-lr", "fast"),
            "Error: Invalid value for '--linear-lr': linear_lr is 'fast'; expected a number of at least 0",
        ),
        (
            (*REGRESSOR, "--bias-init-scale", 1),
            "fm: bias_init_scale is 1.0, but bias_init_method is mean, which takes no number; leave bias_init_scale out or",
        ),
        (
            (*REGRESSOR, "--memory-limit", "lots"),
            "Error: Invalid value for '--memory-limit': size 'lots' is invalid; expected a number of bytes, or one",
        ),
        ((*REGRESSOR, "--epoch", 3), "Error: No such option '--epoch'"),
        ((*REGRESSOR, "-o", "no/x.fm"), "fm: no/x.fm cannot be written: there is no folder "),
        ((*REGRESSOR, "-o", "."), "fm: . cannot be written: it is a folder"),
        ((*REGRESSOR, "--metrics-out", "no/x"), "fm: no/x cannot be written: there is no folder "),
    ],
)
def test_bad_options_of_train_are_refused_before_any_work(fm, options, message):
    printed = fm("train", "-", "-o", "x.fm", *options, stdin="1 0:1\n", code=2).err
    assert last_line(printed).startswith(message)
    assert fm.files() == []


def test_rows_beyond_a_stated_feature_dim_are_refused(fm):
    printed = fm("train", "-", *REGRESSOR, "--feature-dim", 5, "-o", "x.fm", stdin="1 4:1\n2 5:1\n", code=3).err
    assert printed == "fm: stdin, line 2: index 5 is beyond the stated feature_dim 5; indices count from 0\n"


def test_an_old_model_is_replaced_only_by_a_whole_one(fm):
    fm.write("x.fm", "old")
    fm("train", "-", *REGRESSOR, "-o", "x.fm", stdin="1 0:1\nx\n", code=3)
    assert fm.read("x.fm") == b"old"
    fm("train", "-", *REGRESSOR, "-o", "x.fm", "--epochs", 1, stdin=libsvm_rows(20, 5, classes=False))
    assert modelfile.load(fm.folder / "x.fm", verify=True).feature_dim == 20


def test_labels_whose_squares_exceed_64_bit_integers_are_trained(fm):
    """Train to a mean squared error of some 1e20, which the model holds and can be read with."""
    fm.write("x.svm", "".join(f"{1e11 * (1 + n % 7):g} {n % 7}:1 {7 + n % 5}:1\n" for n in range(200)))
    fm("train", "x.svm", "--test", "x.svm", "--predictor-type", "regressor", "--epochs", 2, "-o", "x.fm")
    assert float(fm("eval", "x.fm", "x.svm").out.split()[3]) > 2**63
