"""Makes the archives beside it with MXNet, which trained SageMaker's factorization machines; no test runs this.

    python3.10 -m venv mxnet && mxnet/bin/pip install 'mxnet==1.9.1' 'numpy<1.24'
    mxnet/bin/python tests/golden/make_archives.py

sparse-classifier.tar.gz   the sparse network, v and w1_weight row_sparse with rows absent, `LogisticRegressionOutput`
dense-regressor.tar.gz     the dense network, `LinearRegressionOutput`
scores.json                what MXNet's own networks answer for a few rows, by archive
older.params               arrays as MXNet before 0.12 and before 0.11 wrote them, which MXNet 1.9 still reads
"""

import gzip
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import mxnet as mx
import numpy as np

HERE = Path(__file__).parent
D, K = 7, 3  # feature_dim, num_factors
ROWS = [[0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0], [0, 0.5, 0, 0, -2, 0, 3], [1, 1, 1, 1, 1, 1, 1]]


def sparse_network():
    """Scores by sparse products, as in MXNet's sparse factorization machine example."""
    x = mx.sym.Variable("data", stype="csr")
    v = mx.sym.Variable("v", shape=(D, K), stype="row_sparse")
    w1 = mx.sym.Variable("w1_weight", shape=(D, 1), stype="row_sparse")
    w0 = mx.sym.Variable("w0_weight", shape=(1,))
    linear = mx.sym.broadcast_add(mx.sym.sparse.dot(x, w1), w0)
    lengths = mx.sym._internal._square_sum(data=v, axis=1, keepdims=True)
    both = mx.sym.sparse.dot(mx.sym.square(x), lengths)
    pairs = 0.5 * (mx.sym.sum(mx.sym.square(mx.sym.sparse.dot(x, v)), axis=1, keepdims=True) - both)
    return mx.sym.LogisticRegressionOutput(linear + pairs, name="out")


def dense_network():
    """Scores by dense products; v is transposed."""
    x = mx.sym.Variable("data")
    v = mx.sym.Variable("v", shape=(K, D))
    linear = mx.sym.FullyConnected(x, num_hidden=1, name="Linear_Plus_Bias")
    sums = mx.sym.FullyConnected(x, weight=v, num_hidden=K, no_bias=True, name="Sums")
    squares = mx.sym.FullyConnected(mx.sym.square(x), weight=mx.sym.square(v), num_hidden=K, no_bias=True)
    pairs = 0.5 * mx.sym.sum(mx.sym.square(sums) - squares, axis=1, keepdims=True)
    return mx.sym.LinearRegressionOutput(linear + pairs, name="out")


def scores(network, arrays, rows):
    """What the network answers."""
    arguments = {**arrays, "data": rows, "out_label": mx.nd.zeros((len(ROWS), 1))}
    return network.bind(mx.cpu(), arguments, grad_req="null").forward()[0].asnumpy().reshape(-1).tolist()


def params(arrays, prefix="arg:"):
    """The bytes that MXNet saves for named arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "params"))
        mx.nd.save(path, {prefix + name: array for name, array in arrays.items()})
        return Path(path).read_bytes()


def archive(members):
    """A gzip of a tar with a ZIP called model_algo-1 of these members; no times, so that it stays the same."""
    inner, outer, compressed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    with tarfile.open(fileobj=outer, mode="w") as file:
        info = tarfile.TarInfo("model_algo-1")
        info.size = inner.tell()
        file.addfile(info, io.BytesIO(inner.getvalue()))
    with gzip.GzipFile("", "wb", fileobj=compressed, mtime=0) as file:
        file.write(outer.getvalue())
    return compressed.getvalue()


def older(arrays):
    """A list whose odd arrays are of version 1 (no storage type), the even ones older still (dimensions of 32 bits)."""
    out = struct.pack("<3Q", 0x112, 0, len(arrays))
    for number, array in enumerate(arrays.values()):
        if number % 2:
            out += struct.pack(f"<2I{array.ndim}q", 0xF993FAC8, array.ndim, *array.shape)
        else:
            out += struct.pack(f"<{1 + array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<3i", 1, 0, 0) + array.tobytes()
    out += struct.pack("<Q", len(arrays))
    for name in arrays:
        out += struct.pack("<Q", len(name)) + name.encode()
    return out


def main():
    """Write all files."""
    rng = np.random.default_rng(3)
    v, w, b = (rng.normal(size=shape).astype(np.float32) for shape in ((D, K), (D, 1), (1,)))
    rows, kept, answers = np.array(ROWS, np.float32), [0, 1, 4, 6], {}
    arrays = {
        "w0_weight": mx.nd.array(b),
        "w1_weight": mx.nd.sparse.row_sparse_array((w[kept], kept), shape=w.shape),
        "v": mx.nd.sparse.row_sparse_array((v[kept], kept), shape=v.shape),
    }
    answers["sparse-classifier"] = scores(sparse_network(), arrays, mx.nd.array(rows).tostype("csr"))
    meta = {
        "training_parameters": {
            "feature_dim": str(D),
            "num_factors": str(K),
            "predictor_type": "binary_classifier",
            "epochs": "4",
            "mini_batch_size": "100",
            "factors_lr": "0.001",
            "_kvstore": "auto",
        }
    }
    (HERE / "sparse-classifier.tar.gz").write_bytes(
        archive({"symbol.json": sparse_network().tojson(), "params": params(arrays), "meta.json": json.dumps(meta)})
    )

    arrays = {
        "Linear_Plus_Bias_bias": mx.nd.array(b),
        "Linear_Plus_Bias_weight": mx.nd.array(w.T),
        "v": mx.nd.array(v.T),
    }
    answers["dense-regressor"] = scores(dense_network(), arrays, mx.nd.array(rows))
    (HERE / "dense-regressor.tar.gz").write_bytes(
        archive({"symbol.json": dense_network().tojson(), "params": params(arrays), "meta.json": "{}"})
    )

    plain = {"w0_weight": b, "w1_weight": w, "v": v}
    (HERE / "older.params").write_bytes(older(plain))
    for name, array in mx.nd.load(str(HERE / "older.params")).items():
        assert np.array_equal(array.asnumpy(), plain[name])
    (HERE / "scores.json").write_text(json.dumps({"rows": ROWS, "scores": answers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
