"""`fm train --init-model`: yesterday's model and today's rows, as a cron job has them."""

import shutil

import pytest
from shell import TABLE_OPTIONS, TRAIN_TABLE, last_line, libsvm_rows

from fmcore.model import file as modelfile
from fmcore.optimizers import OPTIMIZERS

REGRESSOR = ("--predictor-type", "regressor")
CLASSIFIER = ("--predictor-type", "binary_classifier")
CONSTANT = ("--preset", "native-1", "--lr-schedule", "constant")  # where trainings add up to one
NEW_TABLE = "id,age,city,weight,bought\ne,2,Lima,1,yes\nf,1,Oslo,1,no\ng,4,Bern,2,yes\n"


def same_numbers(fm, one, other):
    """Return whether two models have equal parameters and states."""
    one, other = (modelfile.load(fm.folder / name).tensors() for name in (one, other))
    return one.keys() == other.keys() and all(one[name].tolist() == other[name].tolist() for name in one)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("more", [(), ("--memory-limit", 1, "--threads", 2)])
def test_epochs_of_warm_starts_add_up(fm, world, optimizer, more):
    rates = ("--optimizer", optimizer, "--linear-lr", 0.01, "--factors-lr", 0.01)
    fm("train", world.ratings, *REGRESSOR, *CONSTANT, *rates, "--epochs", 5, "-o", "whole.fm", *more)
    fm("train", world.ratings, *REGRESSOR, *CONSTANT, *rates, "--epochs", 2, "-o", "a.fm")
    fm("train", world.ratings, "--init-model", "a.fm", "--epochs", 3, "-o", "b.fm", *more)
    assert same_numbers(fm, "whole.fm", "b.fm")
    assert modelfile.load(fm.folder / "b.fm").hyperparameters.epochs == 3


def test_a_warm_start_from_yesterdays_model_learns_todays_rows(fm):
    """Run the recipe of docs/resuming.md, by dates: each day can be run again, and resumes where it was killed."""
    for day in range(1, 4):
        fm.write(f"{day}.svm", libsvm_rows(400, day, features=10 * (day + 1)))
    fm.write("test.svm", libsvm_rows(400, 9, features=40))
    fm("train", "1.svm", *CLASSIFIER, "-o", "1.fm")
    losses = [loss(fm, "1.fm")]
    for day in (2, 3):
        job = (
            "train",
            f"{day}.svm",
            "--init-model",
            f"{day - 1}.fm",
            "--epochs",
            2,
            "-o",
            f"{day}.fm",
            "--checkpoint",
            "c",
            "--resume",
        )
        fm(*job)
        first = fm.read(f"{day}.fm")
        fm(*job)
        assert fm.read(f"{day}.fm") == first
        losses.append(loss(fm, f"{day}.fm"))
        assert modelfile.load(fm.folder / f"{day}.fm").feature_dim == 10 * (day + 1)
    assert losses[2] < losses[1] < losses[0]


def loss(fm, model):
    """Return the logloss on the test rows."""
    return float(fm("eval", model, "test.svm").out.split()[1])


def test_a_warm_start_may_replace_its_own_model(fm, world):
    fm("train", world.ratings, *REGRESSOR, *CONSTANT, "--epochs", 2, "-o", "x.fm")
    fm("train", world.ratings, "--init-model", "x.fm", "--epochs", 1, "-o", "x.fm")
    fm("train", world.ratings, *REGRESSOR, *CONSTANT, "--epochs", 3, "-o", "whole.fm")
    assert same_numbers(fm, "x.fm", "whole.fm")


def test_a_warm_start_adds_new_values_to_the_vocabulary(fm):
    fm.write("old.csv", TRAIN_TABLE)
    fm.write("new.csv", NEW_TABLE)
    fm(
        "train",
        "old.csv",
        *CLASSIFIER,
        *TABLE_OPTIONS,
        "--vocabulary",
        "v.tsv",
        "--epochs",
        2,
        "--buckets",
        "none",
        "-o",
        "old.fm",
    )
    before, scores = fm.read("v.tsv"), fm("predict", "old.fm", "old.csv", "-q").out
    printed = fm("train", "new.csv", "--init-model", "old.fm", "--vocabulary", "v.tsv", "-o", "new.fm").err
    assert "values added to the vocabulary: 2" in printed
    assert fm.read("v.tsv") == before + b"3\tcity\tLima\n4\tcity\tBern\n"
    old, new = (modelfile.load(fm.folder / name) for name in ("old.fm", "new.fm"))
    assert (old.feature_dim, new.feature_dim) == (3, 5)
    assert new.info["input"] == old.info["input"]
    assert fm("predict", "old.fm", "old.csv", "-q").out == scores
    fm("predict", "new.fm", "new.csv", "--unseen", "error")
    fm("train", "new.csv", "--init-model", "old.fm", "-o", "same.fm")  # and no file, where none is named
    assert fm.read("same.fm") == fm.read("new.fm")
    printed = fm("train", "new.csv", "--init-model", "new.fm", "-o", "x.fm").err
    assert "values added" not in printed


