"""Teams by the preset "native": penalties by rows, with scales and evidence that are learned from all workers' rows."""

from pathlib import Path

import numpy as np
import pytest
from shell import libsvm_rows
from teams import Log, team, trained

from fmcore import api
from fmcore.io.options import ReadOptions
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE
from fmcore.schema.options import TableOptions

STATES = ("replica", "sharded")
NEAR = 1.03  # times the test loss of a single process
COLUMNS = np.array([[0, 1], [1000, 300], [5, 0.01], [0, 1]])  # mean and deviation of each, of which a table has four


def ratings(rows, seed, scale=1, *, classes=False, weights=False):
    """Return rows of libsvm text, a user and an item each, whose labels depend on the pair."""
    taste = np.random.default_rng(5)
    users, items, own = taste.normal(size=(60, 3)), taste.normal(size=(40, 3)), taste.normal(size=100)
    random, lines = np.random.default_rng(seed), []
    for _ in range(rows):
        user, item = random.integers(60), random.integers(40)
        label = own[user] + own[60 + item] + users[user] @ items[item] + 0.5 * random.normal()
        label = str(int(label > 0)) if classes else f"{scale * label:.4f}"
        weight = f":{random.choice((0.5, 1, 3))}" if weights else ""
        lines.append(f"{label}{weight} {user}:1 {60 + item}:1\n")
    return "".join(lines)


