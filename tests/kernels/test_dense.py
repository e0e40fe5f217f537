"""Dense blocks: which blocks are dense, and that matrices give the model of non-zeros within rounding, for any threads."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fits import train
from rows import PENALTIES, as_matrix, block_of, random_rows, small_model, with_evidence

from fmcore.kernels import blas, prepared
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.prepared import Cells, Groups
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset


def full_rows(rows, columns, share=1.0, *, seed=0, binary=False):
    """Return a Batch whose cells are non-zeros with probability `share`; the last column has one, the first row none."""
    rng = np.random.default_rng(seed)
    held = rng.random((rows, columns)) < share
    held[0], held[-1, -1] = False, True
    at, indices = np.nonzero(held)
    indptr = np.concatenate([[0], np.cumsum(held.sum(1))]).astype(np.int64)
    values = None if binary else rng.normal(size=len(at)).astype(np.float32)
    return Batch(
        indptr,
        indices.astype(np.int32),
        values,
        rng.integers(0, 2, rows).astype(np.float32),
        rng.uniform(0, 2, rows).astype(np.float32),
    )


def trained(batch, model, mini_batch_size, threads=1, kind=Cells):
    """Return scores and losses of two passes, and all tensors after them."""
    backend = CpuBackend(threads)
    block = backend.prepare(block_of(batch, mini_batch_size))
    assert isinstance(block.groups, kind)
    trainer, order = backend.trainer(model), np.random.default_rng(1).permutation(len(block.starts) - 1)
    outputs = [trainer.train(block, order, lr, 0.4 * lr) for lr in (1.0, 0.5)]
    return [*np.array(outputs).reshape(4, -1), *trainer.snapshot().tensors().values()]


@pytest.mark.parametrize(
    ("columns", "num_factors", "mini_batch_size"),
    [
        (1, 1, 7),
        (1, 64, 50),
        (31, 7, 1),
        (32, 8, 16),
        (33, 9, 50),
        (64, 10, 200),
        (100, 64, 30),
        (130, 20, 64),
        (70, 64, 300),
    ],
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("share", [1.0, 0.05])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_matrix_trains_the_model_that_non_zeros_do(
    columns, num_factors, mini_batch_size, optimizer, share, penalty, monkeypatch
):
    batch = full_rows(max(130, mini_batch_size + 5), columns, share)
    given = {"linear_wd": 0.01, **PENALTIES[penalty]}
    model = small_model(
        feature_dim=columns + 2,
        num_factors=num_factors,
        optimizer=optimizer,
        factors_init_sigma=0.1,
        linear_lr=0.01,
        factors_lr=0.01,
        **given,
    )
    model = with_evidence(model, batch, far=(0,) if columns > 1 else ())
    expected = trained(batch, model, mini_batch_size, kind=Groups)
    as_matrix(monkeypatch)
    for got, tensor in zip(trained(batch, model, mini_batch_size), expected, strict=True):
        np.testing.assert_allclose(got, tensor, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mini_batch_size", [7, 64, 300])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_dense_training_gives_the_same_bits_for_any_number_of_threads(optimizer, mini_batch_size, penalty, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    as_matrix(monkeypatch)
    batch, given = full_rows(300, 200, 0.7), PENALTIES[penalty]
    model = with_evidence(small_model(feature_dim=200, num_factors=10, optimizer=optimizer, **given), batch)
    results = {
        b"".join(np.ascontiguousarray(a).tobytes() for a in trained(batch, model, mini_batch_size, threads))
        for threads in (1, 2, 3, 4, 1)
    }
    assert len(results) == 1


def test_streamed_and_kept_rows_of_dense_and_sparse_blocks_give_the_same_model(monkeypatch):
    """The last block has too few rows for a matrix, and one in the middle too few non-zeros."""
    monkeypatch.setattr("fmcore.rows.blocks.BLOCK_ROWS", 64)
    monkeypatch.setattr(prepared, "NON_ZEROS", 400)
    parts = [full_rows(64, 40), full_rows(64, 40, 0.2), full_rows(30, 10)]
    model, backend, kinds = small_model(feature_dim=40, epochs=2, mini_batch_size=10), CpuBackend(2), []

    def prepare(block):
        block = backend.prepare(block)
        kinds.append(type(block.groups))
        return block

    def model_of(memory_limit):
        data = Dataset(lambda: iter(parts), model.hyperparameters, prepare, memory_limit).load()
        assert data.in_memory == (memory_limit > 1)
        return train(model, data, backend)

    kept, streamed = model_of(1e9), model_of(1)
    assert kinds == [Cells, Groups, Groups] * 2
    for name, tensor in kept.tensors().items():
        np.testing.assert_array_equal(streamed.tensors()[name], tensor, err_msg=name)


@pytest.mark.parametrize(
    ("share", "binary", "dense"),
    [(0.3, False, False), (0.37, False, True), (0.63, True, False), (0.7, True, True), (1.0, False, True)],
)
def test_a_matrix_is_chosen_by_its_memory_compared_with_that_of_its_non_zeros(share, binary, dense, monkeypatch):
    batch = full_rows(300, 128, share, binary=binary)
    assert not prepared.is_dense(batch)  # too few for the import of SciPy
    monkeypatch.setattr(prepared, "NON_ZEROS", len(batch.indices))
    assert prepared.is_dense(batch) == dense
    assert not prepared.is_dense(batch.take(slice(1, None)).take(slice(0, 298)))


def test_a_matrix_holds_values_and_the_present_features(monkeypatch):
    as_matrix(monkeypatch)
    batch = full_rows(50, 40, 0.1)
    batch.values[::5] = 0  # a zero that a file states is stored like any other value
    block = CpuBackend(2).prepare(block_of(batch, 8))
    values, present, columns = block.groups
    assert (values.shape, present.shape, columns) == ((50, 64), (7, 64), 40)
    for m in range(7):
        held = batch.indices[batch.indptr[block.starts[m]] : batch.indptr[block.starts[m + 1]]]
        assert np.flatnonzero(present[m]).tolist() == np.unique(held).tolist()
    rows = np.repeat(np.arange(50), np.diff(batch.indptr))
    np.testing.assert_array_equal(values[rows, batch.indices], batch.values)
    assert np.count_nonzero(values) == np.count_nonzero(batch.values)
    assert (len(block.batch), len(block.batch.indices), block.batch.values) == (50, 0, None)
    assert block.batch.labels is batch.labels


def test_rows_that_hold_an_index_twice_stay_non_zeros(monkeypatch):
    as_matrix(monkeypatch)
    batch = full_rows(20, 5)
    batch.indices[batch.indptr[3]] = batch.indices[batch.indptr[3] + 2]
    assert isinstance(CpuBackend().prepare(block_of(batch, 4)).groups, Groups)


def test_without_a_fitting_blas_all_rows_stay_non_zeros(monkeypatch):
    as_matrix(monkeypatch)
    block = block_of(random_rows(), 4)
    monkeypatch.setattr(prepared, "sgemm", lambda: None)
    assert isinstance(CpuBackend().prepare(block).groups, Groups)
    other = SimpleNamespace(from_cython=lambda *_: SimpleNamespace(signature="void (int64_t *)"))
    monkeypatch.setattr("scipy.LowLevelCallable", other)
    assert blas.sgemm.__wrapped__() is None
    assert blas.sgemm() is not None


def test_blas_has_one_thread_until_the_last_caller_leaves():
    def threads():
        return [library["num_threads"] for library in blas._libraries().info()]

    before = threads()
    with blas.one_thread():
        with blas.one_thread():
            assert set(threads()) <= {1}
        assert set(threads()) <= {1}
    assert threads() == before


def test_scipy_is_imported_only_for_dense_rows(fm):
    few = replace(full_rows(40, 20), weights=None)
    rows = np.split(few.indices, few.indptr[1:-1])
    fm.write("few.svm", "".join(f"1 {' '.join(f'{i}:2' for i in row)}\n" for row in rows))
    said = fm.python(
        "import sys; from fmcli.main import run; sys.argv[1:] = "
        "['train', 'few.svm', '-o', 'x.fm', '--predictor-type', 'regressor', '--quiet']\n"
        "try: run()\nfinally: print([m for m in sys.modules if m in {'scipy', 'threadpoolctl'}])"
    )
    assert said.out == "[]\n"


def test_fm_train_of_dense_rows_gives_the_same_model_for_any_threads_and_memory(fm):
    """The rows are CSV of a label and 100 columns of one digit: just enough non-zeros for a matrix."""
    rng, rows = np.random.default_rng(0), -(-prepared.NON_ZEROS // 100)
    text = np.full((rows, 202), ord(","), np.uint8)
    text[:, ::2] = rng.integers(ord("1"), ord("9") + 1, (rows, 101))
    text[:, 0] = rng.integers(ord("0"), ord("1") + 1, rows)
    text[:, -1] = ord("\n")
    fm.write("rows.csv", text.tobytes())
    runs = [("--threads", 1), ("--threads", 3, "--memory-limit", 1)]
    for number, options in enumerate(runs):
        fm(
            "train",
            "rows.csv",
            "--no-header",
            "--label-column",
            0,
            "--predictor-type",
            "binary_classifier",
            "--num-factors",
            8,
            "--epochs",
            1,
            "--quiet",
            "-o",
            f"{number}.fm",
            *options,
        )
        assert fm.read(f"{number}.fm") == fm.read("0.fm"), options