def test_tables_whose_columns_moved_are_matched_by_name(fm):
    fm.write("old.csv", "y,a,b\n1,2,3\n0,1,1\n")
    fm.write("more.csv", "c,b,a,y\n4,3,2,1\n1,1,1,0\n")
    fm.write("less.csv", "y,a\n1,2\n0,1\n")
    for hashed in ((), ("--hash-bits", 3)):
        fm("train", "old.csv", *REGRESSOR, "--label-column", "y", *hashed, "-o", "a.fm")
        fm("train", "old.csv", "--init-model", "a.fm", "-o", "b.fm")
        printed = fm("train", "more.csv", "--init-model", "a.fm", "-o", "c.fm").err
        assert "columns that the model does not know are ignored: c" in printed
        assert fm.read("b.fm") == fm.read("c.fm")
        printed = fm("train", "less.csv", "--init-model", "a.fm", "-o", "d.fm", code=3).err
        assert last_line(printed).startswith(
            "fm: less.csv: column 'b' of the model is missing; the columns found are: "
        )


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (("--predictor-type", "binary_classifier"), "predictor_type is binary_classifier, but regressor in the model"),
        (("--num-factors", 3), "num_factors is 3, but 16 in the model"),
        (("-p", "optimizer=adam"), "optimizer is adam, but adagrad in the model"),
        (("--hash-bits", 4), "--hash-bits is 4, but the model does not hash ids; leave it out"),
        (("--vocabulary", "v.tsv"), "--vocabulary is for the columns of tables, but "),
        (("--categorical", "a,b"), "--categorical is for the columns of tables, but "),
        (("--index-base", 1), "index_base is 1, but 0 in the model"),
        (
            ("--feature-dim", 19),
            "feature_dim is 19, but the model has 20 features, which may become more",
        ),
        (
            ("--preset", "native"),
            "--preset is for a new model; with --init-model what is not given is taken from the model",
        ),
    ],
)
def test_options_that_contradict_the_model_are_refused(fm, world, options, printed):
    err = fm("train", world.ratings, "--init-model", world.regressor, *options, "-o", "x.fm", code=2).err
    assert printed in err
    assert fm.files() == []


def test_options_that_agree_with_the_model_are_accepted(fm, world):
    fm(
        "train",
        world.ratings,
        "--init-model",
        world.regressor,
        *REGRESSOR,
        "--num-factors",
        16,
        "--seed",
        7,
        "--optimizer",
        "adagrad",
        "--index-base",
        "auto",
        "--feature-dim",
        25,
        "--linear-lr",
        0.01,
        "--linear-wd",
        0,
        "--epochs",
        1,
        "--mini-batch-size",
        10,
        "--feature-scaling",
        "none",
        "-o",
        "x.fm",
    )
    assert modelfile.load(fm.folder / "x.fm", verify=True).feature_dim == 25


def test_a_warm_start_refuses_a_vocabulary_of_another_model(fm):
    fm.write("t.csv", TRAIN_TABLE)
    fm("train", "t.csv", *TABLE_OPTIONS, "--vocabulary", "v.tsv", *CLASSIFIER, "-o", "a.fm")
    shutil.move(fm.folder / "v.tsv", fm.folder / "w.tsv")
    fm("train", "t.csv", "--init-model", "a.fm", "-o", "b.fm")  # which has its values inside
    fm("train", "t.csv", "--init-model", "a.fm", "--vocabulary", "w.tsv", "-o", "c.fm")
    assert fm.read("b.fm") == fm.read("c.fm")
    for values in (("Oslo", "Rome"), ("Rome", "Oslo", "Bern")):
        fm.write("v.tsv", "index\tcolumn\tvalue\n0\tage\t\n")
        with (fm.folder / "v.tsv").open("a") as file:
            file.writelines(f"{index}\tcity\t{value}\n" for index, value in enumerate(values, 1))
        before = fm.read("v.tsv")
        job = ("train", "t.csv", "--init-model", "a.fm", "--vocabulary", "v.tsv", "-o", "d.fm")
        assert "the vocabulary v.tsv is not the one that the model holds" in last_line(fm(*job, code=2).err)
        assert fm.read("v.tsv") == before


def test_a_warm_start_refuses_damaged_and_other_files(fm, world):
    model = world.regressor.read_bytes()
    fm.write("bad.fm", model[:-1] + bytes([model[-1] ^ 1]))
    for name, printed in (
        ("bad.fm", "damaged: the tensors do not match"),
        ("none.fm", "No such file"),
        (world.ratings, "not a safetensors file"),
    ):
        assert printed in fm("train", world.ratings, "--init-model", name, "-o", "x.fm", code=4).err


def test_a_warm_start_needs_test_rows_where_the_model_has_early_stopping(fm, world):
    job = ("train", world.train, "--test", world.test)
    fm(*job, *CLASSIFIER, "--early-stopping-patience", 1, "-o", "a.fm")
    assert "best epoch: " in fm(*job, "--init-model", "a.fm", "-o", "b.fm").err
    printed = fm("train", world.train, "--init-model", "a.fm", "-o", "b.fm", code=2).err
    assert printed.endswith("name some with --test, hold some out with --validation-fraction, or set it to none\n")
    fm("train", world.train, "--init-model", "a.fm", "--early-stopping-patience", "none", "-o", "b.fm")


def test_quiet_warm_start_prints_nothing_about_new_values(fm):
    fm.write("old.csv", TRAIN_TABLE)
    fm.write("new.csv", NEW_TABLE)
    fm("train", "old.csv", *CLASSIFIER, *TABLE_OPTIONS, "--vocabulary", "v.tsv", "-o", "old.fm")
    assert fm("train", "new.csv", "--init-model", "old.fm", "-o", "new.fm", "--quiet").err == ""
