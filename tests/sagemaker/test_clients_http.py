"""The official SageMaker SDK and boto3 ask `fm serve` for predictions, as they ask an endpoint of Amazon's."""

import re
import signal

import pytest
import sdk as official
from client_cases import ANSWERS, ASKED, REQUESTS, agree, judge, predictions, scores
from shell import LIMIT, Shell

READY = re.compile(r"http://127\.0\.0\.1:(\d+)")


@pytest.fixture(scope="module")
def endpoints(models):
    """Return the port of a server of each model, by predictor type."""
    pytest.importorskip("uvicorn", reason="fm serve needs the extra `serve`")
    fm, running, ports = Shell(models), [], {}
    try:
        for kind in ("binary_classifier", "regressor"):
            running.append(fm.start("serve", f"{kind}.fm", "--port", 0, "--workers", 1))
            said = running[-1].stderr.readline().decode()
            assert READY.search(said), said + running[-1].stderr.read().decode()
            ports[kind] = int(READY.search(said)[1])
        yield ports
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LIMIT)


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor"])
@pytest.mark.parametrize("deserializer", ANSWERS.values())
@pytest.mark.parametrize("case", REQUESTS)
@pytest.mark.parametrize("client", ["local", "boto3"])
def test_every_sdk_serializer_works_with_every_deserializer(sdk, models, endpoints, client, case, deserializer, kind):
    serializer, data = REQUESTS[case]
    judge(sdk, serializer, deserializer)
    answer = sdk(official.predict, endpoints[kind], client, serializer, deserializer, data)
    agree(predictions(answer), scores(models, kind))


def test_a_single_row_of_the_sdk_is_a_request(record_sdk, models, endpoints):
    answer = record_sdk(
        official.predict, endpoints["regressor"], "local", "RecordSerializer", "RecordDeserializer", ASKED[0]
    )
    agree(predictions(answer), scores(models, "regressor")[:1])


def test_an_error_reaches_the_user_of_boto3_as_a_sentence(sdk, endpoints):
    with pytest.raises(Exception, match="row 1") as caught:
        sdk(
            official.predict,
            endpoints["regressor"],
            "boto3",
            "JSONSerializer",
            "JSONDeserializer",
            {"instances": [{"features": ["x"]}]},
        )
    assert "400" in str(caught.value)
