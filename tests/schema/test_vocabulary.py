"""Which encoder a run takes: of a model, of a vocabulary file, or new."""

from pathlib import Path

import numpy as np
import pytest

from fmcore.errors import DataError, UsageError
from fmcore.schema.buckets import Buckets
from fmcore.schema.columns import CATEGORICAL, LABEL, LIST, NUMERIC, Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.options import TableOptions
from fmcore.schema.schema import Schema
from fmcore.schema.vocabulary import encoder_of, new_encoder

HEADER = "index\tcolumn\tvalue\n"
FILE = HEADER + "0\tage\t\n1\tcity\tRome\n2\tcity\tOslo\n"


@pytest.fixture
def path(tmp_path):
    """Return the path of a vocabulary file."""
    file = tmp_path / "v.tsv"
    file.write_text(FILE)
    return str(file)


def entries(encoder):
    return [encoder.values.entry(index) for index in range(len(encoder.values))]


def schema_of(values=None):
    columns = (Column("age", NUMERIC), Column("city", CATEGORICAL), Column("y", LABEL))
    listed = Listed()
    for value in ("Rome", "Oslo"):
        listed.add("city", value)
    return Schema.of(Encoder(listed if values is None else values, columns))


# ---------------------------------------------------------------------------------------------------- new models
def test_a_new_encoder_lists_values_unless_they_are_hashed():
    plain, hashed = new_encoder(TableOptions()), new_encoder(TableOptions(hash_bits=4), kept=False)
    assert (type(plain.values), plain.grows, plain.learns, plain.output) == (Listed, True, True, None)
    assert (type(hashed.values), hashed.values.bits, hashed.barred) == (Hashed, 4, None)
    assert "--vocabulary FILE" in new_encoder(TableOptions(), kept=False).barred
    assert "which pipes do not give" in new_encoder(TableOptions(), streamed=True).barred


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"vocabulary": "v", "hash_bits": 4}, "--vocabulary and --hash-bits exclude each other"),
        ({"hash_bits": 0}, "--hash-bits is 0; expected 1 to 30"),
        ({"hash_bits": 31}, "--hash-bits is 31; expected 1 to 30"),
        ({"vocabulary_mode": "new"}, "--vocabulary-mode says what becomes of a vocabulary file; name one with --vocab"),
        (
            {"vocabulary": "none", "vocabulary_mode": "fixed"},
            "the vocabulary none does not exist, so it cannot be fixed",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, expected):
    with pytest.raises(UsageError) as caught:
        new_encoder(TableOptions(**options))
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("mode", ["new", "grow", "fixed"])
def test_a_vocabulary_that_does_not_exist_is_built(tmp_path, mode):
    missing = str(tmp_path / "none.tsv")
    encoder = new_encoder(TableOptions(vocabulary=missing), mode=mode)
    assert (entries(encoder), encoder.grows, encoder.output, encoder.barred) == ([], True, missing, None)


def test_a_vocabulary_that_exists_is_replaced_grows_or_stays(path):
    for given in (TableOptions(vocabulary=path), TableOptions(vocabulary=path, vocabulary_mode="grow")):
        grows = new_encoder(given)
        assert (entries(grows), grows.grows, grows.output) == ([("city", "Rome"), ("city", "Oslo")], True, path)
    new = new_encoder(TableOptions(vocabulary=path, vocabulary_mode="new"), mode="fixed")
    assert (entries(new), new.grows, new.output) == ([], True, path)
    for fixed in (
        new_encoder(TableOptions(vocabulary=path), mode="fixed", kept=False),
        new_encoder(TableOptions(vocabulary=path, vocabulary_mode="fixed"), streamed=True),
    ):
        assert (len(entries(fixed)), fixed.grows, fixed.output, fixed.barred) == (2, False, None, None)


