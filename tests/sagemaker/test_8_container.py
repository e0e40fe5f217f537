"""SageMaker's contract, section 8: the container's entry point `train`, over a tree like /opt/ml."""

import json
import random
import re
import signal
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from jobs import BASICS, CLASSES, FEATURES, TRAIN, ContainerJob, fed, read_until, stopped
from shell import LIMIT, last_line, libsvm_rows, wait_for

import fmcli.container.train
from fmcli.container.tree import Tree
from fmcli.stop import Stop
from fmcore import api

FOREVER = {"epochs": 10**9, "mini_batch_size": 10}
RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture
def job(tmp_path):
    """Return a job with its rows in File mode."""
    job = ContainerJob(tmp_path)
    job.write("input/data/train/rows.svm", CLASSES)
    return job


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Return the rows of `job` as recordIO-protobuf."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "rows.svm").write_text(CLASSES)
    api.convert(api.Data([folder / "rows.svm"]), folder / "rows.pbr", to="recordio", feature_dim=FEATURES)
    return (folder / "rows.pbr").read_bytes()


def same_weights(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("bias", "linear", "factors"))


# ---------------------------------------------------------------------------------------------------- what it does
def test_a_job_with_files_leaves_model_and_metrics(job):
    job.write("input/data/test/rows.svm", libsvm_rows(100, 2))
    job.config(
        "hyperparameters",
        {
            **{name: str(value) for name, value in BASICS.items()},
            "epochs": "2",
            "_kvstore": "auto",
            "_num_gpus": "auto",
        },
    )
    job.config("resourceconfig", {"current_host": "algo-7", "hosts": ["algo-7"], "network_interface_name": "eth1"})
    job.config(
        "inputdataconfig",
        {
            name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            for name in ("train", "test")
        },
    )
    job.write("output/failure", "AlgorithmError: of an earlier run")
    said = job.train().err
    model = job.model()
    assert (model.feature_dim, model.num_factors, model.hyperparameters.optimizer) == (FEATURES, 4, "adam")
    assert "warning: hyperparameters that begin with _ are ignored: _kvstore, _num_gpus\n" in said
    assert re.search(r"#quality_metric: host=algo-7, test binary_classification_accuracy <score>=(\S+)", said)
    assert re.search(r"#progress_metric: host=algo-7, completed 100.0 %", said)
    lines = [json.loads(line) for line in (job.root / "output/data/metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], set(line)) for line in lines] == [(n, {"epoch", "train", "test"}) for n in (1, 2)]
    assert job.failure() is None
    assert sorted(path.name for path in job.root.iterdir()) == ["input", "model", "output"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("rows.svm", None, "text/libsvm"),
        ("rows.svm", None, "text/x-libsvm"),
        ("rows.pbr", "records", RECORDIO),
        ("rows.pbr", "records", f"{RECORDIO.upper()}; charset=none"),
        ("rows.pbr", "records", None),
        ("rows.csv", "table", "text/csv"),
        ("rows.csv", "table", "text/csv;label_size=1"),
        ("rows.csv", "table", None),
    ],
)
def test_channels_of_all_content_types_give_the_same_model(job, records, name, content, kind):
    job.train()
    expected = job.model()
    (job.root / "input/data/train/rows.svm").unlink()
    table = "".join(
        ",".join(
            [
                line.split()[0],
                *(dict(pair.split(":") for pair in line.split()[1:]).get(str(n), "0") for n in range(FEATURES)),
            ]
        )
        + "\n"
        for line in CLASSES.splitlines()
    )
    job.write(f"input/data/train/{name}", {"records": records, "table": table, None: CLASSES}[content])
    job.config("inputdataconfig", {"train": {} if kind is None else {"ContentType": kind}})
    job.train()
    assert same_weights(job.model(), expected)


@pytest.mark.parametrize("configured", [True, False])
def test_a_job_with_pipes_leaves_the_model_of_files(job, records, tmp_path_factory, configured):
    hyperparameters = {"epochs": 3, "mini_batch_size": 50}
    job.config("hyperparameters", {**BASICS, **hyperparameters})
    job.train()
    piped = ContainerJob(tmp_path_factory.mktemp("piped"), **hyperparameters)
    entry = {"TrainingInputMode": "Pipe", "ContentType": RECORDIO, "RecordWrapperType": "None"}
    if configured:
        piped.config("inputdataconfig", {"train": entry, "test": entry})
    feeders = [
        fed(*(piped.pipe(f"train_{epoch}") for epoch in range(3)), data=records),
        fed(piped.pipe("test_0"), data=records),
    ]
    said = piped.train().err
    assert same_weights(piped.model(), job.model())
    assert "test binary_classification_accuracy <score>=" in said
    for feeder in feeders:
        feeder.join(LIMIT)
        assert not feeder.is_alive()


def test_a_job_accepts_hyperparameters_of_fm_train_and_its_preset(job):
    job.config("hyperparameters", {"predictor_type": "binary_classifier", "preset": "native", "seed": "7"})
    job.train()
    h = job.model().hyperparameters
    assert (h.seed, h.optimizer, h.num_factors, h.feature_dim) == (7, "adagrad", 16, FEATURES)


def test_the_root_of_a_job_can_be_an_option(job, tmp_path_factory):
    done = job.train(command=[*TRAIN, "--root", str(job.root)], FMKIT_ML_ROOT=str(tmp_path_factory.mktemp("other")))
    assert (done.out, job.model().feature_dim) == ("", FEATURES)
    said = job.train(command=[*TRAIN, "--help"]).out
    assert "FMKIT_ML_ROOT" in said
    assert "/opt/ml" in said


@pytest.mark.parametrize("name", ["train", "serve"])
def test_the_console_scripts_train_and_serve_run(job, name):
    """What a script of that name does; the file itself may be another package's, as Ray has a `serve`, too."""
    script = next(
        (script for script in entry_points(group="console_scripts", name=name) if script.value.startswith("fmcli")),
        None,
    )
    if script is None:
        pytest.skip("the package is not installed")
    module, function = script.value.split(":")
    command = [sys.executable, "-c", f"from {module} import {function}; {function}()"]
    assert "/opt/ml" in job.train(command=[*command, "--help"]).out
    if name == "train":
        job.train(command=command)
        assert job.model().feature_dim == FEATURES


# -------------------------------------------------------------------------------------------------- how it fails
def strings(**changes):
    """Return hyperparameters.json: the basics with changes; names changed to None are left out."""
    return {name: str(value) for name, value in {**BASICS, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "content", "code", "sentence"),
    [
        ("hyperparameters", None, 3, "hyperparameters.json: no such file"),
        ("hyperparameters", "{", 3, "hyperparameters.json: "),
        ("hyperparameters", "[]", 3, "hyperparameters.json: "),
        ("hyperparameters", strings(feature_dim=None), 2, "'feature_dim' is a required property"),
        ("hyperparameters", strings(num_factors=None), 2, "'num_factors' is a required property"),
        ("hyperparameters", strings(predictor_type=None), 2, "'predictor_type' is a required property"),
        (
            "hyperparameters",
            strings(predictor_type=None, preset="native"),
            2,
            "'predictor_type' is a required property",
        ),
        ("hyperparameters", strings(preset="both"), 2, "preset is 'both'; expected native or native-1 or sagemaker"),
        (
            "hyperparameters",
            strings(mini_batch_siz=3),
            2,
            "Additional properties are not allowed ('mini_batch_siz' was unexpected)",
        ),
        ("hyperparameters", strings(epochs="many"), 2, "epochs is 'many'; expected an integer of at least 1"),
        ("hyperparameters", strings(feature_dim=5), 3, "rows.svm, line "),
        (
            "hyperparameters",
            strings(early_stopping_patience=1),
            2,
            "early_stopping_patience needs test rows",
        ),
        ("inputdataconfig", "nothing", 3, "inputdataconfig.json: not valid JSON ("),
        ("inputdataconfig", "[" * 10**5, 3, "inputdataconfig.json: not valid JSON ("),
        ("inputdataconfig", "3", 3, "inputdataconfig.json: expected a JSON object"),
        ("inputdataconfig", {}, 2, "there is no channel 'train' (found none)"),
        ("inputdataconfig", {"test": {}}, 2, "there is no channel 'train' (found test)"),
        (
            "inputdataconfig",
            {"train": {}, "validation": {}},
            2,
            "unknown channel 'validation'; expected train, and test",
        ),
        ("inputdataconfig", {"train": "File"}, 3, "inputdataconfig.json, field train: is a string; expected an object"),
        (
            "inputdataconfig",
            {"train": {"TrainingInputMode": "Tape"}},
            3,
            "inputdataconfig.json, channel train, field TrainingInputMode: is 'Tape'; expected File, FastFile, Pipe",
        ),
        (
            "inputdataconfig",
            {"train": {"TrainingInputMode": None}},
            3,
            "inputdataconfig.json, channel train, field TrainingInputMode: is null; expected a string",
        ),
        (
            "inputdataconfig",
            {"train": {"ContentType": "image/png"}},
            2,
            "the channel 'train' has the ContentType 'image/png'",
        ),
        (
            "inputdataconfig",
            {"train": {"ContentType": "text/csv;label_size=2"}},
            2,
            "the channel 'train' has the ContentType 'text/csv;label_size=2'; expected label_size=1",
        ),
        ("inputdataconfig", {"train": {"ContentType": RECORDIO}}, 3, "rows.svm, record 1, byte 0: "),
        ("inputdataconfig", {"train": {}, "test": {}}, 3, "input/data/test: no such file"),
        (
            "inputdataconfig",
            {"train": {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO"}},
            2,
            "the channel 'train' has the RecordWrapperType RecordIO",
        ),
        (
            "resourceconfig",
            {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]},
            2,
            "hosts are algo-1, algo-2, but one machine trains the whole model; set the number of instances to 1",
        ),
        (
            "resourceconfig",
            {"current_host": "algo-1"},
            3,
            "resourceconfig.json, field hosts: is missing; expected a list",
        ),
        (
            "resourceconfig",
            {"current_host": {}, "hosts": ["algo-1"]},
            3,
            "resourceconfig.json, field current_host: is an object; expected a string",
        ),
    ],
)
def test_a_bad_job_fails_with_a_client_error(job, name, content, code, sentence):
    if content is None:
        (job.root / f"input/config/{name}.json").unlink()
    else:
        job.config(name, content)
    said = last_line(job.train(code=code).err)
    assert said.startswith("ClientError: ")
    assert sentence in said
    assert job.failure() == said
    assert not job.model_file.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no channel 'train' (found none)"),
        ("", "no rows to train on"),
        ("1 0:nan\n", "rows.svm, line 1, "),
        ("2 0:1\n", "rows.svm, line 1"),
    ],
)
def test_bad_rows_fail_a_job_with_a_client_error(tmp_path, content, sentence):
    job = ContainerJob(tmp_path)
    if content is not None:
        job.write("input/data/train/rows.svm", content)
    said = last_line(job.train(code=2 if content is None else 3).err)
    assert sentence in said
    assert job.failure() == said


