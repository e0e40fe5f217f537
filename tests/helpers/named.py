"""One frame of columns of all kinds, in every format that has names, and a model trained on it."""

import csv
import io
import json
import random

NAMES = ("id", "price", "site", "genres", "when", "note", "bought", "weight")
OPTIONS = (
    *("--label-column", "bought", "--weight-column", "weight", "--id-column", "id", "--ignore", "note"),
    *("--lists", "genres:|", "--dates", "when", "--log", "price"),
)
TRAINING = ("--predictor-type", "binary_classifier", "--epochs", "3", "--quiet")


def frame(rows=60, seed=1):
    """Return rows as dicts of what JSON can hold; genres are lists."""
    random_ = random.Random(seed)
    return [
        {
            "id": f"r{number}",
            "price": None if number % 9 == 4 else round(random_.expovariate(0.1), 2),
            "site": random_.choice(("a.com", "b.com", "Zürich", "with, comma", None)),
            "genres": random_.sample(["Action", "Comedy", "War"], random_.randrange(3)),
            "when": f"2024-{random_.randint(1, 12):02}-{random_.randint(1, 28):02} 07:30:00",
            "note": random_.choice(("x", "y")),
            "bought": random_.randrange(2),
            "weight": random_.choice((1, 2, 0.5)),
        }
        for number in range(rows)
    ]


def text(value):
    """Return a value as CSV has it."""
    return "" if value is None else "|".join(value) if isinstance(value, list) else str(value)


def as_csv(rows, names=NAMES, delimiter=",", *, header=True):
    """Return these columns of the rows, in this order."""
    handle = io.StringIO()
    writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
    writer.writerows([names] * header + [[text(row[name]) for name in names] for row in rows])
    return handle.getvalue()


def as_jsonlines(rows, names=NAMES):
    """Return these columns of the rows by name."""
    return "".join(json.dumps({"features": {name: row[name] for name in names}}) + "\n" for row in rows)


def as_json(rows, names=NAMES):
    """Return these columns of the rows as one document."""
    return json.dumps({"instances": [{"features": {name: row[name] for name in names}} for row in rows]})
