"""Run a peer once, in an interpreter that has it installed: python peer_runs.py NAME '{"argument": value, ...}'.

Needs nothing of fmkit. Prints the peer's own output, or seconds.
"""

import json
import sys
import time

XLEARN_MODEL = "xlearn.model"
WARM_UP = 100  # rows trained first, so that a peer's initialization is not counted


def xlearn(*, train, k, threads, epochs, parameters):
    """Train; xLearn prints the seconds of each epoch. Leaves a model, and beside the text its cache of the rows."""
    import xlearn as xl

    machine = xl.create_fm()
    machine.setTrain(train)
    machine.disableEarlyStop()
    machine.disableNorm()
    machine.fit(
        {"task": "binary", "opt": "adagrad", "k": k, "nthread": threads, "epoch": epochs, **parameters}, XLEARN_MODEL
    )


def xlearn_predict(*, test, output):
    """Write the probabilities of the rows of a file, one a line."""
    import xlearn as xl

    machine = xl.create_fm()
    machine.setTest(test)
    machine.setSigmoid()
    machine.disableNorm()
    machine.predict(XLEARN_MODEL, output)


def modern_fm_epoch(*, train, k, epochs, parameters):
    """Print the seconds that a further epoch takes; train: see `further`."""
    further(lambda rows, labels, count: modern_fm(k, count, parameters).fit(rows, labels), train, epochs)


def myfm_epoch(*, train, k, epochs):
    """Print the seconds that a further iteration of its Gibbs sampler takes; train: see `further`."""
    from myfm import MyFMGibbsClassifier

    further(
        lambda rows, labels, count: MyFMGibbsClassifier(k).fit(rows, labels > 0, n_iter=count, n_kept_samples=1),
        train,
        epochs,
    )


def further(fit, train, epochs):
    """Print the seconds that each epoch adds to fit(rows, labels, epochs).

    train: an .npz of indptr, indices, labels and feature_dim.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    held = np.load(train)
    shape = (len(held["labels"]), int(held["feature_dim"]))
    rows = csr_matrix((np.ones(len(held["indices"])), held["indices"], held["indptr"]), shape)
    fit(rows[:WARM_UP], held["labels"][:WARM_UP], 1)
    took = []
    for count in (1, 1 + epochs):
        start = time.perf_counter()
        fit(rows, held["labels"], count)
        took.append(time.perf_counter() - start)
    print((took[1] - took[0]) / epochs)


def modern_fm_train(*, train, test, k, feature_dim, parameters, output):
    """Print the seconds from libsvm text, read by scikit-learn, to a model of one epoch; then write probabilities."""
    import numpy as np
    from sklearn.datasets import load_svmlight_file

    start = time.perf_counter()
    rows, labels = load_svmlight_file(train, n_features=feature_dim, zero_based=True)
    trained = modern_fm(k, 1, parameters).fit(rows, labels)
    print(time.perf_counter() - start)
    rows, _ = load_svmlight_file(test, n_features=feature_dim, zero_based=True)
    np.savetxt(output, trained.predict_proba(rows)[:, 1])


def modern_fm(k, epochs, parameters):
    """Return a classifier on one thread."""
    from modern_fm import FMClassifier

    return FMClassifier(n_factors=k, max_iter=epochs, n_jobs=1, random_state=0, **parameters)


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
