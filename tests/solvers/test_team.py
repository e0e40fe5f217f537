"""Teams of workers in one process: one model whatever each of them holds, and how good it is."""

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from shell import libsvm_rows
from teams import Log, team, trained

from fmcore import api
from fmcore.errors import DataError, DivergedError, ResourceError
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions
from fmcore.io.sources.dealing import SMALLEST
from fmcore.io.sources.source import find
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.sums import LabelSums
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions
from fmcore.solvers.epoch import Epoch
from fmcore.solvers.team.messages import Orders, Sizes
from fmcore.solvers.team.reports import Parts
from fmcore.solvers.team.worker import Worker
from fmcore.system.memory import Budget

ROWS = 1500
STATES = ("replica", "sharded")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.svm").write_text(libsvm_rows(ROWS, 1))
    Path("test.svm").write_text(libsvm_rows(300, 2))
    return tmp_path


def weighted(lines):
    """Return rows of libsvm text with weights, one of which is 0."""
    rng = random.Random(4)
    return "".join(
        f"{label}:{0 if n == 7 else rng.choice((0.5, 1, 3))} {rest}\n"
        for n, (label, rest) in enumerate(line.split(" ", 1) for line in lines.splitlines())
    )


def table(rows, scale=1):
    """Return rows of CSV: two numeric columns, the first of large values, and the label."""
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=(rows, 2)) * (300 * scale, 1)
    return "a,b,y\n" + "".join(f"{a:.3f},{b:.3f},{int(a / 300 + b > 0)}\n" for a, b in numbers)


def alike(names=("train.svm",), *, workers=(1, 2, 3, 4), **options):
    """Assert that replica and sharded models are the same to the byte; return one for each number of workers."""
    found = []
    for number in workers:
        models = {trained("x.fm", names, resources=team(number, dist_state=state), **options) for state in STATES}
        assert len(models) == 1, f"{number} workers"
        found += models
    return found


# ------------------------------------------------------------------------------------------- replica and sharded
@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replica_and_sharded_teams_train_the_same_model(optimizer, predictor_type):
    assert len(set(alike(optimizer=optimizer, predictor_type=predictor_type, factors_lr=0.02, linear_lr=0.02))) == 4


def test_replica_and_sharded_teams_train_the_same_model_of_weighted_rows():
    Path("weighted.svm").write_text(weighted(libsvm_rows(ROWS, 1)))
    assert set(alike(["weighted.svm"])).isdisjoint(alike())


def test_replica_and_sharded_teams_train_the_same_model_without_shuffling():
    assert set(alike(shuffle=False)).isdisjoint(alike())


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_replica_and_sharded_teams_train_the_same_model_of_scaled_columns(optimizer):
    """CSV cannot be cut; its columns are scaled by the values that all workers have seen."""
    Path("x.csv").write_text(table(600))
    read = ReadOptions(binary=True, table=TableOptions(label="y"))
    found = alike(["x.csv"], read=read, optimizer=optimizer)
    assert len(set(found)) == 4
    scales = {api.load("x.fm").state["feature_scale"].tobytes()}
    trained("x.fm", ["x.csv"], read=read, optimizer=optimizer)
    assert scales == {api.load("x.fm").state["feature_scale"].tobytes()}


def test_replica_and_sharded_teams_warm_start_to_the_same_model():
    trained("init.fm", optimizer="adagrad", epochs=2)
    Path("more.svm").write_text(libsvm_rows(ROWS, 3, features=25))
    found = alike(["more.svm"], initial_model=api.load("init.fm"))
    assert len(set(found)) == 4
    assert api.load("x.fm").info["trained_epochs"] == 5


def test_replica_and_sharded_teams_train_the_same_model_of_features_that_no_row_has():
    alike(feature_dim=1000)
    assert api.load("x.fm").feature_dim == 1000


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replica_and_sharded_teams_train_the_same_model_of_dense_and_sparse_blocks(optimizer, monkeypatch):
    monkeypatch.setattr("fmcore.rows.blocks.BLOCK_ROWS", 110)
    alike(workers=(3,), optimizer=optimizer)
    sparse = api.load("x.fm")
    monkeypatch.setattr("fmcore.kernels.prepared.NON_ZEROS", 440)  # as in a full block, but not in the last one
    monkeypatch.setattr("fmcore.kernels.prepared.MATRIX", np.inf)
    alike(workers=(3,), optimizer=optimizer)
    dense = api.load("x.fm")
    assert not np.array_equal(dense.factors, sparse.factors)  # by their last bits
    np.testing.assert_allclose(dense.factors, sparse.factors, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 3, 150])
def test_a_team_trains_where_a_worker_has_no_rows(rows):
    Path("few.svm").write_text(libsvm_rows(rows, 1))
    assert Path("few.svm").stat().st_size < SMALLEST
    found = alike(["few.svm"], workers=(2, 4), test="test.svm")
    assert len(found) == 2
    assert api.load("x.fm").info["rows"] == rows


def test_a_team_trains_fewer_features_than_workers():
    Path("narrow.svm").write_text("".join(f"{n % 2} 0:{n % 7}\n" for n in range(900)))
    alike(["narrow.svm"], workers=(4,), test="narrow.svm")