def test_an_unknown_channel_without_configuration_is_refused(job):
    job.write("input/data/train/rows.svm", CLASSES)
    job.write("input/data/validation/rows.svm", CLASSES)
    assert job.train(code=2).err.startswith("ClientError: unknown channel 'validation'; expected train")


def test_divergence_fails_a_job_with_an_algorithm_error(job):
    job.config("hyperparameters", strings(predictor_type="regressor", optimizer="sgd", linear_lr="1e30", epochs=50))
    said = last_line(job.train(code=5).err)
    assert said.startswith("AlgorithmError: the loss is not finite in epoch ")
    assert job.failure() == said
    assert not job.model_file.exists()


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyError("of a bug"), 1, "AlgorithmError: unexpected KeyError: 'of a bug' (the log shows where)"),
        (MemoryError(), 6, "AlgorithmError: out of memory; use an instance with more memory"),
        (OSError(28, "No space left"), 6, "AlgorithmError: the output cannot be written: the disk is full"),
    ],
)
def test_an_unexpected_exception_fails_a_job_with_an_algorithm_error(job, monkeypatch, capsys, error, code, sentence):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(api, "train", fail)
    assert fmcli.container.train.job(Tree(job.root), Stop()) == code
    said = capsys.readouterr().err
    assert last_line(said).startswith(sentence)
    assert ("Traceback" in said) == (code == 1)
    assert job.failure() == last_line(said)


