"""Where to train: devices by name, the choice that auto makes and says, and what `fm train --device` leaves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from rows import DEVICES, block_of, random_rows
from shell import last_line

from fmcore.errors import UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.devices import AutoBackend, parse_device, settled

CLASSIFIER = ("--predictor-type", "binary_classifier", "--epochs", 2)
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
    """Rows of libsvm text, all columns in each."""
    rng = np.random.default_rng(0)
    values, factors = rng.normal(size=(400, 12)), rng.normal(size=(12, 2))
    labels = ((values @ factors) ** 2).sum(1) > (values**2 @ factors**2).sum(1)
    return "".join(
        f"{int(label)} {' '.join(f'{i}:{v:.3f}' for i, v in enumerate(row))}\n"
        for label, row in zip(labels, values, strict=True)
    )


def python(fm, *arguments, code=0, before=""):
    """What `fm` says in a process that then prints whether PyTorch is imported."""
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
def test_names(text, name):
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
def test_what_is_no_name(text):
    with pytest.raises(UsageError, match=r"device is .*; expected cpu, cuda, cuda:N, .*auto"):
        parse_device(text)


def auto(refusal=None, gpu=True):
    """An AutoBackend where a GPU is there or not, and has something against the rows or not."""

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
def test_auto_says_what_it_takes_and_why(given, name, note):
    """By the first block where it is prepared before training begins, else by the sizes of a loaded data set."""
    block = block_of(random_rows(), 10)
    note = note.format(count=len(block.batch.indices))
    sizes = SimpleNamespace(rows=60, feature_dim=30, non_zeros=len(block.batch.indices))
    first, later = auto(**given), auto(**given)
    assert first.prepare(block) == (name, block)
    chosen = settled(later, sizes)
    assert [settled(first, sizes).note, chosen.note] == [note, note]
    assert later.prepare(block) == (name, block)
    assert settled(chosen, None) is chosen


def test_a_backend_that_was_named_has_nothing_to_say():
    assert [backend_for(name).note for name in ("cpu", "reference", *DEVICES)] == [None] * (2 + len(DEVICES))


@pytest.mark.parametrize("device", DEVICES)
def test_the_command_trains_the_model_that_it_trains_on_the_processor(fm, dense_rows, device):
    """And scores of it need no PyTorch, nor does training on the processor."""
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


def test_training_goes_on_with_another_device(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    fm("train", "rows.svm", *CLASSIFIER, "-o", "one.fm", "--device", "torch:cpu", "--lr-schedule", "constant")
    fm("train", "rows.svm", "--init-model", "one.fm", "-o", "two.fm", "--epochs", 2)
    fm("train", "rows.svm", *CLASSIFIER[:2], "--epochs", 4, "-o", "whole.fm", "--lr-schedule", "constant")
    one, other = (json.loads(fm("eval", f"{name}.fm", "rows.svm", "--json").out) for name in ("two", "whole"))
    assert one["logloss"] == pytest.approx(other["logloss"], rel=1e-5)


def test_auto_on_the_command_line_says_what_it_took(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    said = fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "auto").err
    assert said.startswith("device auto: cuda:0 (" if len(DEVICES) > 1 else "device auto: cpu (")


def test_sparse_rows_are_refused_with_the_way_out(fm):
    fm.write("rows.svm", "".join(f"1 {n}:1 {n + 200}:2\n" for n in range(200)))
    said = fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "torch:cpu", code=2).err
    assert "the rows are sparse: 0.50% of 200 rows x 400 columns" in said
    assert "--device cpu" in last_line(said)
    assert fm.files() == ["rows.svm"]


def test_without_pytorch_the_command_says_how_to_get_it(fm, dense_rows):
    fm.write("rows.svm", dense_rows)
    train = ("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device")
    said = python(fm, *train, "cuda", code=2, before="sys.modules['torch'] = None").err
    assert said == (
        "fm: PyTorch is not installed; this device takes it: pip install 'fmkit[gpu]', or take --device cpu\n"
    )
    said = python(fm, *train, "auto", before="sys.modules['torch'] = None").err
    assert said.startswith("device auto: cpu (")
    assert said.splitlines()[0].endswith(", because PyTorch is not installed")


@pytest.mark.skipif(len(DEVICES) > 1, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,cuda:1"])
def test_without_a_gpu_it_is_said_before_rows_are_read(device):
    with pytest.raises(UsageError, match=r"there is no device cuda.*pip install 'fmkit\[gpu\]', or take --device cpu"):
        backend_for(device)


@pytest.mark.skipif(len(DEVICES) == 1, reason="there is no GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UsageError, match=r"there is no device cuda:99: PyTorch finds \d GPU"):
        backend_for("cuda:99")


def test_several_workers_train_on_the_processor(fm, dense_rows):
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


def test_an_unknown_device_is_a_wrong_usage(fm):
    assert (
        "Invalid value for '--device': device is 'gpu'; expected"
        in fm("train", "rows.svm", *CLASSIFIER, "-o", "x.fm", "--device", "gpu", code=2).err
    )
