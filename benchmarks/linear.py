"""What the mean label and a linear model of scikit-learn with its default settings reach on a data set."""

import warnings

import numpy as np
from scipy.sparse import issparse
from sets import NUMBER
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def loss(kind, y, predicted):
    """Return the root mean square error of numbers, or the log loss of probabilities."""
    if kind == NUMBER:
        return float(np.sqrt(np.mean((y - predicted) ** 2)))
    return float(log_loss(y, predicted, labels=[0, 1]))


def constant(kind, rows, test):
    """Return the test loss of the mean label."""
    return loss(kind, test.y, np.full(len(test), rows.y.mean()))


def linear(kind, rows, test):
    """Return the test loss of ridge regression or logistic regression; a sparse matrix is taken as it stands."""
    model = Ridge() if kind == NUMBER else LogisticRegression(max_iter=1000)
    both = model if issparse(rows.X) else make_pipeline(columns(rows), model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        both.fit(rows.X, rows.y)
    return loss(kind, test.y, both.predict(test.X) if kind == NUMBER else both.predict_proba(test.X)[:, 1])


def columns(rows):
    """Return the step that makes text one-hot, and numbers standard with what is missing set to the mean and marked."""
    text = rows.categorical
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), text), (numbers, [name for name in rows.X if name not in text])
    )