@pytest.mark.parametrize("names", [["train.svm"], ["x.gz"], ["x.csv"], ["train.svm", "x.gz"]])
def test_a_team_gives_the_same_model_for_streamed_rows_and_many_threads(names):
    Path("x.gz").write_bytes(gzip.compress(libsvm_rows(700, 8).encode()))
    Path("x.csv").write_text(table(500, 1 / 300))
    read = ReadOptions(binary=True, table=TableOptions(label="y"))
    expected = trained("x.fm", names, test=names[0], read=read, resources=team(3))
    for state, limit, threads in (("replica", 1, 1), ("sharded", 1, 3), ("replica", None, 4), ("auto", 1 << 30, None)):
        resources = team(3, dist_state=state, memory_limit=limit, threads=threads)
        log = Log()
        found = trained("x.fm", names, test=names[0], read=read, resources=resources, observer=log)
        assert found == expected
        assert log.data.in_memory is (limit != 1)


# --------------------------------------------------------------------------------------------------------- reports
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
def test_a_team_trains_all_rows_once_an_epoch_and_tests_as_evaluate_does(state, predictor_type):
    log, alone = Log(), Log()
    Path("test.svm").write_text(weighted(libsvm_rows(300, 2)))
    h = {"predictor_type": predictor_type, "test": "test.svm"}
    trained("x.fm", resources=team(4, dist_state=state), observer=log, **h)
    trained("alone.fm", observer=alone, **h)
    for epoch in (1, 2, 3):
        assert sum(record["rows"] for record in log.rounds if record["epoch"] == epoch) == ROWS
        assert [record["round"] for record in log.rounds if record["epoch"] == epoch] == list(
            range(1, 1 + next(record["rounds"] for record in log.rounds if record["epoch"] == epoch))
        )
    assert log.trained == 3 * ROWS
    assert all(record["bytes_sent"] > 0 and record["workers"] == 4 for record in log.rounds)
    name = {"binary_classifier": "logloss", "regressor": "rmse"}[predictor_type]
    for record, one in zip(log.epochs, alone.epochs, strict=True):
        assert record["train"][name] == pytest.approx(one["train"][name], rel=0.15)
    data = api.Data(["test.svm"], ReadOptions(binary=predictor_type == "binary_classifier"))
    expected = api.evaluate(api.load("x.fm"), data)
    assert expected.pop("rows") == 300
    assert log.epochs[-1]["test"] == pytest.approx(expected, abs=1e-12)


def test_early_stopping_of_a_team_keeps_the_best_epoch():
    h = {"linear_lr": 0.5, "factors_lr": 0.5, "num_factors": 4, "lr_schedule": "constant"}
    found = {
        trained("x.fm", test="test.svm", epochs=40, early_stopping_patience=2, resources=team(3, dist_state=state), **h)
        for state in STATES
    }
    info = api.load("x.fm").info
    losses = [record["test"]["logloss"] for record in info["epochs"]]
    best = int(np.argmin(losses)) + 1
    assert (info["best_epoch"], len(losses), len(found)) == (best, best + 2, 1)
    trained("short.fm", test="test.svm", epochs=best, resources=team(3), **h)
    stopped, short = api.load("x.fm"), api.load("short.fm")
    assert all(np.array_equal(array, short.tensors()[name]) for name, array in stopped.tensors().items())


@pytest.mark.parametrize("state", STATES)
def test_divergence_in_a_team_names_the_worker_or_halves_the_rates(state):
    h = {"predictor_type": "regressor", "optimizer": "sgd", "linear_lr": 4.0, "factors_lr": 4.0}
    with pytest.raises(
        DivergedError,
        match=r"not finite in epoch 1, mini-batch \d+ of \d+; the largest score before "
        r"was .* \(worker \d\); lower the learning rates",
    ):
        trained("x.fm", resources=team(3, dist_state=state), **h)
    log = Log()
    trained("x.fm", resources=team(3, dist_state=state), observer=log, on_divergence="halve-lr", **h)
    assert log.halvings
    assert api.load("x.fm").info["halved"] == [epoch for epoch, _ in log.halvings]
    assert log.epochs[-1]["train"]["rmse"] < 3


def test_a_team_of_one_learns_as_well_as_a_single_process():
    log, alone = Log(), Log()
    trained("x.fm", test="test.svm", resources=team(1), observer=log)
    trained("y.fm", test="test.svm", observer=alone)
    for one, other in zip(log.epochs, alone.epochs, strict=True):
        assert one["test"]["logloss"] == pytest.approx(other["test"]["logloss"], rel=0.03)


@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise_adagrad"])
def test_sums_of_squares_of_a_teams_model_are_as_large_as_those_of_a_single_process(optimizer):
    trained("x.fm", resources=team(4), optimizer=optimizer, mini_batch_size=16)
    trained("y.fm", optimizer=optimizer, mini_batch_size=16)
    found, alone = api.load("x.fm").state, api.load("y.fm").state
    for name in ("sum_of_squares.linear", "sum_of_squares.factors"):
        assert 0.5 < np.median(found[name] / alone[name]) < 2


