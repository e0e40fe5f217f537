"""What trainings by the rules of the first version give: the same bytes as the program gave that had no other.

The numbers were made by the last commit before penalties by rows, "Do no work where nobody uses its result", which
called the preset native-1 native. Bytes are compared where they depend on no processor: regressors by the kernels that
every x86-64 has, and without the products of matrices that are BLAS' own. Others are compared by their sums.
"""

import hashlib
import platform
import random

import numpy as np
import pytest
from shell import ROOT, libsvm_rows
from test_cli_older import TRAIN

from fmcore import api
from fmcore.model import file as modelfile
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE

GOLDEN = ROOT / "tests" / "golden"
TEAM = ("--lr-schedule", "linear", "--distributed", "local", "--workers", 3)
TRAINED = {  # (rows, preset, more options) -> (digest of the tensors or None, bias, sums of absolute weights and factors)
    ("ratings", "sagemaker", ()): ("1ca9040e4400225136fa90850bada941", -0.719204, 0.204706, 1.356953),
    ("ratings", "sagemaker", TEAM): ("1f58b90f67d3a09caeea597138a9cebe", -0.318782, 0.185836, 1.087864),
    ("table", "sagemaker", ()): ("c54f937ab63c8eeb93d564ca9041daed", 0.321089, 0.035439, 0.174380),
    ("classes", "sagemaker", ()): (None, -0.636374, 0.207255, 1.337844),
    ("ratings", "native-1", ()): ("57fb929d166e4de0892408cc03e57478", -0.700706, 6.304704, 20.564760),
    ("ratings", "native-1", TEAM): ("5dce2741b1b79fd9b990e2ef2cbce313", -0.731653, 6.733804, 19.421005),
    ("table", "native-1", ()): ("abca05bf35787a85b0d5dbe997b624ff", 4.821956, 0.865567, 7.557820),
    ("classes", "native-1", ()): (None, -0.750671, 6.315118, 35.025429),
}
KINDS = """\
id,age,pay,when,city,tags,note,y
1,2,30,2024-01-02,Zürich,a|b,x,yes
2,,50,2024-05-03,Bern,b,x,no
3,4,10,2023-01-02,"Oslo, NO",a,x,yes
"""
FIVE = "1 0:1 2:2\n0 1:1 4:1\n1 0:2 2:1\n0 2:3 6:1\n1 4:1 1:2\n0 4:1\n"  # and two more
CONTINUED = {  # model -> (rows, as above)
    "table-v1": (TRAIN, 0.056137, 1.704616, 4.319628),
    "hashed-v1": (TRAIN, 0.052609, 1.202254, 3.088796),
    "model-v2": (KINDS, -0.483550, 5.217242, 19.494711),
}


def table(rows):
    """Return rows of CSV, two of whose three numeric columns have large or small values."""
    rng, lines = random.Random(1), ["a,b,c,y\n"]
    for _ in range(rows):
        a, b, c = rng.gauss(0, 300), rng.gauss(5, 1), rng.gauss(0, 0.05)
        lines.append(f"{a:.2f},{b:.2f},{c:.3f},{a / 300 + b - 20 * c + rng.gauss(0, 0.1):.2f}\n")
    return "".join(lines)