def test_a_long_failure_reason_is_cut_to_the_length_that_is_shown(job):
    job.config("hyperparameters", strings(**{f"unknown_{n}": 1 for n in range(200)}))
    said = last_line(job.train(code=2).err)
    assert len(said) > 1024
    assert job.failure() == f"{said[:1021]}..."


@pytest.mark.parametrize("place", ["output/failure/in_the_way", "output"])
def test_the_exit_code_is_kept_where_no_failure_file_can_be_written(tmp_path, place):
    job = ContainerJob(tmp_path, epochs="many")
    if place == "output":
        (tmp_path / "output/data").rmdir()
        (tmp_path / "output").rmdir()
    job.write(place, "")
    assert "ClientError: " in job.train(code=2).err


# ------------------------------------------------------------------------------------------------ how it is stopped
@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")])
@pytest.mark.parametrize("again", [False, True])
def test_a_signal_publishes_the_model_trained_so_far(job, number, code, name, again):
    job.config("hyperparameters", {**BASICS, **FOREVER})
    process = job.start()
    read_until(process, "#progress_metric")
    found, said = stopped(process, number, again=again)
    assert (found, last_line(said)) == (code, f"stopped by {name}; the model trained so far is in {job.model_file}")
    assert job.model().info["stopped"]["epoch"] > 1
    assert (job.root / "output/data/metrics.jsonl").stat().st_size
    assert job.failure() is None


