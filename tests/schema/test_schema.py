import json

import numpy as np
import pytest

from fmcore.errors import ModelError
from fmcore.schema.buckets import Buckets
from fmcore.schema.columns import CATEGORICAL, DATE, DATE_PARTS, ID, IGNORED, LABEL, LIST, LOG, NUMERIC, WEIGHT, Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.names import TOGETHER, FeatureNames
from fmcore.schema.schema import Schema
from fmcore.schema.vocabulary_file import Listing

COLUMNS = (
    Column("id", ID),
    Column("age", NUMERIC),
    Column("pay", LOG),
    Column("when", DATE),
    Column("city", CATEGORICAL),
    Column("tags", LIST, "|", mean=True),
    Column("note", IGNORED),
    Column("y", LABEL),
    Column("w", WEIGHT),
)
PAIRS = (("city", "Rome"), ("tags", "a"), ("city", "Oslo"), ("tags", "b"))
FEATURES = 9 + 4


def listed(pairs=PAIRS):
    values = Listed()
    for column, value in pairs:
        values.add(column, value)
    return values


def listing(values):
    return Listing((("age", None), ("pay", None), *((f"when:{part}", None) for part in DATE_PARTS)), {}, values)


def made(values=None, columns=COLUMNS, **facts):
    return Schema.of(Encoder(listed() if values is None else values, columns), **facts)


def through_json(schema, **changes):
    """The schema as a file has it, with changes of what it says."""
    return Schema.from_dict({**json.loads(json.dumps(schema.as_dict())), **changes}, schema.tensors)


def names_of(schema):
    names = FeatureNames.of_schema(schema)
    return [names.get(index) for index in range(len(names))]


@pytest.mark.parametrize(
    "schema",
    [
        made(),
        made(label={"positive": "yes"}, seen={"age": [0, 9]}, min_count=3),
        made(Hashed(5)),
        made(Hashed(5, np.arange(4, dtype=np.uint8))),
        made(Listed(), [Column("a", NUMERIC)]),
        Schema.of(Encoder(learns=False)),
        Schema.of(Encoder(columns=[Column("0", NUMERIC)], named=False)),
    ],
)
def test_a_schema_comes_back_from_json_and_tensors(schema):
    again = through_json(schema)
    assert again == schema
    assert again.as_dict() == schema.as_dict()
    encoder = again.encoder()
    assert (encoder.columns, encoder.named, encoder.learns, encoder.grows) == (
        schema.columns,
        schema.named,
        False,
        False,
    )
    assert encoder.feature_dim == schema.encoder().feature_dim


def test_a_schema_knows_the_names_of_all_features():
    parts = [
        f"when:{part}" for part in ("years", "sin(year)", "cos(year)", "sin(week)", "cos(week)", "sin(day)", "cos(day)")
    ]
    schema = through_json(made())
    assert names_of(schema) == ["age", "pay", *parts, "city=Rome", "tags=a", "city=Oslo", "tags=b"]
    names = FeatureNames.of_schema(schema)
    assert len(names) == FEATURES
    assert names.get(FEATURES) is None
    assert names.entry(9) == ("city", "Rome")
    assert names.entry(0) == ("age", None)
    assert names.of_column("city") == {9: "Rome", 11: "Oslo"}
    assert names.of_column("age") == {0: "age"}
    assert names.of_column("gone") == {}
    assert names.columns == ["age", "pay", *parts, "city", "tags"]


def test_two_values_of_one_column_exclude_each_other_but_those_of_lists():
    exclusive = FeatureNames.of_schema(made()).exclusive(15)
    assert exclusive.tolist() == [TOGETHER] * 9 + [0, TOGETHER, 0, TOGETHER, TOGETHER, TOGETHER]
    assert FeatureNames.of_schema(made(Hashed(3))).exclusive(15) is None
    assert FeatureNames.of_schema(made(Listed())).exclusive(15) is None


def test_hashed_values_have_no_names():
    names = FeatureNames.of_schema(made(Hashed(3)))
    assert len(names) == 9
    assert (names.get(8), names.get(9)) == ("when:cos(day)", None)


def test_a_schema_that_grows_begins_with_its_values():
    schema = through_json(made())
    encoder = schema.encoder(grows=True)
    encoder.values.add("city", "Bern")
    assert encoder.added == 1
    grown = Schema.of(encoder)
    assert grown.lists(listing(listed()))
    assert grown.lists(listing(listed([*PAIRS, ("city", "Bern")])))
    assert not grown.lists(listing(listed(reversed(PAIRS))))
    assert not grown.lists(listing(listed([*PAIRS, ("city", "Rio")])))
    assert not schema.lists(listing(listed([*PAIRS, ("city", "Bern")])))
    assert not made(Hashed(3)).lists(listing(listed()))
    assert names_of(through_json(made())) == names_of(schema)


