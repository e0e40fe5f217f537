"""Devices by name, the choice that auto makes and reports, and the results of `fm train --device`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from rows import DEVICES, block_of, random_rows
from shell import last_line

from fmcore.errors import UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.devices import AutoBackend, parse_device, resolve

CLASSIFIER = ("--predictor-type", "binary_classifier", "--pilot", "none", "--epochs", 2)
WITHOUT = """
import sys
from fmcli.main import run
{before}
sys.argv[1:] = {arguments}
try:
    run()
finally:
    print(sorted(m for m in sys.modules if m.split(".")[0] == "torch" and sys.modules[m])[:1])
"""


@pytest.fixture(scope="module")
def dense_rows():
    """Provide rows of libsvm text, each with all columns."""
    rng = np.random.default_rng(0)
    values, factors = rng.normal(size=(400, 12)), rng.normal(size=(12, 2))
    labels = ((values @ factors) ** 2).sum(1) > (values**2 @ factors**2).sum(1)
    return "".join(
        f"{int(label)} {' '.join(f'{i}:{v:.3f}' for i, v in enumerate(row))}\n"
        for label, row in zip(labels, values, strict=True)
    )


def python(fm, *arguments, code=0, before=""):
    """Run `fm` in a process that then prints whether PyTorch is imported; return its output."""
    return fm.python(WITHOUT.format(arguments=[str(a) for a in arguments], before=before), code=code)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cpu", "cpu"),
        ("auto", "auto"),
        ("cuda", "cuda"),
        ("cuda:3", "cuda:3"),
        ("cuda:0, cuda:1", "cuda:0,cuda:1"),
        ("torch:cpu", "torch:cpu"),
        ("torch:cpu,torch:cpu", "torch:cpu,torch:cpu"),
    ],
)
def test_names_of_devices_are_parsed(text, name):
    assert parse_device(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpu",
        "cuda:",
        "cuda:x",
        "cuda,cuda",
        "cpu,cuda:0",
        "cuda:0,torch:cpu",
        "CUDA",
        "cuda:0,",
        "torch",
        "auto,cpu",
    ],
)
def test_a_wrong_name_of_a_device_is_refused(text):
    with pytest.raises(UsageError, match=r"device is .*; expected cpu, cuda, cuda:N, .*auto"):
        parse_device(text)


def auto(refusal=None, gpu=True):
    """Return an AutoBackend with or without a GPU, which refuses the rows or not."""

    def made(name, threads):
        if name == "cuda" and not gpu:
            raise UsageError("there is no GPU; install one")
        return SimpleNamespace(
            name=f"{name} x{threads}",
            note=None,
            prepare=lambda block: (name, block),
            refusal=lambda *sizes: refusal and f"{refusal} {sizes}",
        )

    return AutoBackend(made, 2)


@pytest.mark.parametrize(
    ("given", "name", "note"),
    [
        ({}, "cuda", "device auto: cuda x2, a GPU that was found"),
        ({"gpu": False}, "cpu", "device auto: cpu x2, because there is no GPU"),
        ({"refusal": "the rows are"}, "cpu", "device auto: cpu x2, because the rows are (60, 30, {count})"),
    ],
)
def test_auto_notes_the_chosen_device_and_why(given, name, note):
    """It decides by the first block that it prepares before training, else by the sizes of a loaded Dataset."""
    block = block_of(random_rows(), 10)
    note = note.format(count=len(block.batch.indices))
    sizes = SimpleNamespace(rows=60, feature_dim=30, non_zeros=len(block.batch.indices))
    first, later = auto(**given), auto(**given)
    assert first.prepare(block) == (name, block)
    chosen = resolve(later, sizes)
    assert [resolve(first, sizes).note, chosen.note] == [note, note]
    assert later.prepare(block) == (name, block)
    assert resolve(chosen, None) is chosen


def test_a_backend_chosen_by_name_has_no_note():
    assert [backend_for(name).note for name in ("cpu", "reference", *DEVICES)] == [None] * (2 + len(DEVICES))


@pytest.mark.parametrize("device", DEVICES)
def test_fm_train_on_a_device_gives_the_model_of_the_processor(fm, dense_rows, device):
    """Neither scoring with that model nor training on the processor imports PyTorch."""
    fm.write("rows.svm", dense_rows)
    options = ("train", "rows.svm", "--test", "rows.svm", *CLASSIFIER)
    said = fm(*options, "-o", "device.fm", "--device", device, "--metrics-out", "device.jsonl").err
    assert device.partition(":")[0] in said.splitlines()[0]
    assert python(fm, *options, "-o", "cpu.fm", "--metrics-out", "cpu.jsonl").out == "[]\n"
    ours, theirs = ([json.loads(line) for line in fm.read(f"{name}.jsonl").splitlines()] for name in ("cpu", "device"))
    for one, other in zip(ours, theirs, strict=True):
        assert other["test"]["logloss"] == pytest.approx(one["test"]["logloss"], rel=1e-5)
    scores = []
    for name in ("cpu", "device"):
        lines = python(fm, "predict", f"{name}.fm", "rows.svm", "--quiet").out.splitlines()
        assert lines.pop() == "[]"
        scores.append(np.array(lines, float))
    np.testing.assert_allclose(*scores, rtol=1e-4)
    assert len(fm.read("device.fm")) == pytest.approx(len(fm.read("cpu.fm")), abs=200)


def test_warm_start_on_another_device_gives_the_model_of_one_training(fm, dense_rows):
    """By the older preset, to which rows that are trained again are no further evidence."""
    fm.write("rows.svm", dense_rows)
    options = (*CLASSIFIER[:-2], "--preset", "native-1", "--lr-schedule", "constant")
    fm("train", "rows.svm", *options, "--epochs", 2, "-o", "one.fm", "--device", "torch:cpu")
    fm("train", "rows.svm", "--init-model", "one.fm", "-o", "two.fm", "--epochs", 2)
    fm("train", "rows.svm", *options, "--epochs", 4, "-o", "whole.fm")
    one, other = (json.loads(fm("eval", f"{name}.fm", "rows.svm", "--json").out) for name in ("two", "whole"))
    assert one["logloss"] == pytest.approx(other["logloss"], rel=1e-5)


def test_fm_train_reports_the_device_that_auto_chose(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    said = fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "auto").err
    assert said.startswith("device auto: cuda:0 (" if len(DEVICES) > 1 else "device auto: cpu (")


def test_fm_train_on_a_device_refuses_sparse_rows_and_names_device_cpu(fm):
    fm.write("rows.svm", "".join(f"1 {n}:1 {n + 200}:2\n" for n in range(200)))
    said = fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "torch:cpu", code=2).err
    assert "the rows are sparse: 0.50% of 200 rows x 400 columns" in said
    assert "--device cpu" in last_line(said)
    assert fm.files() == ["rows.svm"]


def test_fm_train_without_pytorch_says_how_to_install_it(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    train = ("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device")
    said = python(fm, *train, "cuda", code=2, before="sys.modules['torch'] = None").err
    assert said == (
        "fm: PyTorch is not installed; this device needs it: pip install 'fmkit[gpu]', or use --device cpu\n"
    )
    said = python(fm, *train, "auto", before="sys.modules['torch'] = None").err
    assert said.startswith("device auto: cpu (")
    assert said.splitlines()[0].endswith(", because PyTorch is not installed")


@pytest.mark.skipif(len(DEVICES) > 1, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,cuda:1"])
def test_cuda_without_a_gpu_is_refused_before_rows_are_read(device):
    with pytest.raises(UsageError, match=r"there is no device cuda.*pip install 'fmkit\[gpu\]', or use --device cpu"):
        backend_for(device)


@pytest.mark.skipif(len(DEVICES) == 1, reason="there is no GPU")
def test_a_gpu_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match=r"there is no device cuda:99: PyTorch finds \d GPU"):
        backend_for("cuda:99")


def test_several_workers_with_device_auto_are_refused(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    said = fm(
        "train",
        "rows.svm",
        *CLASSIFIER,
        "-o",
        "x.fm",
        "--device",
        "auto",
        "--distributed",
        "local",
        "--workers",
        2,
        code=2,
    ).err
    assert last_line(said).startswith("fm: --device auto is not for several workers: those of --distributed local")


def test_an_unknown_device_is_a_usage_error(fm):
    assert (
        "Invalid value for '--device': device is 'gpu'; expected"
        in fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "gpu", code=2).err
    )