def table(rows, seed, scale=1, *, classes=False):
    """Return rows of CSV: numbers of very different means and deviations, of which the label is no linear function."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(rows, len(COLUMNS)))
    labels = z @ (1, 1, -0.5, 0) + z[:, 1] * z[:, 3] + 0.8 * z[:, 0] * z[:, 2] + 0.3 * random.normal(size=rows)
    labels = (labels > 0).astype(int) if classes else scale * (labels + 10).round(4)
    numbers = COLUMNS[:, 0] + z * COLUMNS[:, 1]
    lines = (",".join(f"{x:.4f}" for x in row) + f",{y}\n" for row, y in zip(numbers, labels, strict=True))
    return "a,b,c,d,y\n" + "".join(lines)


def far(rows):
    """Return rows of libsvm text in which a few values of a feature are very far from its others."""
    lines = libsvm_rows(rows, 1, classes=False).splitlines(keepends=True)
    return "".join(f"{line.rstrip()} 30:{1e4 if n % 200 == 0 else 1}\n" for n, line in enumerate(lines))


DATA = {  # kind of rows -> (file, rows to train on, rows to test on, predictor type)
    "ratings": ("x.svm", ratings(3000, 1), ratings(1000, 2), "regressor"),
    "ratings times 1000": ("x.svm", ratings(3000, 1, 1000), ratings(1000, 2, 1000), "regressor"),
    "weighted ratings": ("x.svm", ratings(3000, 1, weights=True), ratings(1000, 2, weights=True), "regressor"),
    "likes": ("x.svm", ratings(3000, 1, classes=True), ratings(1000, 2, classes=True), "binary_classifier"),
    "table": ("x.csv", table(2000, 1), table(800, 2), "regressor"),
    "table times 1000": ("x.csv", table(2000, 1, 1000), table(800, 2, 1000), "regressor"),
    "table of classes": ("x.csv", table(2000, 1, classes=True), table(800, 2, classes=True), "binary_classifier"),
    "far": ("x.svm", far(1500), far(300), "regressor"),
}


@pytest.fixture(params=DATA)
def run(request, tmp_path, monkeypatch):
    """Return a function that trains on rows of one kind, and returns (the model's bytes, a Log)."""
    monkeypatch.chdir(tmp_path)
    name, train, test, kind = DATA[request.param]
    Path(name).write_text(train)
    Path(f"test-{name}").write_text(test)
    read = ReadOptions(binary=kind == "binary_classifier", table=TableOptions(label="y"))

    def run(resources, **options):
        log, h = Log(), {"predictor_type": kind, "epochs": None, "pilot": "none", **options}
        return trained(
            "m.fm", [name], test=f"test-{name}", read=read, resources=resources, observer=log, preset="native", **h
        ), log

    return run


def loss(log):
    """Return the loss of the test rows after the last epoch."""
    found = log.epochs[-1]["test"]
    return found["rmse"] if "rmse" in found else found["logloss"]


def test_teams_learn_as_well_as_a_single_process(run):
    _, alone = run(api.Resources())
    for workers in (2, 3):
        models, logs = zip(*[run(team(workers, dist_state=state)) for state in STATES], strict=True)
        assert models[0] == models[1], f"{workers} workers"
        for log in logs:
            assert loss(log) < NEAR * loss(alone)


def test_what_a_team_knows_of_its_rows_is_what_a_single_process_does(run):
    _, alone = run(api.Resources(), epochs=1)
    for workers in (1, 2, 3):
        for state in STATES:
            _, log = run(team(workers, dist_state=state), epochs=1)
            same_scaling(log.data.scaling, alone.data.scaling)
            found, expected = log.first.state, alone.first.state
            np.testing.assert_array_equal(found[ROWS], expected[ROWS])
            np.testing.assert_allclose(found[TOTALS], expected[TOTALS], rtol=1e-12)
            np.testing.assert_allclose(found[VARIANCE], expected[VARIANCE], rtol=1e-5)
            assert np.array_equal(found[VARIANCE] == 0, expected[VARIANCE] == 0)
            trained = api.load("m.fm").state
            np.testing.assert_array_equal(trained[ROWS], expected[ROWS])
            np.testing.assert_array_equal(trained[TOTALS], found[TOTALS])


@pytest.mark.parametrize("options", [{"factors_variance": 0.0}, *({"optimizer": name} for name in ("adam", "sgd"))])
def test_replica_and_sharded_teams_train_the_same_model_by_other_hyperparameters(run, options):
    assert len({run(team(3, dist_state=state), epochs=2, **options)[0] for state in STATES}) == 1


def test_a_team_gives_the_same_model_for_streamed_rows_and_many_threads(run):
    expected, _ = run(team(3), epochs=2)
    for state, limit, threads in (("replica", 1, 1), ("sharded", 1, 3), ("replica", None, 4)):
        found, log = run(team(3, dist_state=state, memory_limit=limit, threads=threads), epochs=2)
        assert found == expected
        assert log.data.in_memory is (limit != 1)


def test_the_pilot_of_a_team_finds_what_that_of_a_single_process_does(run):
    run(api.Resources(), pilot="auto")
    alone = api.load("m.fm")
    run(team(2), pilot="auto")
    together = api.load("m.fm")
    assert together.info["pilot"] == alone.info["pilot"]
    assert together.hyperparameters == alone.hyperparameters


def test_a_warm_start_by_a_team_keeps_scales_and_counts_all_rows_that_were_seen(run):
    """It begins with about the loss with which the first training ended, by any number of workers."""
    first, log = run(api.Resources())
    Path("first.fm").write_bytes(first)
    before = api.load("first.fm")
    found = set()
    for state in STATES:
        model, more = run(team(2, dist_state=state), epochs=1, linear_lr=0.05, initial_model=before)
        found.add(model)
        assert loss(more) < NEAR * loss(log)
    after = api.load("m.fm")
    np.testing.assert_array_equal(after.state[ROWS], 2 * before.state[ROWS])
    np.testing.assert_allclose(after.state[TOTALS], before.state[TOTALS] * (2, 1), rtol=1e-12)
    for name in ("feature_mean", "label_scale"):
        assert (name in after.state) is (name in before.state)
        np.testing.assert_array_equal(after.state.get(name), before.state.get(name))
    assert len(found) == 1


def test_the_rows_here_have_columns_that_are_centred_labels_that_are_scaled_and_features_that_are_far(run, request):
    _, log = run(api.Resources(), epochs=1)
    scaling, kind = log.data.scaling, request.node.callspec.params["run"]
    assert (scaling.mean is not None) is ("table" in kind or kind == "far")
    assert (scaling.label is None) is (kind in {"likes", "table of classes"})
    assert (30 in scaling.far) is (kind == "far")


def same_scaling(found, expected):
    """Assert that two Scalings are the same but for the last digits of means."""
    for name in ("scale", "mean", "label", "range"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) is (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_array_equal(found.far, expected.far)