# ------------------------------------------------------------------------------------------------ models that are
def test_a_model_brings_its_encoder():
    encoder = encoder_of(schema_of(), TableOptions(), features=3)
    assert (entries(encoder), encoder.grows, encoder.learns) == ([("city", "Rome"), ("city", "Oslo")], False, False)
    growing = encoder_of(schema_of(), TableOptions(vocabulary="v.tsv"), features=3, grows=True)
    assert (growing.grows, growing.output) == (True, "v.tsv")
    hashed = encoder_of(schema_of(Hashed(4)), TableOptions(hash_bits=4), features=17)
    assert hashed.values.bits == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"numeric": ("city",)}, "column 'city' is numeric by the options, but categorical in the model; leave it out"),
        ({"ignore": ("age",)}, "column 'age' is ignored by the options, but numeric in the model; leave it out"),
        ({"hash_bits": 4}, "--hash-bits is 4, but the model lists values; leave it out"),
    ],
)
def test_options_that_contradict_the_model_are_refused(options, expected):
    with pytest.raises(UsageError) as caught:
        encoder_of(schema_of(), TableOptions(**options), features=3)
    assert str(caught.value).startswith(expected)


def test_hash_bits_that_contradict_the_model_are_refused():
    with pytest.raises(UsageError, match="--hash-bits is 5, but the model hashes values into 4 bits"):
        encoder_of(schema_of(Hashed(4)), TableOptions(hash_bits=5), features=17)


def test_the_mode_of_a_vocabulary_says_whether_a_model_learns_values():
    def grows(mode, *, grows):
        return encoder_of(schema_of(), TableOptions(vocabulary_mode=mode), features=3, grows=grows).grows

    assert [grows(mode, grows=True) for mode in (None, "grow", "fixed")] == [True, True, False]
    assert [grows(mode, grows=False) for mode in (None, "fixed")] == [False, False]
    with pytest.raises(UsageError, match="--vocabulary-mode new is for new models"):
        grows("new", grows=True)
    with pytest.raises(UsageError, match="--vocabulary-mode grow is for training on files"):
        grows("grow", grows=False)


def test_lists_that_came_without_a_separator_may_be_given_one():
    columns = (Column("g", LIST), Column("h", LIST, mean=True), Column("k", LIST, ";"))
    schema = Schema.of(Encoder(columns=columns))

    def found(*lists):
        return [column.separator for column in encoder_of(schema, TableOptions(lists=lists), features=3).columns]

    assert found() == ["", "", ";"]
    assert found("g:|", "h:,:mean", "k:;") == ["|", ",", ";"]
    for text in ("g:|:mean", "h:,", "k:|"):
        with pytest.raises(
            UsageError, match=f"column '{text[0]}' is a list separated by .* by the options, but a list"
        ):
            found(text)


def test_the_vocabulary_of_the_model_may_be_named_and_no_other(path, tmp_path):
    encoder_of(schema_of(), TableOptions(vocabulary=path), features=3)
    other = tmp_path / "other.tsv"
    for content in (
        HEADER + "0\tage\t\n1\tcity\tOslo\n2\tcity\tRome\n",  # permuted
        HEADER + "0\tage\t\n1\tcity\tRome\n2\tcity\tBern\n",
        HEADER + "0\tage\t\n1\ttown\tRome\n2\ttown\tOslo\n",
        FILE + "3\tcity\tBern\n",
    ):
        other.write_text(content)
        with pytest.raises(UsageError, match=r"other\.tsv is not the one that the model holds; leave it out"):
            encoder_of(schema_of(), TableOptions(vocabulary=str(other)), features=3)
    other.write_text(HEADER + "0\tage\t\n1\tcity\tRome\n")  # what the model began with
    encoder_of(schema_of(), TableOptions(vocabulary=str(other)), features=3)
    with pytest.raises(DataError, match=r"gone: cannot be read: No such file"):
        encoder_of(schema_of(), TableOptions(vocabulary=str(tmp_path / "gone")), features=3)


def test_a_model_of_indices_knows_how_many_there_are():
    for schema in (None, Schema.of(Encoder(learns=False))):
        encoder = encoder_of(schema, TableOptions(), features=7, of_tables=False)
        assert (encoder.indexed, encoder.columns, encoder.grows) == (7, None, False)


# ------------------------------------------------------------------------------------------------ models of format 1
def test_a_model_without_a_schema_goes_by_the_options_that_it_keeps(path):
    encoder = encoder_of(None, TableOptions(vocabulary=path), features=3)
    assert (entries(encoder), encoder.grows, encoder.learns) == ([("city", "Rome"), ("city", "Oslo")], False, False)
    growing = encoder_of(None, TableOptions(vocabulary=path), features=3, grows=True)
    assert (growing.grows, growing.output) == (True, path)
    assert encoder_of(None, TableOptions(hash_bits=4), features=17).values.bits == 4
    assert encoder_of(None, TableOptions(), features=3).barred.startswith("need either --vocabulary FILE")


