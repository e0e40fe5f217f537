import json
from itertools import combinations

import numpy as np
import pytest
from encoders import feature_names
from hypothesis import given
from hypothesis import strategies as st

from fmcore.hyper.presets import resolve
from fmcore.model import inspection
from fmcore.model.inspection import largest_pairs, largest_weights, summary
from fmcore.model.model import Model


def model_of(linear, factors, **more):
    factors = np.array(factors, np.float32)
    h = resolve(predictor_type="regressor", num_factors=factors.shape[1])
    return Model(
        h, {"bias": np.array([0.5], np.float32), "linear": np.array(linear, np.float32), "factors": factors}, **more
    )


def random_model(d, k=4, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    return model_of(random.normal(size=d), random.normal(size=(d, k)) * random.random((d, 1)) ** spread)


def all_pairs(model, n):
    """Every pair by the slow way, best first."""
    v = model.factors.astype(np.float64)
    pairs = [([i, j], float(v[i] @ v[j])) for i, j in combinations(range(len(v)), 2)]
    return sorted(pairs, key=lambda pair: (-abs(pair[1]), pair[0]))[:n]


def test_the_summary_describes_a_model():
    state = {"adagrad.linear": np.ones(3, np.float32)}
    model = model_of([0, 3, -4], [[0, 0], [0, 0], [2, 0]], state=state, info={"metrics": {"test": {"rmse": 1.5}}})
    described = summary(model)
    assert json.loads(json.dumps(described)) == described
    assert (described["feature_dim"], described["num_factors"], described["bias"]) == (3, 2, 0.5)
    assert described["norms"] == {"bias": 0.5, "linear": 5.0, "factors": 2.0}
    assert described["non_zero"] == {"linear": 2, "factors": 1, "either": 2}
    assert described["info"] == {"metrics": {"test": {"rmse": 1.5}}}
    assert described["hyperparameters"]["predictor_type"] == "regressor"
    assert described["tensors"]["factors"] == {"shape": [3, 2], "dtype": "float32", "bytes": 24}
    assert list(described["tensors"]) == ["bias", "linear", "factors", "state.adagrad.linear"]


def test_the_summary_sums_over_several_blocks(monkeypatch):
    model = random_model(1000)
    whole = summary(model)
    monkeypatch.setattr(inspection, "BLOCK", 64)
    cut = summary(model)
    assert cut["non_zero"] == whole["non_zero"]
    assert cut["norms"] == pytest.approx(whole["norms"], rel=1e-12)
    assert cut["norms"]["factors"] == pytest.approx(np.linalg.norm(model.factors.astype(np.float64)))


def test_largest_weights_are_named_and_ties_go_by_feature():
    model = model_of([1, -3, 0, 3, 2, 2], np.zeros((6, 1)))
    assert largest_weights(model, 4, {1: "age=7", 4: "city=Rome"}) == [
        {"feature": 1, "name": "age=7", "weight": -3.0},
        {"feature": 3, "name": None, "weight": 3.0},
        {"feature": 4, "name": "city=Rome", "weight": 2.0},
        {"feature": 5, "name": None, "weight": 2.0},
    ]
    assert [w["feature"] for w in largest_weights(model, 100)] == [1, 3, 4, 5, 0]
    assert largest_weights(model, 0) == []
    assert largest_weights(model_of(np.zeros(3), np.zeros((3, 1))), 2) == []


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.integers(1, 50))
def test_largest_weights_are_those_of_a_full_sort(linear, n):
    known = sorted((i for i, w in enumerate(linear) if w), key=lambda i: (-abs(linear[i]), i))[:n]
    assert [w["feature"] for w in largest_weights(model_of(linear, np.zeros((len(linear), 1))), n)] == known


@pytest.mark.parametrize("spread", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("n", [1, 7, 500])
def test_largest_pairs_are_those_of_all_pairs(n, spread, monkeypatch):
    monkeypatch.setattr(inspection, "COLUMNS", 16)
    monkeypatch.setattr(inspection, "ROWS", 24)
    model = random_model(120, spread=spread)
    found = largest_pairs(model, n)
    assert found.exact
    for pair, (features, weight) in zip(found.pairs, all_pairs(model, n), strict=True):
        assert pair["features"] == features
        assert pair["weight"] == pytest.approx(weight, rel=1e-12)


def test_largest_pairs_look_only_at_features_long_enough(monkeypatch):
    monkeypatch.setattr(inspection, "MOST_PAIRS", 10 * 20_000)
    factors = np.full((20_000, 2), 0.01)
    factors[[5, 77, 19_000]] = [[3, 0], [3, 0], [0, -3]]
    found = largest_pairs(model_of(np.zeros(20_000), factors), 1)
    assert found.exact
    assert found.pairs == [{"features": [5, 77], "names": [None, None], "weight": 9.0}]


def test_a_search_for_pairs_that_ends_early_is_not_exact(monkeypatch):
    monkeypatch.setattr(inspection, "MOST_PAIRS", 200_000)
    model = random_model(3000, spread=0.0)
    found = largest_pairs(model, 50_000)
    assert not found.exact
    longest = np.argsort(-np.linalg.norm(model.factors.astype(np.float64), axis=1))[: found.searched]
    assert 256 <= found.searched < 3000
    assert {i for pair in found.pairs for i in pair["features"]} <= set(longest.tolist())


def test_pairs_are_named_and_zeros_left_out():
    model = model_of(np.zeros(4), [[1, 0], [0, 2], [0, 0], [-3, 0]])
    found = largest_pairs(model, 10, feature_names([("a", None), ("b", None), ("c", "x"), ("d", "y")]))
    assert found.pairs == [{"features": [0, 3], "names": ["a", "d=y"], "weight": -3.0}]
    assert found.exact
    assert largest_pairs(model, 0).pairs == []
    assert largest_pairs(model_of(np.zeros(9), np.zeros((9, 2))), 3).pairs == []
    assert largest_pairs(model_of([1], [[1, 1]]), 3).pairs == []


def test_values_of_one_column_are_no_pair():
    """A row has one of them: the pair never counts, however large it is."""
    entries = [("n", None), ("m", None), ("c", "x"), ("c", "y"), ("d", "z"), ("g", "a"), ("g", "b")]
    names = feature_names(entries, lists=["g"])
    model = model_of(np.zeros(8), [[8, 0], [7, 0], [9, 0], [9, 0], [6, 0], [5, 0], [4, 0], [1, 0]])
    found = largest_pairs(model, 100, names)
    pairs = {tuple(pair["features"]): pair["weight"] for pair in found.pairs}
    expected = all_pairs(model, 100)
    assert (2, 3) not in pairs
    assert found.pairs[0]["names"] == ["n", "c=x"]
    assert pairs == {tuple(features): weight for features, weight in expected if features != [2, 3]}
    assert largest_pairs(model, 1, names).pairs == [found.pairs[0]]


def test_features_without_a_column_pair_with_all_others():
    model = model_of(np.zeros(3), [[1, 0], [2, 0], [3, 0]])
    assert len(largest_pairs(model, 9, feature_names([])).pairs) == 3