def digest_of(model):
    """Return a digest of all of a model's tensors, its optimizer's state among them."""
    digest = hashlib.sha256()
    for name, array in sorted(model.tensors().items()):
        digest.update(name.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def sums_of(model):
    return model.bias[0], np.abs(model.linear).sum(), np.abs(model.factors).sum()


@pytest.mark.parametrize(("rows", "preset", "options"), TRAINED)
def test_older_presets_train_what_they_did(fm, rows, preset, options):
    path, kind = {
        "ratings": (fm.write("ratings.svm", libsvm_rows(2500, 3, classes=False)), "regressor"),
        "classes": (fm.write("classes.svm", libsvm_rows(2500, 1)), "binary_classifier"),
        "table": (fm.write("table.csv", table(800)), "regressor"),
    }[rows]
    columns = ("--label-column", "y") if rows == "table" else ()
    given = ("--preset", preset, "--predictor-type", kind, "--epochs", 3, *columns, *options)
    fm("train", path, *given, "-o", "m.fm", "-q", FMKIT_KERNELS="baseline")
    model = modelfile.load(fm.folder / "m.fm")
    digest, *sums = TRAINED[rows, preset, options]
    assert sums_of(model) == pytest.approx(sums, rel=1e-4)
    if digest and platform.machine().lower() in {"x86_64", "amd64"}:
        assert digest_of(model) == digest


def keeps_its_rule(before, after, but=()):
    """Assert that a model was trained on by the first version's rule and the hyperparameters that it had."""
    one, other = ({**each.hyperparameters.as_dict(), "feature_dim": None} for each in (before, after))
    assert {name: one[name] for name in one if name not in but} == {
        name: other[name] for name in one if name not in but
    }
    h = after.hyperparameters
    assert (h.penalty, h.factors_variance, h.label_scaling, h.label_range, h.pilot) == (
        "batch",
        0,
        "none",
        "none",
        "none",
    )
    assert h.feature_scaling == before.hyperparameters.feature_scaling == "rms"
    assert not {ROWS, TOTALS, VARIANCE, "feature_mean", "label_scale"} & after.state.keys()
    assert not {"pilot", "label_range"} & after.info.keys()


@pytest.mark.parametrize("name", CONTINUED)
def test_a_warm_start_keeps_the_rule_of_an_older_model(fm, name):
    rows, *sums = CONTINUED[name]
    fm.write("more.csv", rows)
    fm.write("v.tsv", (GOLDEN / "table-v1.tsv").read_bytes())
    path = GOLDEN / f"{name}.fm"
    fm("train", "more.csv", "--init-model", path, "--early-stopping-patience", "none", "-o", "m.fm", "-q")
    before, after = modelfile.load(path), modelfile.load(fm.folder / "m.fm")
    keeps_its_rule(before, after, but=("early_stopping_patience",))
    assert sums_of(after) == pytest.approx(sums, rel=1e-4)


def test_a_warm_start_keeps_the_rule_of_the_first_models(fm):
    before = modelfile.load(GOLDEN / "model-v1.fm")
    before.info = {}  # which in this file is none that training writes
    given = {"early_stopping_patience": None}
    h, _ = api.continued(before, given, {})
    after = api.train(api.Data([fm.write("five.svm", FIVE)]), h, fm.folder / "m.fm", initial_model=before)
    keeps_its_rule(before, after, but=given)
    assert after.bias[0] == pytest.approx(-0.34236628, rel=1e-4)
    expected = [0.3138938, 0.67194849, -2.1772215, 3e38, -0.66844088, 0.0238775, -0.01510236]
    np.testing.assert_allclose(after.linear, expected, rtol=1e-4)


def test_a_warm_start_keeps_the_rule_of_the_preset(fm):
    """A model of the preset native is trained further by penalties of rows; one of native-1 or sagemaker is not."""
    fm.write("a.svm", libsvm_rows(300, 1, classes=False))
    fm.write("b.svm", libsvm_rows(200, 2, classes=False))
    for preset, penalty in (("native", "rows"), ("native-1", "batch"), ("sagemaker", "batch")):
        fm("train", "a.svm", "--preset", preset, "--predictor-type", "regressor", "-o", "a.fm", "-q")
        fm("train", "b.svm", "--init-model", "a.fm", "-o", "b.fm", "-q")
        before, after = (modelfile.load(fm.folder / name) for name in ("a.fm", "b.fm"))
        assert after.hyperparameters == before.hyperparameters
        assert after.hyperparameters.penalty == penalty
        assert (ROWS in after.state) is (penalty == "rows")
        if penalty == "rows":
            assert after.state[TOTALS].tolist() == [500, 1]
