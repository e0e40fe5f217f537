"""Properties that hold for any rows, whichever kernels train on them: only files go in and models and predictions come out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmcli.main import exit_code
from fmcore import api
from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.kernels.cpu import BUILDS
from fmcore.model import file as modelfile
from fmcore.optimizers import OPTIMIZERS

KINDS = ("regressor", "binary_classifier")
FACTORS = (1, 7, 8, 16, 64)
WHOLE = 10**6  # rows of a mini-batch that holds them all
ROUNDING = 1e-5  # of the largest number of a tensor; sums of some hundred products in float32
few = settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Rows:
    """Rows of libsvm text: (label, weight or None, [(index, value), ...]) each."""

    def __init__(self, rows, kind):
        self.rows, self.kind = rows, kind

    def text(self):
        """Return them as a file holds them; a float32 is written so that it reads back as the same."""
        return "".join(
            " ".join([label if weight is None else f"{label}:{weight}", *(f"{i}:{x}" for i, x in features)]) + "\n"
            for label, weight, features in self.rows
        )

    def changed(self, change):
        """Other rows: change(label, weight, features) gives each."""
        return Rows([change(*row) for row in self.rows], self.kind)


@st.composite
def rows(draw, least=1, most=60):
    """Few rows or many, with values or without, weighted or not; some are empty, some hold a feature twice."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, features = draw(st.integers(least, most)), draw(st.integers(1, 40))
    valued, weighted, twice = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    kind = draw(st.sampled_from(KINDS))
    sizes = rng.integers(0, min(8, features) + 1, count)
    return Rows(
        [one_row(rng, kind, features, int(size), valued=valued, weighted=weighted, twice=twice) for size in sizes], kind
    )


@st.composite
def smooth_rows(draw, *, twice=None):
    """Return rows whose gradients are not 0 but for rounding: adagrad and adam take a full step for the noise that is left.

    A row of one feature has no pair, so its factors' gradient is v x^2 - v x^2; values and labels that are whole
    numbers cancel in sums. Such rows are left out; empty ones are not.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weighted, twice = draw(st.booleans()), draw(st.booleans()) if twice is None else twice
    sizes = rng.integers(1, 9, draw(st.integers(1, 60)))
    return Rows(
        [
            one_row(rng, KINDS[0], 40, int(size) * (size > 1), valued=True, weighted=weighted, twice=twice)
            for size in sizes
        ],
        KINDS[0],
    )


def one_row(rng, kind, features, size, *, valued, weighted, twice):
    indices = rng.choice(features, size, replace=twice)
    values = rng.normal(0, 2, size).astype(np.float32) if valued else np.ones(size, int)
    label = int(rng.integers(0, 2)) if kind == KINDS[1] else np.float32(rng.normal())
    weight = np.float32(rng.uniform(0.1, 3)) if weighted else None
    return str(label), weight, list(zip(indices.tolist(), values.tolist(), strict=True))


class Room:
    """A folder to train and predict in."""

    def __init__(self, folder):
        self.folder, self.files = folder, 0

    def written(self, data):
        self.files += 1
        path = self.folder / f"{self.files}.svm"
        path.write_text(data.text())
        return path

    def train(self, data, *, threads=1, memory=1 << 30, backend=None, preset="native", **hyperparameters):
        """Return the path of a model trained on the rows."""
        chosen = {"epochs": 2, "feature_dim": 50, "factors_init_sigma": 0.1, "num_factors": 4, **hyperparameters}
        chosen = {"pilot": "none", "label_range": "none", **chosen}
        path = self.written(data).with_suffix(".fm")
        with pytest.MonkeyPatch.context() as patch:
            if backend is not None:
                patch.setattr("fmcore.solvers.descent.backend_of", lambda *_: backend)
            api.train(
                api.Data([path.with_suffix(".svm")]),
                resolve(preset, predictor_type=data.kind, **chosen),
                path,
                resources=api.Resources(threads, memory),
            )
        return path

    def predict(self, model, data):
        """Return float32 scores by the library."""
        loaded = api.load(model)
        out = self.folder / "out.txt"
        api.predict(loaded, api.Data([self.written(data)], api.read_options(loaded)), out)
        return np.array(out.read_text().split(), np.float32)


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def tensors(path):
    """Return what training changes: the weights and the optimizer's state, by name."""
    return api.load(path, verify=True).tensors()


def near(room, data, **hyperparameters):
    """Return a model whose steps do not magnify rounding: no gradient that is 0 but for it, and none divided by itself.

    The first gradient of a bias at the mean label is such; with an eps of 1e-8, the step of adam and adagrad for a
    gradient of 1e-9 is a large one, of either sign.
    """
    return room.train(data, bias_init_method="constant", bias_init_value=0.7, eps=1e-3, **hyperparameters)


def assert_near(one, other, tolerance=ROUNDING):
    """Check that tensors of two models differ by rounding alone."""
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    for name, array in one.items():
        size = max(np.abs(array).max(), 1e-3)
        assert np.abs(array.astype(float) - other[name]).max() <= tolerance * size, name


# ------------------------------------------------------------------------------------------------- equal to the byte
@pytest.mark.parametrize(("optimizer", "num_factors"), [*product(OPTIMIZERS, FACTORS)])
@few
@given(data=rows(100, 200))
def test_any_number_of_threads_gives_the_same_model_file(room, optimizer, num_factors, data):
    size = int(np.random.default_rng(len(data.rows)).choice([30, 100, WHOLE]))
    models = [
        room.train(data, threads=threads, optimizer=optimizer, num_factors=num_factors, mini_batch_size=size)
        for threads in (1, 2, 3)
    ]
    assert len({path.read_bytes() for path in models}) == 1
    assert len({room.predict(path, data).tobytes() for path in models}) == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=rows(most=150))
