"""Score and update: the slow NumPy truth and the fast kernels, under one contract.

A backend is an object with

    name                               a word for `fm --version`
    prepare(block) -> Block            adds what its trainer needs to a Block, whose batch may lose all but labels and
                                       weights; may be called from any thread
    score(batch, model) -> float32     raw scores (rows,) of a Batch whose indices are all below model.feature_dim
    trainer(model) -> trainer          a copy of the model's parameters and state, ready to be moved

and a trainer with

    train(block, order, lr=1.0)        one pass over a prepared block's mini-batches in `order` (int64), learning rates
                                       multiplied by lr; returns (raw scores, weighted losses), float32 (rows,) each,
                                       as they were before the row's own mini-batch moved anything
    score(batch)                       as above, with the parameters as they are now
    snapshot() -> Model                a copy of them

A loss is the squared error (regressor) or the log loss (binary_classifier) times the row's weight.
"""


def backend_for(name, threads=1):
    """The backend "cpu" or "reference", using so many threads."""
    if name == "reference":
        from fmcore.backends.reference import ReferenceBackend

        return ReferenceBackend()
    from fmcore.backends.cpu import CpuBackend

    return CpuBackend(threads)