@pytest.mark.parametrize("workers", [(1, 4), (4, 1), (3, 2)])
def test_warm_start_by_another_number_of_workers(workers):
    """The second training begins with about the loss with which the first ended, for any numbers of workers."""
    first, second = (api.Resources() if number == 1 else team(number) for number in workers)
    log, more = Log(), Log()
    trained("x.fm", epochs=4, test="test.svm", resources=first, observer=log)
    trained("y.fm", epochs=2, test="test.svm", resources=second, observer=more, initial_model=api.load("x.fm"))
    assert api.load("y.fm").info["trained_epochs"] == 6
    assert more.epochs[0]["test"]["logloss"] < 1.02 * log.epochs[-1]["test"]["logloss"]


# --------------------------------------------------------------------------------------------------------- refusals
def test_errors_in_the_rows_of_a_team_are_reported():
    for content in ("", "\n# nothing\n"):
        Path("none.svm").write_text(content)
        with pytest.raises(DataError, match="no rows to train on"):
            trained("x.fm", ["none.svm"], resources=team(2))
        with pytest.raises(DataError, match=r"none\.svm: no rows to test on"):
            trained("x.fm", test="none.svm", resources=team(2))
    lines = libsvm_rows(ROWS, 1).splitlines(keepends=True)
    Path("bad.svm").write_text("".join([*lines[:1234], "1 3:x\n", *lines[1234:]]))
    for given in ({"names": ["bad.svm"]}, {"test": "bad.svm"}):
        with pytest.raises(DataError, match=r"^bad\.svm, line 1235, field 2: found '3:x'"):
            trained("x.fm", resources=team(4), **given)
    with pytest.raises(DataError, match=r"^train\.svm, line \d+: index \d+ is beyond the stated feature_dim 19"):
        trained("x.fm", feature_dim=19, resources=team(4))
    Path("mixed.svm").write_text("".join([*lines[:750], *(line.replace("0 ", "-1 ", 1) for line in lines[750:])]))
    for given in ({"names": ["mixed.svm"]}, {"test": "mixed.svm"}):
        with pytest.raises(DataError, match="-1"):
            trained("x.fm", resources=team(4), **given)
    assert not Path("x.fm").exists()


def test_parameters_that_do_not_fit_into_a_worker_are_refused():
    with pytest.raises(ResourceError, match=r"in each of 2 workers, .* that one may take; give --dist-state sharded"):
        trained("x.fm", feature_dim=10**7, resources=team(2, dist_state="replica", memory_limit=1 << 24))


def test_a_team_lists_the_values_before_workers_read():
    rng = np.random.default_rng(4)
    for name in ("x.csv", "more.csv"):
        rows = [f"c{rng.integers(40)},{rng.integers(5)},{rng.integers(2)}\n" for _ in range(200)]
        Path(name).write_text("a,b,y\n" + "".join(rows))
    read = ReadOptions(binary=True, table=TableOptions(label="y", vocabulary="v.tsv"))
    options = {"read": read, "feature_scaling": "none"}
    trained("alone.fm", ["x.csv", "more.csv"], **options)
    listed = Path("v.tsv").read_bytes()
    Path("v.tsv").unlink()
    trained("team.fm", ["x.csv", "more.csv"], resources=team(2), **options)
    assert Path("v.tsv").read_bytes() == listed
    alone, together = api.load("alone.fm").schema, api.load("team.fm").schema
    assert together.as_dict() == alone.as_dict()
    assert {name: each.tobytes() for name, each in together.tensors.items()} == {
        name: each.tobytes() for name, each in alone.tensors.items()
    }


def test_workers_shuffle_their_rows_in_different_orders():
    """Two of them that read the same file train its rows, and its mini-batches, in different orders."""
    options, h = ReadOptions(binary=True), resolve(predictor_type="binary_classifier", feature_dim=20)
    files = find(["train.svm"])
    parts = Parts.of([files, files], files, options)
    orders = Orders(
        2,
        parts,
        Parts.of([[], []], [], options),
        Encoder(),
        h,
        1,
        Budget(1 << 40, 1 << 40, given=True),
        "replica",
    )
    blocks = []
    workers = [Worker(0), Worker(1)]
    learned = [worker.read(orders) for worker in workers]
    assert [each.rows for each in learned] == [ROWS, ROWS]
    for worker in workers:
        worker.know(LabelSums.merged([each.labels for each in learned]))
    parts = zip(*[worker.split_sums() for worker in workers], strict=True)
    found = [worker.merge_sums(own) for worker, own in zip(workers, parts, strict=True)]
    for worker in workers:
        worker.apply_scaling(found)
        worker.place(Sizes(20, 16, sharded=False))
        worker.plan(Epoch(0, 0, 1.0, h), 0, ROWS, ROWS)
        blocks.append(worker._stretches[0])
    assert sorted(blocks[0].block.batch.labels) == sorted(blocks[1].block.batch.labels)
    assert (blocks[0].block.batch.labels != blocks[1].block.batch.labels).any()
    assert blocks[0].order.tolist() != blocks[1].order.tolist()