def test_streamed_rows_give_the_model_file_of_rows_in_memory(room, monkeypatch, optimizer, data):
    monkeypatch.setattr("fmcore.rows.blocks.BLOCK_ROWS", 40, raising=False)
    kept, streamed = (
        room.train(data, memory=memory, threads=2, optimizer=optimizer, mini_batch_size=7) for memory in (1 << 30, 1)
    )
    assert kept.read_bytes() == streamed.read_bytes()


@settings(few, max_examples=15)
@given(data=rows(), optimizer=st.sampled_from(list(OPTIMIZERS)))
def test_a_saved_and_loaded_model_gives_the_same_scores(room, data, optimizer):
    path = room.train(data, optimizer=optimizer)
    first = room.predict(path, data)
    for _ in range(2):
        modelfile.save(api.load(path), path)
        assert room.predict(path, data).tobytes() == first.tobytes()


@settings(few, max_examples=15)
@given(data=rows(), optimizer=st.sampled_from(list(OPTIMIZERS)), more=st.integers(1, 9))
def test_features_that_never_occur_change_nothing(room, data, optimizer, more):
    """Add features after the last one; their own factors stay as they began."""
    one, other = (
        tensors(room.train(data, optimizer=optimizer, feature_dim=d, feature_scaling="rms")) for d in (50, 50 + more)
    )
    for name, array in one.items():
        kept = other[name] if array.shape == other[name].shape else other[name][:50]
        assert (name, kept.tobytes()) == (name, array.tobytes())
    assert not other["linear"][50:].any()


@settings(few, max_examples=10)
@given(data=rows())
def test_the_command_predicts_what_the_library_does(room, data):
    path, out = room.train(data), room.folder / "command.txt"
    file = room.written(data)
    for to, column in (("text", 0), ("csv", 1)):
        assert exit_code(["predict", str(path), str(file), "--to", to, "-o", str(out), "--quiet"]) == 0
        lines = out.read_text().splitlines()[to == "csv" :]
        scores = np.array([line.split(",")[column] for line in lines], np.float32)
        assert scores.tobytes() == room.predict(path, data).tobytes()


# ------------------------------------------------------------------------------------------- equal, but for rounding
@settings(few, max_examples=15)
@given(data=smooth_rows())
def test_scores_are_the_formula(room, data):
    model = near(room, data)
    t = {name: array.astype(float) for name, array in tensors(model).items()}
    expected = []
    for _, _, features in data.rows:
        x = [(t["linear"][i], np.float32(v).astype(float), t["factors"][i]) for i, v in features]
        pairs = sum(x[a][1] * x[b][1] * (x[a][2] @ x[b][2]) for a in range(len(x)) for b in range(a))
        expected.append(t["bias"][0] + sum(w * v for w, v, _ in x) + pairs)
    np.testing.assert_allclose(room.predict(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=smooth_rows(), double=st.integers(0, 2**60))
def test_a_row_of_twice_the_weight_is_the_row_twice(room, optimizer, data, double):
    """In one mini-batch of all rows, whose number must not count. The sums differ in how they are added up."""
    data = data.changed(lambda label, weight, features: (label, weight or np.float32(1), features))
    chosen = [bool(double >> n % 60 & 1) for n in range(len(data.rows))]
    heavy = [
        (label, weight * 2 if twice else weight, features)
        for (label, weight, features), twice in zip(data.rows, chosen, strict=True)
    ]
    copies = [row for row, twice in zip(data.rows, chosen, strict=True) for row in [row] * (1 + twice)]
    assert_near(
        *(
            near(
                room,
                Rows(chosen, data.kind),
                preset="native-1",  # by the recipe weights' ratios count, and twice the rows are twice the evidence
                optimizer=optimizer,
                mini_batch_size=WHOLE,
                shuffle=False,
                rescale_grad=0.01,
            )
            for chosen in (heavy, copies)
        )
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=smooth_rows(), seed=st.integers(0, 99))
def test_the_order_of_rows_in_one_mini_batch_does_not_matter(room, optimizer, data, seed):
    mixed = Rows([data.rows[n] for n in np.random.default_rng(seed).permutation(len(data.rows))], data.kind)
    assert_near(*(near(room, part, optimizer=optimizer, mini_batch_size=WHOLE) for part in (data, mixed)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=smooth_rows())
def test_the_order_of_features_in_a_row_does_not_matter(room, optimizer, data):
    turned = data.changed(lambda label, weight, features: (label, weight, features[::-1]))
    one, other = (near(room, part, optimizer=optimizer, mini_batch_size=9) for part in (data, turned))
    assert_near(one, other)
    np.testing.assert_allclose(room.predict(one, data), room.predict(one, turned), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("optimizer", "num_factors"), [*product(OPTIMIZERS, (1, 7, 16))])
@few
@given(data=smooth_rows())
def test_all_builds_of_the_kernels_agree(room, optimizer, num_factors, data):
    models = []
    for build in BUILDS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FMKIT_KERNELS", build)
            try:
                models.append(near(room, data, optimizer=optimizer, num_factors=num_factors, mini_batch_size=9))
            except UsageError:  # this processor cannot run it
                continue
    for other in models[1:]:
        assert_near(models[0], other)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=smooth_rows(twice=False))
def test_the_kernels_train_as_the_formulas_do(room, optimizer, data):
    """Train on rows that hold no feature twice, which the reference sums up instead."""
    assert_near(
        *(
            near(room, data, backend=backend, optimizer=optimizer, mini_batch_size=9)
            for backend in (None, backend_for("reference"))
        )
    )