def test_a_model_without_a_schema_needs_the_vocabulary_that_it_names(tmp_path):
    missing = str(tmp_path / "none.tsv")
    with pytest.raises(UsageError, match=r"none\.tsv does not exist; name the one of the training rows"):
        encoder_of(None, TableOptions(vocabulary=missing), features=3)


# ------------------------------------------------------------------------------------------------------- buckets
BUCKETS = HEADER + "0\tage\t\n1\tage\t(-inf,30)\n2\tage\t[30,inf)\n3\tcity\tRome\n4\tcity\tOslo\n"


def in_buckets():
    encoder = schema_of().encoder()
    encoder.know_buckets({"age": Buckets(np.array([30.0]))})
    return Schema.of(encoder)


def test_a_vocabulary_brings_its_buckets(path):
    Path(path).write_text(BUCKETS)
    for mode in ("fixed", "grow"):
        encoder = new_encoder(TableOptions(vocabulary=path, buckets="auto"), mode=mode)
        assert encoder.buckets["age"].texts() == ("(-inf,30)", "[30,inf)")
        assert len(encoder.values) == 2
    assert new_encoder(TableOptions(vocabulary=path, buckets="auto"), mode="new").buckets == {}


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (BUCKETS, {"buckets": 8}, "--buckets is 8, but the vocabulary v.tsv has buckets, whose edges are kept; leave"),
        (BUCKETS, {"buckets": "none"}, "--buckets is none, but the vocabulary v.tsv has buckets"),
        (BUCKETS, {"buckets_for": ("age",)}, "--buckets-for is given, but the vocabulary v.tsv has buckets"),
        (FILE, {"buckets": 8}, "--buckets is 8, but the vocabulary v.tsv has no buckets; leave it out"),
    ],
)
def test_other_buckets_than_those_of_a_vocabulary_are_refused(tmp_path, monkeypatch, content, options, expected):
    monkeypatch.chdir(tmp_path)
    Path("v.tsv").write_text(content)
    with pytest.raises(UsageError) as caught:
        new_encoder(TableOptions(vocabulary="v.tsv", **options))
    assert str(caught.value).startswith(expected)


def test_rows_that_no_model_keeps_have_buckets_only_with_a_vocabulary():
    for options in ({"buckets": "auto"}, {"buckets": 4}, {"buckets_for": ("age",)}):
        with pytest.raises(
            UsageError, match="buckets of columns need --vocabulary FILE, which keeps their edges for other rows"
        ):
            new_encoder(TableOptions(**options), kept=False)
    new_encoder(TableOptions(buckets="none"), kept=False)
    new_encoder(TableOptions(buckets="auto"))


@pytest.mark.parametrize(
    ("schema", "options", "expected"),
    [
        (in_buckets, {"buckets": 8}, "--buckets is 8, but the model has buckets, whose edges are kept; leave it out"),
        (in_buckets, {"buckets": "none"}, "--buckets is none, but the model has buckets"),
        (in_buckets, {"buckets_for": ("age",)}, "--buckets-for is given, but the model has buckets"),
        (schema_of, {"buckets": "auto"}, "--buckets is auto, but the model has no buckets"),
        (schema_of, {"buckets_for": ("age",)}, "--buckets-for is given, but the model has no buckets"),
    ],
)
def test_other_buckets_than_those_of_a_model_are_refused(schema, options, expected):
    with pytest.raises(UsageError) as caught:
        encoder_of(schema(), TableOptions(**options), features=9)
    assert str(caught.value).startswith(expected)


def test_the_vocabulary_of_a_model_lists_its_buckets(path):
    Path(path).write_text(BUCKETS)
    encoder = encoder_of(in_buckets(), TableOptions(vocabulary=path, buckets="auto"), features=9)
    assert encoder.buckets["age"].edges.tolist() == [30]
    encoder_of(schema_of(), TableOptions(buckets="none"), features=9)
    for content in (FILE, BUCKETS.replace("30", "31")):
        Path(path).write_text(content)
        with pytest.raises(UsageError, match="is not the one that the model holds"):
            encoder_of(in_buckets(), TableOptions(vocabulary=path), features=9)
    Path(path).write_text(BUCKETS)
    with pytest.raises(UsageError, match="is not the one that the model holds"):
        encoder_of(schema_of(), TableOptions(vocabulary=path), features=9)