def test_features_beyond_those_of_the_model_are_refused():
    made().require_fits(FEATURES)
    made().require_fits(FEATURES + 1)
    Schema.of(Encoder(learns=False)).require_fits(1)
    with pytest.raises(ModelError, match=rf"its schema has {FEATURES} features, but the model {FEATURES - 1}"):
        made().require_fits(FEATURES - 1)
    with pytest.raises(ModelError, match="its schema has 1073741833 features, but the model 5"):
        made(Hashed(30)).require_fits(5)


NUMBER = {"name": "a", "kind": "numeric"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"columns": 1}, "damaged: its schema has no columns, or one of the wrong type"),
        ({"columns": "age"}, "has no columns, or one of the wrong type"),
        ({"columns": []}, "has columns, but none that is a feature"),
        ({"columns": [{"name": "y", "kind": "label"}]}, "has columns, but none that is a feature"),
        ({"columns": [1]}, "damaged: its schema has a column 1"),
        ({"columns": [[]]}, "has a column []"),
        ({"columns": [{"name": "a"}]}, "has a column {'name': 'a'}"),
        ({"columns": [{"name": 1, "kind": "numeric"}]}, "has a column {'name': 1"),
        ({"columns": [{**NUMBER, "mean": 1}]}, "has a column"),
        ({"columns": [{**NUMBER, "more": "x"}]}, "has a column"),
        (
            {"columns": [{"name": "a", "kind": "bucketed"}]},
            "columns of a kind that this version does not know: 'bucketed'",
        ),
        ({"columns": [NUMBER, NUMBER]}, "has one column several times"),
        ({"columns": [NUMBER, {"name": "y", "kind": "label"}, {"name": "z", "kind": "label"}]}, "several times"),
        ({"value_columns": ["city", "city"]}, "has one column several times"),
        ({"value_columns": [1]}, "has value_columns that are no names"),
        ({"value_columns": None}, "has no value_columns, or one of the wrong type"),
        ({"named": 1}, "has no named, or one of the wrong type"),
        ({"hash_bits": True}, "has no hash_bits, or one of the wrong type"),
        ({"hash_bits": 0}, "has hash_bits 0"),
        ({"hash_bits": 31}, "has hash_bits 31"),
        ({"hash_bits": 4.0}, "has no hash_bits"),
        ({"label": []}, "has no label, or one of the wrong type"),
        ({"seen": None}, "has no seen"),
        ({"min_count": "1"}, "has no min_count"),
        ({"min_count": False}, "has no min_count"),
        ({"crossed": []}, "the model holds a schema that this version does not know: 'crossed'"),
    ],
)
def test_what_can_be_no_schema_is_refused(changes, expected):
    with pytest.raises(ModelError) as caught:
        through_json(made(), **changes)
    assert expected in str(caught.value)


@pytest.mark.parametrize("found", [1, "x", [], None, {}, {"columns": None}])
def test_what_is_no_object_of_a_schema_is_refused(found):
    with pytest.raises(ModelError, match="damaged: its schema"):
        Schema.from_dict(found, {})


def test_tensors_that_can_be_of_no_schema_are_refused():
    plain, hashed = made(), made(Hashed(5, np.zeros(4, np.uint8)))
    for name in plain.tensors:
        for bad in (
            {n: t for n, t in plain.tensors.items() if n != name},
            {**plain.tensors, name: plain.tensors[name].astype(np.float32)},
            {**plain.tensors, name: plain.tensors[name][:-1]},
            {**plain.tensors, name: plain.tensors[name][None]},
        ):
            with pytest.raises(ModelError):
                Schema.from_dict(plain.as_dict(), bad)
    for bad in (np.zeros(3, np.uint8), np.zeros(4, np.int64), np.zeros((2, 2), np.uint8)):
        with pytest.raises(ModelError, match="has a tensor 'kept' of"):
            Schema.from_dict(hashed.as_dict(), {"kept": bad})
    with pytest.raises(ModelError, match="the list of categorical values has columns, ends, more, slots, texts"):
        Schema.from_dict(plain.as_dict(), {**plain.tensors, "values.more": np.zeros(1, np.uint8)})
    for schema, name in ((plain, "kept"), (plain, "more"), (hashed, "values.texts")):
        with pytest.raises(ModelError, match=f"has a tensor '{name}' that this version does not know"):
            Schema.from_dict(schema.as_dict(), {**schema.tensors, name: np.zeros(4, np.uint8)})


def test_values_of_a_column_without_a_name_are_refused_where_they_are_met():
    schema = through_json(made(), value_columns=["city"])
    encoder = schema.encoder()
    assert encoder.values.find("city", ["Oslo"]).tolist() == [2]
    names = FeatureNames.of_schema(schema)
    assert names.get(9) == "city=Rome"
    for read in (lambda: names.get(10), lambda: names.exclusive(20), lambda: list(names)):
        with pytest.raises(ModelError, match="damaged: a categorical value is of column 1; there are 1"):
            read()


