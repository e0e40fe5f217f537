"""SageMaker's contract, section 8: the container's entry point `serve`, over a tree like /opt/ml."""

import json
import shutil
import socket
import tarfile
import urllib.request

import pytest
from jobs import CLASSES, FEATURES, SERVE, ContainerJob, ended, read_until, stopped
from shell import LIMIT, ROOT, last_line

from fmcli.container.serve import settings
from fmcore.errors import UsageError

GOLDEN, MODEL = ROOT / "tests/golden", "sparse-classifier"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a tree after its training job."""
    job = ContainerJob(tmp_path_factory.mktemp("trained"))
    job.write("input/data/train/rows.svm", CLASSES)
    job.train()
    return job


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Endpoint:
    """A running `serve`; leaving the block stops it as SageMaker does, which must go well."""

    def __init__(self, job, **environ):
        self.port = free_port()
        self.process = job.start(
            SERVE,
            SAGEMAKER_BIND_TO_PORT=str(self.port),
            SAGEMAKER_MODEL_SERVER_WORKERS="1",
            TMPDIR=str(job.root),
            **environ,
        )

    def __enter__(self):
        self.said = read_until(self.process, "serving|serve:")
        return self

    def __exit__(self, *_):
        assert stopped(self.process)[0] == 0

    def ask(self, path, body=None, kind="application/json"):
        """Return (status, body) of the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.status, answer.read()


def test_an_endpoint_serves_the_model_of_its_job(trained):
    with Endpoint(trained) as endpoint:
        assert endpoint.ask("/ping") == (200, b"")
        rows = [
            {"data": {"features": {"keys": [3, 7], "shape": [FEATURES], "values": [1, 2]}}},
            {"features": [1.5, 16]},
        ]
        _, body = endpoint.ask("/invocations", json.dumps({"instances": rows}).encode())
        predictions = json.loads(body)["predictions"]
        assert [set(prediction) for prediction in predictions] == [{"score", "predicted_label"}] * 2
        assert "MaxPayloadInMB" in json.loads(endpoint.ask("/execution-parameters")[1])


def test_an_endpoint_serves_sagemakers_own_model(tmp_path):
    job = ContainerJob(tmp_path)
    with tarfile.open(GOLDEN / f"{MODEL}.tar.gz") as archive:
        job.write("model/model_algo-1", archive.extractfile("model_algo-1").read())
    judged = json.loads((GOLDEN / "scores.json").read_text())  # by MXNet
    lines = "".join(json.dumps({"features": row}) + "\n" for row in judged["rows"]).encode()
    with Endpoint(job) as endpoint:
        _, body = endpoint.ask("/invocations", lines, "application/jsonlines")
    scores = [json.loads(line)["score"] for line in body.splitlines()]
    assert scores == pytest.approx(judged["scores"][MODEL], rel=1e-5)
    assert sorted(path.name for path in tmp_path.glob("model/*")) == ["model_algo-1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input", "model", "output"]  # TMPDIR is tidied up


def test_an_endpoint_serves_a_model_of_another_name(trained, tmp_path):
    job = ContainerJob(tmp_path)
    shutil.copy(trained.model_file, tmp_path / "model/clicks.fm")
    with Endpoint(job) as endpoint:
        assert endpoint.ask("/ping")[0] == 200


@pytest.mark.parametrize(
    ("files", "code", "sentence"),
    [
        ({}, 4, "expected the model as model.fm, or SageMaker's own as model_algo-1; found nothing"),
        ({"a.fm": "", "b.fm": "", "code.py": ""}, 4, "found a.fm, b.fm, code.py"),
        ({"model.fm": ""}, 4, "model.fm: the file is empty; expected a model"),
        ({"model_algo-1": "1 0:1\n"}, 4, "model_algo-1: "),
    ],
)
def test_an_endpoint_without_a_model_is_refused(tmp_path, files, code, sentence):
    job = ContainerJob(tmp_path)
    for name, content in files.items():
        job.write(f"model/{name}", content)
    found, said = ended(job.start(SERVE))
    assert found == code
    assert last_line(said).startswith("serve: ")
    assert sentence in last_line(said)


def test_endpoint_settings_come_from_the_environment():
    taken = settings({})
    assert (taken.host, taken.port, taken.timeout, taken.max_payload) == ("0.0.0.0", 8080, 60, 6 << 20)
    taken = settings(
        {
            "SAGEMAKER_BIND_TO_PORT": "81",
            "MODEL_SERVER_WORKERS": "3",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "9",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20",
        }
    )
    assert (taken.port, taken.workers, taken.timeout, taken.max_payload) == (81, 3, 9, 20 << 20)
    assert settings({"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "MODEL_SERVER_WORKERS": "3"}).workers == 2
    assert settings({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}).max_payload == 1 << 30


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "65536"),
        ("MODEL_SERVER_WORKERS", "-1"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "1.5"),
    ],
)
def test_an_environment_variable_that_is_no_number_is_refused(name, text):
    with pytest.raises(UsageError, match=f"the variable {name} is '{text}'; expected an integer from 1 to "):
        settings({name: text})
