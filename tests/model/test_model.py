import numpy as np
import pytest

from fmcore.errors import DivergedError, ResourceError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.model.model import BLOCK, Model, initial

# the first draws of seed 1
BIAS = [-0.9692594]
LINEAR = [0.8823879, -0.048470974]
FACTORS = [-0.14682937, -0.5336635, -0.92448294, -0.90595686]
NORMAL = [0.7110453, 0.80426216, -0.08934549, -0.08680443]


def start(**given):
    return initial(resolve(**{"predictor_type": "regressor", "feature_dim": 50, "num_factors": 4, **given}))


def test_initial_tensors_have_their_shapes_and_dtypes():
    model = start()
    assert (model.feature_dim, model.num_factors) == (50, 4)
    shapes = {name: (array.shape, array.dtype) for name, array in model.tensors().items()}
    assert shapes == {"bias": ((1,), np.float32), "linear": ((50,), np.float32), "factors": ((50, 4), np.float32)}
    assert not model.bias.any()
    assert not model.linear.any()


def test_initial_values_depend_on_the_seed_alone():
    one, same, other = start(seed=3), start(seed=3, epochs=99), start(seed=4)
    assert one.factors.tobytes() == same.factors.tobytes()
    assert one.factors.tobytes() != other.factors.tobytes()


def test_initial_values_of_a_seed_stay_the_same_numbers():
    """Compare with recorded numbers: a change would make one seed give another model than before."""
    methods = {f"{group}_init_method": "uniform" for group in ("bias", "linear", "factors")}
    scales = {f"{group}_init_scale": 1 for group in ("bias", "linear", "factors")}
    model = start(seed=1, **methods, **scales)
    np.testing.assert_array_equal(model.bias, np.array(BIAS, np.float32))
    np.testing.assert_array_equal(model.linear[:2], np.array(LINEAR, np.float32))
    np.testing.assert_array_equal(model.factors[0], np.array(FACTORS, np.float32))
    np.testing.assert_allclose(start(seed=1, factors_init_sigma=1).factors[0], np.array(NORMAL, np.float32), rtol=1e-6)


@pytest.mark.parametrize("method", ["normal", "uniform"])
def test_more_features_keep_the_first_rows(method):
    methods = {f"{group}_init_method": method for group in ("bias", "linear", "factors")}
    small, large = start(**methods), start(**methods, feature_dim=5000)
    assert small.bias.tobytes() == large.bias.tobytes()
    assert small.linear.tobytes() == large.linear[:50].tobytes()
    assert small.factors.tobytes() == large.factors[:50].tobytes()


def test_methods_draw_from_their_distribution():
    normal = start(feature_dim=50_000, factors_init_sigma=0.5).factors
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 0.5) < 0.01
    uniform = start(feature_dim=50_000, factors_init_method="uniform", factors_init_scale=0.5).factors
    assert -0.5 <= uniform.min() < -0.499
    assert 0.499 < uniform.max() <= 0.5
    constant = start(linear_init_value=0.75, factors_init_method="constant", factors_init_value=-2)
    assert (constant.linear == 0.75).all()
    assert (constant.factors == -2).all()


def test_a_group_draws_from_a_stream_of_its_own():
    model = start(linear_init_method="normal", linear_init_sigma=1, factors_init_sigma=1)
    assert model.linear[:4].tolist() != model.factors[0].tolist()


def test_a_model_without_a_number_of_features_is_refused():
    with pytest.raises(UsageError, match="feature_dim is not known"):
        start(feature_dim=None)


def test_a_model_beyond_memory_is_refused_with_the_bytes_it_needs():
    with pytest.raises(ResourceError, match=r"needs 562,958,543,093,756 bytes"):
        start(feature_dim=2**31 - 1, num_factors=2**16)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found_and_placed(value):
    model = start(feature_dim=BLOCK // 4 + 9)
    model.state["adagrad.linear"] = np.ones(model.feature_dim, np.float32)
    model.check_finite()
    model.factors[BLOCK // 4 + 3, 2] = value
    with pytest.raises(DivergedError, match=rf"^factors\[{BLOCK // 4 + 3}, 2\] is {value}"):
        model.check_finite()
    model.factors[:] = 0
    model.state["adagrad.linear"][7] = value
    with pytest.raises(DivergedError, match=rf"^state\.adagrad\.linear\[7\] is {value}"):
        model.check_finite()


@pytest.mark.parametrize(
    "changed",
    [
        {"bias": np.zeros(2, np.float32)},
        {"linear": np.zeros(3)},
        {"linear": np.zeros((3, 1), np.float32)},
        {"factors": np.zeros((4, 2), np.float32)},
        {"factors": np.zeros((3, 3), np.float32)},
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(changed):
    arrays = {
        "bias": np.zeros(1, np.float32),
        "linear": np.zeros(3, np.float32),
        "factors": np.zeros((3, 2), np.float32),
    }
    h = resolve(predictor_type="regressor", num_factors=2)
    Model(h, arrays)
    with pytest.raises(ValueError, match="a model needs float32"):
        Model(h, {**arrays, **changed})
