"""Fixtures for SageMaker's contract: its official SDK where it is installed, and jobs that end with their test."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jobs
import pytest
import sdk as official
from client_cases import DENSE, LABELS, libsvm
from shell import Shell


@pytest.fixture(scope="session")
def sdk(tmp_path_factory):
    """Return a function that runs a function of sdk.py in a process where the SDK is imported once."""
    if official.version() is None:
        pytest.skip("the SageMaker SDK is not installed (it comes with the extra `test`)")
    home = str(tmp_path_factory.mktemp("home"))
    with ProcessPoolExecutor(1, get_context("spawn"), official.prepare, (home,)) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=120)


@pytest.fixture(scope="session")
def record_sdk(sdk):
    """Return the same, where the SDK can write and read recordIO."""
    if sdk(official.where)["records"] is None:
        pytest.skip(f"version {official.version()} of the SageMaker SDK cannot write recordIO any more; 2.x can")
    return sdk


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return a folder with models of the rows of client_cases: binary_classifier.fm and regressor.fm."""
    fm = Shell(tmp_path_factory.mktemp("models"))
    fm.write("rows.svm", libsvm(DENSE / 4, LABELS))
    for kind in ("binary_classifier", "regressor"):
        fm(
            "train",
            "rows.svm",
            "-o",
            f"{kind}.fm",
            "--predictor-type",
            kind,
            "--preset",
            "native-1",
            "--epochs",
            2,
            "-q",
        )
    return fm.folder


@pytest.fixture(autouse=True)
def ended_jobs():
    """End all processes of a job with its test."""
    yield
    jobs.end_all()