def test_a_signal_during_the_wait_for_the_next_pipe_publishes_the_model(tmp_path, records):
    job = ContainerJob(tmp_path, epochs=5)
    fed(job.pipe("train_0"), data=records)
    process = job.start()
    read_until(process, "#progress_metric")
    found, said = stopped(process)
    assert (found, last_line(said)) == (143, f"stopped by SIGTERM; the model trained so far is in {job.model_file}")
    assert len(job.model().info["epochs"]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="where else to see what a process has open?")
def test_a_signal_during_the_wait_for_test_rows_publishes_the_model(tmp_path, records):
    job = ContainerJob(tmp_path)
    job.pipe("test_0")
    fed(job.pipe("train_0"), data=records)
    process = job.start()
    read_until(process, "batch=0 train binary_f_1")
    wait_for(lambda: "test_0" in {Path(f.readlink()).name for f in Path(f"/proc/{process.pid}/fd").iterdir()})
    found, said = stopped(process)
    assert (found, last_line(said)) == (143, f"stopped by SIGTERM; the model trained so far is in {job.model_file}")
    assert [set(record) for record in job.model().info["epochs"]] == [{"epoch", "train"}]


def test_a_signal_before_training_publishes_no_model(tmp_path):
    job = ContainerJob(tmp_path)
    job.pipe("train_0")
    process = job.start()
    wait_for(lambda: list(tmp_path.glob("model/.*.tmp")))  # from here on it waits for the pipe's writer
    found, said = stopped(process, again=True)
    assert (found, last_line(said)) == (
        143,
        "stopped by SIGTERM before anything was trained: no model is published",
    )
    assert (list((tmp_path / "model").iterdir()), job.failure()) == ([], None)


# ------------------------------------------------------------------------------------------------ how it goes on
def test_a_killed_job_resumes_to_the_same_model(job, tmp_path_factory):
    hyperparameters = {"epochs": 300, "mini_batch_size": 20, "seed": 3}
    job.config("hyperparameters", {**BASICS, **hyperparameters})
    job.train()
    killed = ContainerJob(tmp_path_factory.mktemp("killed"), **hyperparameters)
    killed.write("input/data/train/rows.svm", CLASSES)
    (killed.root / "checkpoints").mkdir()
    for _ in range(3):
        process = killed.start()
        read_until(process, "#progress_metric")
        time.sleep(random.uniform(0, 0.1))
        assert stopped(process, signal.SIGKILL)[0] == -signal.SIGKILL
    said = killed.train().err
    assert re.search(r"resuming after epoch \d+\n", said)
    assert killed.model_file.read_bytes() == job.model_file.read_bytes()
    assert len((killed.root / "output/data/metrics.jsonl").read_text().splitlines()) == 300


def test_a_killed_job_reads_its_pipes_again_from_the_first(tmp_path, tmp_path_factory, records):
    whole = ContainerJob(tmp_path_factory.mktemp("whole"), epochs=3)
    fed(*(whole.pipe(f"train_{epoch}") for epoch in range(3)), data=records)
    whole.train()
    job = ContainerJob(tmp_path, epochs=3)
    (tmp_path / "checkpoints").mkdir()
    pipes = [job.pipe(f"train_{epoch}") for epoch in range(3)]
    fed(pipes[0], data=records)
    process = job.start()
    read_until(process, "#progress_metric")
    wait_for(lambda: list((tmp_path / "checkpoints").glob("[!.]*")))
    assert stopped(process, signal.SIGKILL)[0] == -signal.SIGKILL
    fed(*pipes[:2], data=records)
    assert "resuming after epoch 1\n" in job.train().err
    assert job.model_file.read_bytes() == whole.model_file.read_bytes()


def test_a_checkpoint_of_another_job_is_refused(job):
    (job.root / "checkpoints").mkdir()
    job.train()
    job.config("hyperparameters", {**BASICS, "num_factors": 5})
    said = last_line(job.train(code=2).err)
    assert said.startswith("ClientError: ")
    assert "num_factors" in said
