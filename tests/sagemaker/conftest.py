"""The official SageMaker SDK as a fixture, where it is installed."""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import sdk as official


@pytest.fixture(scope="session")
def sdk(tmp_path_factory):
    """Runs a function of sdk.py, with its arguments, in a process where the SDK is imported once."""
    if official.version() is None:
        pytest.skip("the SageMaker SDK is not installed (it comes with the extra `test`)")
    home = str(tmp_path_factory.mktemp("home"))
    with ProcessPoolExecutor(1, get_context("spawn"), official.prepare, (home,)) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=120)


@pytest.fixture(scope="session")
def record_sdk(sdk):
    """The same, where the SDK can write and read recordIO."""
    if sdk(official.where)["records"] is None:
        pytest.skip(f"version {official.version()} of the SageMaker SDK cannot write recordIO any more; 2.x can")
    return sdk
