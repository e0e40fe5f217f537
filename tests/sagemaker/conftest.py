"""Fixtures of the tests of SageMaker's contract."""
import jobs
import pytest


@pytest.fixture(autouse=True)
def ended_jobs():
    """No process of a job outlives its test."""
    yield
    jobs.end_all()