@pytest.mark.parametrize(
    "found",
    [
        {"seen": {"age": 3}},
        {"seen": {"age": {"min": "low"}}},
        {"seen": {"age": {"min": float("inf")}}},
        {"seen": {"age": {"other": 1}}},
        {"seen": {"age": {"missing": True}}},
        {"label": {"name": 3}},
        {"label": {"classes": [1, 2, 3]}},
        {"label": {"range": "wide"}},
        {"label": {"range": [0, 10**400]}},
        {"label": {"other": 1}},
    ],
)
def test_what_training_cannot_have_seen_is_refused(found):
    whole = Schema.of(Encoder(columns=[Column("age", NUMERIC)])).as_dict()
    with pytest.raises(ModelError, match="what training cannot have seen of columns"):
        Schema.from_dict({**whole, **found}, {})


EDGES = np.array([0.1, 1 / 3, -0.5, 2e30])
AGE_AND_PAY = {"age": Buckets(EDGES[:2], missing=True), "pay": Buckets(EDGES[2:])}


def in_buckets(values=None, buckets=AGE_AND_PAY):
    encoder = Encoder(listed() if values is None else values, COLUMNS)
    encoder.know_buckets(buckets)
    return Schema.of(encoder)


@pytest.mark.parametrize("values", [None, Hashed(5), Listed()])
def test_buckets_come_back_to_the_bit_and_are_features_of_their_column(values):
    schema = in_buckets(values)
    again = through_json(schema)
    assert {name: (each.edges.tolist(), each.missing) for name, each in again.buckets().items()} == {
        "age": ([0.1, 1 / 3], True),
        "pay": ([-0.5, 2e30], False),
    }
    assert again.buckets()["age"].edges.tobytes() == EDGES[:2].tobytes()
    names = names_of(again)[:9]
    assert names[:5] == ["age", "age in (-inf,0.1)", "age in [0.1,0.3333333333333333)", names[3], "age missing"]
    assert names[5:9] == ["pay", "pay in (-inf,-0.5)", "pay in [-0.5,2e+30)", "pay in [2e+30,inf)"]
    of_pay = FeatureNames.of_schema(again).of_column("pay")
    assert of_pay == {5: "pay", 6: "(-inf,-0.5)", 7: "[-0.5,2e+30)", 8: "[2e+30,inf)"}
    encoder = again.encoder()
    assert encoder.fixed == 9 + 4 + 3
    assert [encoder.first(column) for column in COLUMNS if column.is_feature] == [0, 5, 9, 16, 16]
    again.require_fits(encoder.feature_dim)
    with pytest.raises(ModelError, match="features, but the model"):
        again.require_fits(encoder.feature_dim - 1)


def test_a_column_without_buckets_is_as_before():
    some = in_buckets(buckets={"pay": AGE_AND_PAY["pay"]})
    assert list(through_json(some).buckets()) == ["pay"]
    assert in_buckets(buckets={}).tensors.keys() == made().tensors.keys()


def test_buckets_of_one_column_exclude_each_other_but_not_its_value():
    exclusive = FeatureNames.of_schema(in_buckets()).exclusive(21).tolist()
    assert exclusive[:9] == [TOGETHER, 2, 2, 2, 2, TOGETHER, 3, 3, 3]
    assert exclusive[16:] == [0, TOGETHER, 0, TOGETHER, TOGETHER]
    alone = FeatureNames.of_schema(in_buckets(Listed())).exclusive(17).tolist()
    assert alone[:9] == [TOGETHER, 0, 0, 0, 0, TOGETHER, 1, 1, 1]
    assert set(alone[9:]) == {TOGETHER}


@pytest.mark.parametrize(
    "tensors",
    [
        {"buckets.edges": EDGES},
        {"buckets.edges": EDGES.astype(np.float32)},
        {"buckets.edges": EDGES[::-1].copy()},
        {"buckets.edges": np.array([0.1, 0.1, -0.5, 2])},
        {"buckets.edges": np.array([0.1, np.nan, -0.5, 2])},
        {"buckets.edges": np.array([0.1, np.inf, -0.5, 2])},
        {"buckets.edges": EDGES[:3]},
        {"buckets.edges": EDGES[None]},
        {"buckets.ends": np.array([2, 5])},
        {"buckets.ends": np.array([5, 4])},
        {"buckets.ends": np.array([-1, 4])},
        {"buckets.ends": np.array([4])},
        {"buckets.ends": np.array([2, 4], np.int32)},
        {"buckets.missing": np.array([2, 0], np.uint8)},
        {"buckets.missing": np.zeros(3, np.uint8)},
    ],
)
def test_tensors_that_can_be_no_buckets_are_refused(tensors):
    schema = in_buckets()
    bad = {**schema.tensors, **tensors}
    if tensors.keys() == {"buckets.edges"} and tensors["buckets.edges"] is EDGES:
        del bad["buckets.ends"]
    with pytest.raises(ModelError, match="damaged: its schema has"):
        Schema.from_dict(schema.as_dict(), bad)


def test_buckets_of_rows_with_indices_are_refused():
    whole = Schema.of(Encoder(learns=False))
    with pytest.raises(ModelError, match="that this version does not know"):
        Schema.from_dict(whole.as_dict(), {"buckets.edges": EDGES})
