"""The data sets that lie in a folder, with the splits that are used everywhere, and those that its programs make."""

import bz2
import gzip
import io
import subprocess
import sys
import tempfile
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sets import BINARY, NUMBER, Part, Set, every, table
from sklearn.datasets import load_svmlight_file, load_svmlight_files

ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
]
SHOPPERS = ("Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend")
MADE = {  # argument of settings.py -> the sets that it makes
    "unscaled": {"unscaled": BINARY, "unscaled-regression": NUMBER},
    "imbalanced": {"imbalanced": BINARY},
    "few": {"few-rows": BINARY, "few-rows-regression": NUMBER},
    "prices": {"prices": NUMBER},
    "click_log": {"click-log": BINARY},
    "duplicates": {"once": BINARY, "twenty-times": BINARY},
    "rare": {"rare-values": BINARY, "rare-values-regression": NUMBER},
    "units": {"target-times-1": NUMBER, "target-times-100": NUMBER, "target-times-10000": NUMBER},
    "hashed": {"hashed": BINARY},
}

SMALL = ("unscaled", "few", "prices")  # what a quick run has time for


def restaurant(folder):
    """Return ratings of restaurants with all that is known of users and places, as text."""
    ratings, users, places = (
        pd.read_csv(folder / f"restaurant/{name}.csv", encoding="latin-1")
        for name in ("rating_final", "userprofile", "geoplaces2")
    )
    frame = ratings.merge(users, how="left", on="userID").merge(places, how="left", on="placeID")
    return every(table(frame.drop(columns=["food_rating", "service_rating"]), "rating", NUMBER, text=frame.columns), 10)


def shoppers(folder):
    """Return visits of a shop, with raw durations up to tens of thousands beside categorical columns."""
    frame = pd.read_csv(folder / "online-shoppers/online_shoppers_intention.csv")
    return every(table(frame, "Revenue", BINARY, text=SHOPPERS, positive="True"), 5)


def a9a(folder):
    """Return Adult's rows, one-hot."""
    for name in ("a9a.bz2", "a9a.t.bz2"):
        text = io.BytesIO(bz2.decompress((folder / "a9a" / name).read_bytes()))
        X, y = load_svmlight_file(text, n_features=123, zero_based=False)
        yield Part(X, (y > 0).astype(np.int64))


def adult(folder):
    """Return Adult's raw rows, in which ? is a value like others."""
    for name, passed in (("adult.data", 0), ("adult.test", 1)):
        frame = pd.read_csv(folder / "adult" / name, names=ADULT, skiprows=passed, skipinitialspace=True)
        yield table(frame.assign(income=frame.income.str.rstrip(".")), "income", BINARY, positive=">50K")


def bank(folder):
    """Return calls of a bank."""
    for name in ("train", "test"):
        yield table(pd.read_csv(folder / f"bank/{name}.csv"), "y", BINARY, positive="yes")


def diamonds(folder):
    """Return diamonds and their prices."""
    for name in ("train", "test"):
        yield table(pd.read_csv(folder / f"diamonds/{name}.csv"), "price", NUMBER)


def movielens(folder):
    """Return ratings by user and movie."""
    frame = pd.read_csv(folder / "ml-latest-small/ratings.csv").drop(columns="timestamp")
    return every(table(frame, "rating", NUMBER, text=("userid", "movieid")), 10)


def mnist(folder):
    """Return digits, labelled by whether they are a 0; pixels are divided by 255."""
    for name in ("train", "t10k"):
        pixels = gzip.decompress((folder / f"mnist/{name}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"mnist/{name}-labels-idx1-ubyte.gz").read_bytes())
        grey = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255
        yield Part(csr_matrix(grey), (np.frombuffer(labels, np.uint8, offset=8) == 0).astype(np.int64))


def setting(folder, *, made, name, seed):
    """Return rows that settings.py makes. made: its word for the group of sets that the name is one of."""
    return settings_made(folder, made, seed)[name]


@lru_cache(maxsize=1)
def settings_made(folder, made, seed):
    """Return name -> rows of a group of sets, which settings.py makes together."""
    with tempfile.TemporaryDirectory() as work:
        start(folder, "settings.py", work, made, "--seed", seed)
        return {name: written(Path(work, name), kind) for name, kind in MADE[made].items()}


def drawn(folder, *, made, kind, given):
    """Return rows of ctr_like.py, whose truth is a factorization machine."""
    with tempfile.TemporaryDirectory() as work:
        start(folder, "ctr_like.py", made, Path(work, made), *given)
        return written(Path(work, made), kind)


def start(folder, program, *given):
    """Run a program of those that lie beside the folder, and raise an error where it fails."""
    words = [sys.executable, programs(folder) / program, *given]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def programs(folder):
    """Return the folder of the programs that make data."""
    return folder.resolve().parent / "bench"


def written(stem, kind):
    """Return training rows and test rows from the files that a program has written."""
    paths = [Path(f"{stem}.{part}.svm") for part in ("train", "test")]
    if not paths[0].exists():
        return [table(pd.read_csv(path.with_suffix(".csv")), "y", kind) for path in paths]
    X, y, X_test, y_test = load_svmlight_files([str(path) for path in paths], zero_based=True)
    return [Part(X, y), Part(X_test, y_test)]


REAL = {
    one.name: one
    for one in (
        Set("online-shoppers", BINARY, shoppers, "Revenue"),
        Set("ml-latest-small", NUMBER, movielens, "rating"),
        Set("a9a", BINARY, a9a),
        Set("adult", BINARY, adult, "income"),
        Set("bank", BINARY, bank),
        Set("diamonds", NUMBER, diamonds, "price"),
        Set("restaurant", NUMBER, restaurant, "rating"),
        Set("mnist-0", BINARY, mnist, quick=False),
    )
}
DRAWN = (
    Set("clicks-like", BINARY, partial(drawn, made="ctr", kind=BINARY, given=("--rows", 100_000, "--scale", 0.1))),
    Set("ratings-like", NUMBER, partial(drawn, made="ratings", kind=NUMBER, given=("--rows", 300_000)), quick=False),
)


def settings(seed):
    """Return the sets that settings.py makes with a seed."""
    return [
        Set(f"{name}-s{seed}", kind, partial(setting, made=made, name=name, seed=seed), quick=made in SMALL)
        for made, names in MADE.items()
        for name, kind in names.items()
    ]


def here(folder, seeds):
    """Return the sets that a folder has, and those that programs beside it make with these seeds."""
    real = list(REAL.values()) if folder.is_dir() else []
    made = [*(one for seed in seeds for one in settings(seed)), *DRAWN] if programs(folder).is_dir() else []
    return real + made
