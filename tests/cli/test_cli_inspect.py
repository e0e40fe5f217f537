"""`fm inspect`, `fm --help` and `fm --version`: what they show, and how little they load for it."""

import json

import pytest
from shell import TABLE_OPTIONS, TRAIN_TABLE

import fmcli.main
from fmcli.commands.inspect import metric_lines
from fmcore import __version__
from fmcore.hyper.params import PARAMETERS

HEAVY = ("numpy", "scipy", "pyarrow", "google.protobuf", "safetensors", "tqdm", "torch", "sklearn")


def test_inspect_json_holds_everything(fm, world):
    found = json.loads(fm("inspect", world.classifier, "--json", "--top", 3).out)
    assert (found["feature_dim"], found["num_factors"]) == (20, 16)
    assert found["hyperparameters"]["predictor_type"] == "binary_classifier"
    assert found["tensors"]["factors"] == {"shape": [20, 16], "dtype": "float32", "bytes": 1280}
    assert [len(found[name]) for name in ("largest_weights", "largest_pairs")] == [3, 3]
    assert found["info"]["input"]["index_base"] == "0"
    assert "verified" not in found
    assert json.loads(fm("inspect", world.classifier, "--json", "--verify").out)["verified"] is True


def test_inspect_prints_lines(fm, world):
    lines = fm("inspect", world.regressor, "--verify", "--top", 2).out.splitlines()
    assert lines[:2] == ["regressor, feature_dim 20, num_factors 16", "checksum: correct"]
    at = lines.index("largest weights:")
    assert [line[:2] for line in lines[at + 1 : at + 3]] == ["  ", "  "]
    assert lines[at + 3] == "largest factor pairs:"
    assert len(lines) == at + 6
    assert any(line.startswith("epoch 3 of 3: train rmse ") and ", test rmse " in line for line in lines)


def test_inspect_names_features(fm):
    fm.write("train.csv", TRAIN_TABLE.replace("Rome", "Zürich"))
    fm(
        "train",
        "train.csv",
        *TABLE_OPTIONS,
        "--vocabulary",
        "v.tsv",
        "--predictor-type",
        "binary_classifier",
        "-o",
        "x.fm",
    )
    out = fm("inspect", "x.fm", "--vocabulary", "v.tsv", PYTHONUTF8="1").out
    assert "  city=Zürich\n" in out
    assert " x city=Zürich\n" in out
    assert fm("inspect", "x.fm", PYTHONUTF8="1").out == out  # as the model knows them
    fm("inspect", "x.fm", "--vocabulary", "v.tsv", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    printed = fm("inspect", "x.fm", "--vocabulary", "gone.tsv", code=3).err
    assert printed == "fm: gone.tsv: cannot be read: No such file or directory\n"


def test_inspect_finds_damage(fm, world):
    data = bytearray(world.classifier.read_bytes())
    data[-20] ^= 64
    fm.write("damaged.fm", bytes(data))
    assert fm("inspect", "damaged.fm", "--verify", code=4).err == (
        "fm: damaged.fm: damaged: the tensors do not match their checksum\n"
    )
    fm.write("cut.fm", bytes(data[:-1]))
    for command in (("inspect",), ("predict",), ("eval", "cut.fm")):
        assert fm(*command, "cut.fm", code=4).err.startswith("fm: cut.fm: cut off: ")


def test_version_is_printed(fm):
    out = fm("--version").out
    assert out.startswith(f"fm {__version__} (kernels ")
    assert out.endswith(")\n")
    printed = fm("--version", FMKIT_KERNELS="v9", code=2).err
    assert printed.startswith("fm: FMKIT_KERNELS is 'v9'; this processor runs ")


@pytest.mark.parametrize("command", fmcli.main.COMMANDS)
def test_every_command_explains_itself(fm, command):
    out = fm(command, "--help").out
    assert out == fm(command, "-h").out
    assert f"\n  fm {command} " in out  # an example stands on a line of its own
    if command == "train":
        assert all(
            f"--{name.replace('_', '-')}" in out for name, parameter in PARAMETERS.items() if not parameter.hidden
        )


def loaded_by(fm, *arguments):
    """Return the heavy packages that a command imports."""
    code = (
        "import sys\nfrom fmcli.main import exit_code\n"
        f"assert exit_code({list(map(str, arguments))!r}) == 0\nprint(sorted(sys.modules))"
    )
    modules = fm.python(code).out.splitlines()[-1]
    return {name for name in HEAVY if repr(name) in modules}


def test_light_commands_import_no_heavy_packages(fm, world):
    assert loaded_by(fm, "--help") == set()
    assert loaded_by(fm, "predict", world.classifier, world.test) == {"numpy"}
    fm("convert", world.test, "-o", "test.rec")
    assert loaded_by(fm, "eval", world.classifier, "test.rec") == {"numpy"}
    assert loaded_by(fm, "train", world.train, "--predictor-type", "regressor", "-o", "x.fm") == {"numpy"}


def test_metrics_are_those_of_the_epoch_whose_model_is_kept():
    records = [{"epoch": n, "train": {"rmse": 2.0 - n}, "test": {"rmse": float(n)}} for n in (1, 2, 3)]
    assert list(metric_lines({"epochs": records})) == ["epoch 3 of 3: train rmse -1, test rmse 3"]
    assert list(metric_lines({"epochs": records, "best_epoch": 1})) == [
        "epoch 1 of 3 (the best): train rmse 1, test rmse 1"
    ]
    assert list(metric_lines({})) == []
