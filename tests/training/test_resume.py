"""Training stopped between any two slices, within epochs and tests, and resumed: the same model to the byte."""

import random
from pathlib import Path

import numpy as np
import pytest
from rows import block_of, random_rows
from shell import libsvm_rows
from teams import After

from fmcore import api
from fmcore.errors import ModelError, PausedError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.rows import blocks, slices
from fmcore.rows.slices import rows_of, slice_size
from fmcore.solvers.observer import Observer
from fmcore.training import checkpoint

BLOCK, ROWS, SIZE, SLICE = 100, 350, 9, 30  # rows; of the last two, those of a mini-batch and of three of them
FIRST = {"preset": "native-1"}
SETTINGS = {
    "recipe": {"num_factors": 4},
    "adagrad": {**FIRST, "optimizer": "adagrad"},
    "adam": {**FIRST, "optimizer": "adam"},
    "rowwise_adagrad": {**FIRST, "optimizer": "rowwise_adagrad"},
    "rowwise_adagrad by rows": {"optimizer": "rowwise_adagrad"},
    "best epoch": {**FIRST, "early_stopping_patience": 2, "linear_lr": 0.4, "factors_lr": 0.4},
    "halved": {
        **FIRST,
        "predictor_type": "regressor",
        "optimizer": "sgd",
        "lr_schedule": "constant",
        "linear_lr": 2.0,
        "factors_lr": 2.0,
        "on_divergence": "halve-lr",
    },
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Provide a function that trains in a folder of files of rows, in small blocks and slices; it returns the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", BLOCK)
    monkeypatch.setattr(slices, "ROWS", SLICE)
    (tmp_path / "train.svm").write_text(libsvm_rows(ROWS, 1))
    (tmp_path / "test.svm").write_text(libsvm_rows(80, 2))

    def train(name="x.fm", settings=SETTINGS["adagrad"], *, saving=None, limit=1 << 30, threads=1, **options):
        given = {"predictor_type": "binary_classifier", "epochs": 5, "mini_batch_size": SIZE, **settings}
        h = resolve(given.pop("preset", "native"), **given)
        checkpoint = None if saving is None else api.Saving("c", resumable=True, **saving)
        api.train(
            api.Data(["train.svm"]),
            h,
            name,
            test=api.Data(["test.svm"]),
            checkpoint=checkpoint,
            resources=api.Resources(threads, limit),
            **options,
        )
        return Path(name)

    return train


class Log(Observer):
    def __init__(self):
        self.trained, self.resumed_at, self.reasons, self.halvings, self.blocks = 0, None, [], [], []

    def rows(self, count):
        self.trained += count

    def block(self, epoch, block, order, scores):
        self.blocks.append((epoch, len(rows_of(block, order)), bool(np.isfinite(scores[rows_of(block, order)]).all())))

    def resumed(self, records, rows):
        self.resumed_at = (len(records), rows)

    def restarted(self, why):
        self.reasons.append(why)

    def halved(self, error, epoch, factor):
        self.halvings.append((epoch, factor))


# ------------------------------------------------------------------------------------------------------------ slices
@pytest.mark.parametrize(
    ("rows", "non_zeros", "size", "factors", "expected"),
    [
        (131072, 39 * 131072, 256, 8, 64),
        (131072, 39 * 131072, 256, 64, 13),
        (1677, 16_770_000, 256, 8, 1),
        (10, 0, 3, 8, 5461),
        (5, 5, 2**31 - 1, 8, 1),
    ],
)
def test_a_slice_is_bounded_in_rows_and_in_work(rows, non_zeros, size, factors, expected):
    assert slice_size(rows, non_zeros, size, factors) == expected


def test_the_rows_of_slices_are_those_of_their_mini_batches():
    block, order = block_of(random_rows(53), 10), np.array([4, 0, 5, 2, 1, 3])
    parts = list(slices.slices(order, 4))
    assert [(trained, part.tolist()) for trained, part in parts] == [(4, [4, 0, 5, 2]), (6, [1, 3])]
    assert rows_of(block, parts[0][1]).tolist() == [*range(40, 50), *range(10), *range(50, 53), *range(20, 30)]
    assert [part.tolist() for _, part in slices.slices(order, 4, 4)] == [[1, 3]]


# ---------------------------------------------------------------------------------------------------------- resuming
@pytest.mark.parametrize("minutes", [None, 0.0], ids=["saved when stopped", "saved after each slice"])
@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["streamed", "in memory"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_resume_after_any_number_of_stops_between_slices_gives_the_same_bytes(run, settings, limit, minutes):
    log = Log()
    whole = run("whole.fm", settings, limit=limit, observer=log).read_bytes()
    assert bool(log.halvings) is (settings is SETTINGS["halved"])
    rng, stops, within = random.Random(5), 0, 0
    while True:
        log = Log()
        try:
            run(
                "parts.fm",
                settings,
                limit=limit,
                saving={"minutes": minutes},
                threads=rng.choice((1, 2)),
                stop=After(rng.randint(0, 9)),
                observer=log,
            )
            break
        except PausedError as error:
            stops += 1
            within += " after 0 rows;" not in str(error)
    assert Path("parts.fm").read_bytes() == whole
    assert min(stops, within) > 5
    assert all(finite for _, _, finite in log.blocks)


def test_resume_after_kill_between_two_saves_begins_at_the_last_one(run):
    class Killed(Exception):  # noqa: N818 - not an error
        pass

    def kill():
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return False

    whole, rng = run("whole.fm", SETTINGS["halved"]).read_bytes(), random.Random(6)
    for _ in range(200):
        left = rng.randint(0, 40)
        try:
            run("parts.fm", SETTINGS["halved"], saving={"minutes": 0.0}, stop=kill)
            break
        except Killed:
            pass
    assert Path("parts.fm").read_bytes() == whole


def test_resume_trains_no_row_twice(run):
    before, trained = Log(), 0
    run(observer=before)
    for polls in (9, 14):
        log = Log()
        with pytest.raises(PausedError):
            run(saving={}, stop=After(polls), observer=log)
        trained += log.trained
    log = Log()
    run(saving={}, observer=log)
    assert trained + log.trained == before.trained == 5 * ROWS
    assert log.resumed_at[1] % ROWS


def test_resume_after_a_stop_while_testing_trains_no_row_again(run):
    """The stop is polled before each epoch, after each slice but the last, and before each batch of test rows."""
    slices_an_epoch = 3 * 4 + 2
    with pytest.raises(
        PausedError,
        match=r"^interrupted in epoch 1 after 350 rows; saved to c; run the same command "
        r"with --resume$",
    ):
        run(saving={}, stop=After(slices_an_epoch))
    assert checkpoint.load("c")[0].progress.rows == ROWS
    log = Log()
    run("parts.fm", saving={}, observer=log)
    assert (log.resumed_at, log.trained) == ((0, ROWS), 4 * ROWS)
    assert Path("parts.fm").read_bytes() == run("whole.fm").read_bytes()


# ----------------------------------------------------------------------------------------------------- where it begins
def test_resume_option_decides_whether_a_checkpoint_may_or_must_exist(run):
    log = Log()
    run(saving={"resume": False}, observer=log)
    assert (log.reasons, log.resumed_at) == ([], None)
    saved = Path("c").read_bytes()
    with pytest.raises(UsageError, match=r"^c exists; resume from it with --resume, or remove it to start"):
        run(saving={"resume": False})
    assert Path("c").read_bytes() == saved
    Path("c").unlink()
    run(saving={"resume": True}, observer=log)
    assert log.reasons == ["there is no checkpoint c to resume from"]


@pytest.mark.parametrize(
    ("schedule", "epochs", "refused"),
    [
        ("constant", 7, None),
        ("constant", 4, None),
        ("constant", 2, "epochs was 5 and is 2"),
        ("linear", 7, "epochs was 5 and is 7"),
    ],
)
@pytest.mark.parametrize("settings", ["best epoch", "adagrad"])
def test_resume_with_another_number_of_epochs_only_where_no_learning_rate_depends_on_it(
    run, settings, schedule, epochs, refused
):
    given = {**SETTINGS[settings], "lr_schedule": schedule}
    with pytest.raises(PausedError, match=r"in epoch 3 after 18\d rows"):
        run("parts.fm", given, saving={}, stop=After(2 * (3 * 4 + 3) + 7))
    other = {**given, "epochs": epochs}
    if refused:
        with pytest.raises(UsageError, match=f"{refused}; remove it to start from the beginning"):
            run("parts.fm", other, saving={})
    else:
        assert run("parts.fm", other, saving={}).read_bytes() == run("whole.fm", other).read_bytes()


def test_a_finished_checkpoint_whose_model_is_in_place_allows_a_new_training(run):
    """The first was killed between the publication of its model and the removal of the checkpoint."""
    run("x.fm", saving={})
    log = Log()
    again = run("x.fm", saving={"resume": True}, observer=log)
    assert (log.trained, log.reasons) == (0, [])
    other = {**SETTINGS["adam"], "seed": 2}
    with pytest.raises(UsageError, match="checkpoint of another training"):
        run("y.fm", other, saving={"resume": True})  # which has no model of it
    assert run("x.fm", other, saving={"resume": True}, observer=log).read_bytes() == run("z.fm", other).read_bytes()
    assert log.reasons == ["c is of the training whose model is in x.fm"]
    assert again.exists()


def test_any_damage_of_a_checkpoint_is_found(run):
    with pytest.raises(PausedError):
        run("x.fm", SETTINGS["best epoch"], saving={}, stop=After(40))
    whole, rng = Path("c").read_bytes(), random.Random(7)
    for _ in range(40):
        at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]):
            Path("c").write_bytes(damaged)
            with pytest.raises(ModelError, match=r"^c: "):
                run("x.fm", SETTINGS["best epoch"], saving={})
    assert not Path("x.fm").exists()


def test_checkpoint_holds_the_model_that_the_epoch_began_with_only_where_needed(run):
    with pytest.raises(PausedError):
        run("x.fm", SETTINGS["halved"], saving={}, stop=After(65))
    kept = modelfile.load("c")
    assert {"state.begun.factors", "state.begun.bias"} < set(kept.tensors())
    state, _ = checkpoint.load("c")
    assert state.halved
    assert state.begun.factors.tolist() != state.model.factors.tolist()
