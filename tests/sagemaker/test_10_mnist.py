"""SageMaker's contract, section 10: the published result on MNIST, exceeded with the same hyperparameters."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import sdk as official
from shell import ROOT, environment

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.io.recordio import codec as recordio

DATA = Path(os.environ.get("FMKIT_DATA", ROOT.parent / "shared" / "data")) / "mnist"
NOTEBOOK = {
    "predictor_type": "binary_classifier",
    "feature_dim": 784,
    "num_factors": 10,
    "mini_batch_size": 200,
    "epochs": 1,
}
PUBLISHED = {"accuracy": 0.9806, "f1": 0.907}


def prepare():
    """Return the script that makes the channels."""
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "examples" / "mnist" / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data():
    """Return the folder of the IDX files."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not here (set FMKIT_DATA to the folder of data sets)")
    return DATA


@pytest.fixture(scope="module")
def channels(data):
    """Provide the folder of both channels; 190 MB, removed after the tests."""
    with tempfile.TemporaryDirectory() as folder:
        prepare().main(data, folder)
        yield Path(folder)


def test_mnist_channels_are_those_of_the_notebook(channels):
    for channel, rows, zeros in (("train", 50_000, 4932), ("test", 10_000, 980)):
        with (channels / channel / "digits.pbr").open("rb") as file:
            decoded = [recordio.decode(chunk) for chunk in recordio.chunks(file)]
        batches = [one.batch for one in decoded]
        assert sum(map(len, batches)) == rows
        assert sum(int(batch.labels.sum()) for batch in batches) == zeros
        assert {one.facts for one in decoded} == {(("feature_dim", 784),)}
        assert {(float(batch.values.min()), float(batch.values.max())) for batch in batches} == {
            (float(np.float32(1) / 255), 1.0)
        }


def test_mnist_records_are_those_that_the_sdk_writes(channels, record_sdk):
    written = (channels / "test" / "digits.pbr").read_bytes()
    pixels = prepare().idx(DATA, "t10k-images-idx3-ubyte")[:50].reshape(50, 784).astype(np.float32) / 255
    labels = prepare().idx(DATA, "t10k-labels-idx1-ubyte")[:50] == 0
    expected = record_sdk(official.write_dense, pixels, labels.astype(np.float32))
    assert written.startswith(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_notebooks_hyperparameters_beat_the_published_accuracy(channels, tmp_path, seed):
    hyperparameters = resolve("sagemaker", **NOTEBOOK, seed=seed)
    model = api.train(api.Data([channels / "train"]), hyperparameters, tmp_path / "digits.fm")
    metrics = api.evaluate(model, api.Data([channels / "test"]))
    assert metrics["rows"] == 10_000
    assert metrics["accuracy"] > PUBLISHED["accuracy"]
    assert metrics["f1"] > PUBLISHED["f1"]


def test_the_mnist_example_runs_by_the_containers_entry_point(tmp_path, data):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("fm", "-m fmcli"), ("train", "-m fmcli.container.train"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["bash", ROOT / "examples" / "mnist" / "run.sh", data, folder],
            capture_output=True,
            text=True,
            check=False,
            env=environment(SEEDS="7", PATH=f"{programs}{os.pathsep}{os.environ['PATH']}"),
        )
    assert (done.returncode, done.stderr) == (0, "")
    _, published, notebook, native = (line.rsplit(maxsplit=3)[-2:] for line in done.stdout.splitlines())
    for one, before in ((notebook, published), (native, notebook)):
        assert all(float(figure) > float(mark) for figure, mark in zip(one, before, strict=True))
