"""What tests have the official SageMaker SDK do. Majors 2 and 3 keep things in different places; both are looked at.

Functions that import the SDK are run by the fixture `sdk` in a process of its own (see `prepare`), so arguments and
results are plain values. Major 3 has no recordIO code left: its writers and readers raise NotImplementedError.
"""

import importlib
import io
import os
import socket
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

PLACES = {  # what is wanted -> the module that has it in major 2, and in major 3
    "records": ("sagemaker.serializer_utils", "sagemaker.core.serializers.utils"),
    "serializers": ("sagemaker.serializers", "sagemaker.core.serializers"),
    "deserializers": ("sagemaker.deserializers", "sagemaker.core.deserializers"),
    "local": ("sagemaker.local.local_session", "sagemaker.core.local.local_session"),
}
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
}


def version():
    """Return the version of the SDK that is installed, or None."""
    try:
        return metadata.version("sagemaker")
    except metadata.PackageNotFoundError:
        return None


def prepare(home):
    """Make this process one where the SDK finds and writes no settings, and reaches this machine alone."""
    os.environ.update(ENVIRONMENT, HOME=home, XDG_CONFIG_HOME=home)
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def connect_here(self, address):
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            raise OSError(f"a test may not connect to {address}")
        return connect(self, address)

    def look_up_here(host, *rest, **named):
        if host not in {"127.0.0.1", "::1", "localhost"}:
            raise OSError(f"a test may not look up {host}")
        return getaddrinfo(host, *rest, **named)

    socket.socket.connect, socket.getaddrinfo = connect_here, look_up_here


def part(name):
    """Return the module of PLACES in the major that is installed."""
    return importlib.import_module(PLACES[name][int(version().split(".")[0]) >= 3])


def where():
    """Return where each of PLACES was found, and whether records can be written there."""
    found = {name: part(name).__name__ for name in PLACES}
    try:
        part("records")._write_label_tensor(None, None, None)
    except NotImplementedError:
        return {**found, "records": None}
    return found


# ----------------------------------------------------------------------------------------------- recordIO in files
def write_dense(array, labels=None):
    """Return the bytes of write_numpy_to_dense_tensor. array: (rows, features); labels: (rows,)."""
    file = io.BytesIO()
    part("records").write_numpy_to_dense_tensor(file, array, labels)
    return file.getvalue()


def write_sparse(matrix, labels=None):
    """Return the bytes of write_spmatrix_to_sparse_tensor. matrix: scipy.sparse (rows, features); labels: (rows,)."""
    file = io.BytesIO()
    part("records").write_spmatrix_to_sparse_tensor(file, matrix, labels)
    return file.getvalue()


def upload(folder, shards, array, labels):
    """Upload what an estimator's `record_set` does, into a folder instead of a bucket; return the manifest's S3 name."""
    from sagemaker.amazon.amazon_estimator import upload_numpy_to_s3_shards

    def put(key, Body):
        Path(folder, Path(key).name).write_bytes(Body if isinstance(Body, bytes) else Body.read())

    s3 = SimpleNamespace(Object=lambda bucket, key: SimpleNamespace(put=lambda Body: put(key, Body)))
    return upload_numpy_to_s3_shards(shards, s3, "bucket", "channel", array, labels)


def read(data):
    """Return the records of recordIO bytes as `plain`, by read_records."""
    return [plain(record) for record in part("records").read_records(io.BytesIO(data))]


def plain(record):
    """Return a Record of the SDK as a dict: kind, values, keys and shape of each tensor, by map and key; any uid."""
    maps = {
        name: {key: _tensor(value) for key, value in getattr(record, name).items()} for name in ("features", "label")
    }
    return {**maps, **({"uid": record.uid} if record.HasField("uid") else {})}


def _tensor(value):
    kind = value.WhichOneof("value")
    tensor = getattr(value, kind)
    return kind, list(tensor.values), list(tensor.keys), list(tensor.shape)


def schema():
    """Return the SDK's own schema: a serialized FileDescriptorProto."""
    from sagemaker.amazon import record_pb2

    return record_pb2.DESCRIPTOR.serialized_pb


def hyperparameters(feature_dim, mini_batch_size, given):
    """Return the hyperparameters.json that an estimator of major 2 with these arguments sends: name -> text."""
    from unittest.mock import MagicMock

    from sagemaker.amazon.amazon_estimator import RecordSet
    from sagemaker.amazon.factorization_machines import FactorizationMachines

    session = MagicMock(boto_region_name="us-east-1", local_mode=False, sagemaker_config={}, default_bucket_prefix=None)
    session.default_bucket.return_value = "bucket"
    estimator = FactorizationMachines("arn:aws:iam::1:role/r", 1, "ml.c5.xlarge", sagemaker_session=session, **given)
    estimator._prepare_for_training(RecordSet("s3://bucket/channel", 1000, feature_dim), mini_batch_size)
    return estimator.hyperparameters()


# ------------------------------------------------------------------------------------------- requests and answers
def serialize(serializer, data):
    """Return the bytes that a serializer makes, and the content type that it states."""
    chosen = getattr(part("serializers"), serializer)()
    body = chosen.serialize(data)
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else body, chosen.CONTENT_TYPE


def deserialize(deserializer, body, content_type):
    """Return the deserialized answer; records as `plain`."""
    answer = getattr(part("deserializers"), deserializer)().deserialize(io.BytesIO(body), content_type)
    return [plain(one) for one in answer] if deserializer == "RecordDeserializer" else answer


def clients(port):
    """Return stand-ins for a connection to AWS: the SDK's own for a local server, and boto3's redirected to it."""
    import boto3
    from botocore.config import Config

    def lead(request, **_):
        request.url = f"http://127.0.0.1:{port}/invocations"  # an endpoint's own server has no other path

    local = part("local")
    local.get_docker_host = lambda: "127.0.0.1"  # it would ask docker
    amazons = boto3.client(
        "sagemaker-runtime",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )
    amazons.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", lead)
    return {"local": local.LocalSagemakerRuntimeClient({"local": {"serving_port": port}}), "boto3": amazons}


def predict(port, client, serializer, deserializer, data):
    """Return the predictions that a user of the SDK gets from the endpoint on that port; records as `plain`."""
    connection = clients(port)[client]
    ends = getattr(part("serializers"), serializer)(), getattr(part("deserializers"), deserializer)()
    if version().startswith("2."):
        from sagemaker.amazon.factorization_machines import FactorizationMachinesPredictor

        session = SimpleNamespace(sagemaker_runtime_client=connection)
        answer = FactorizationMachinesPredictor("fm", session, *ends).predict(data)
    else:  # major 3 leaves the three steps to its user
        response = connection.invoke_endpoint(
            EndpointName="fm",
            Body=ends[0].serialize(data),
            ContentType=ends[0].CONTENT_TYPE,
            Accept=", ".join(ends[1].ACCEPT),
        )
        answer = ends[1].deserialize(response["Body"], response["ContentType"])
    return [plain(one) for one in answer] if deserializer == "RecordDeserializer" else answer
