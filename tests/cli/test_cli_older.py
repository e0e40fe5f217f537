"""Models of tables that fmkit wrote in format 1, without their columns: the same scores, and what cannot be checked.

The golden files were trained on these rows, with values such as 007, 7.0, 7, True and NA taken as they are written:

    fm train train.csv --label-column bought --positive-label yes --id-column id --categorical city,zip,when \\
        --predictor-type binary_classifier --epochs 5 --num-factors 2 --vocabulary v.tsv -o table-v1.fm

and with --hash-bits 4 instead of --vocabulary for hashed-v1.fm.
"""

import pytest
from shell import ROOT, last_line

from fmcore.model import file as modelfile

GOLDEN = ROOT / "tests" / "golden"
TRAIN = """\
id,age,city,zip,when,bought
a,1.5,Rome,007,1.0,yes
b,,Oslo,010,2,no
c,3,"Rome",007,1.0,no
d,0,NA,010,True,yes
e,2,True,7.0,2,yes
f,1,7,7,1,no
"""
TEST = """\
id,age,city,zip,when,bought
x,2,Rome,007,1,no
y,2,Lima,010,2,yes
z,1,7.0,7,True,no
"""
SCORES = {  # by the version that wrote them
    "table-v1": "id,score,predicted_label\nx,0.46603832,0\ny,0.4604918,0\nz,0.49468365,0\n",
    "hashed-v1": "id,score,predicted_label\nx,0.5200691,1\ny,0.4552298,0\nz,0.46918592,0\n",
}
UNCHECKED = "note: an earlier fmkit wrote the model, without its columns: their names and order cannot be checked"


@pytest.fixture
def old(fm):
    """Return the command in a folder with the models, the vocabulary that one of them names, and rows."""
    for name in SCORES:
        fm.write(f"{name}.fm", (GOLDEN / f"{name}.fm").read_bytes())
    fm.write("v.tsv", (GOLDEN / "table-v1.tsv").read_bytes())
    fm.write("train.csv", TRAIN)
    fm.write("test.csv", TEST)
    return fm


def scores_of(text):
    return [float(line.split(",")[1]) for line in text.splitlines()[1:]]


@pytest.mark.parametrize("name", SCORES)
def test_older_models_score_as_they_did(old, name):
    done = old("predict", f"{name}.fm", "test.csv", "--to", "csv")
    assert done.out == SCORES[name]
    assert done.err.startswith(UNCHECKED)
    assert ("nor that v.tsv is the vocabulary of training" in done.err) == (name == "table-v1")
    order = (5, 2, 1, 4, 3, 0)
    moved = [",".join(line.split(",")[n] for n in order) for line in TEST.splitlines()]
    found = old("predict", f"{name}.fm", "--to", "csv", stdin="\n".join(moved)).out
    assert scores_of(found) == pytest.approx(
        scores_of(SCORES[name]), rel=1e-6
    )  # its columns are added in another order
    assert UNCHECKED in old("eval", f"{name}.fm", "test.csv").err


def test_an_older_model_needs_the_vocabulary_that_it_names(old):
    (old.folder / "v.tsv").rename(old.folder / "w.tsv")
    printed = old("predict", "table-v1.fm", "test.csv", code=2).err
    assert last_line(printed).startswith("fm: the vocabulary v.tsv does not exist; name the one of the training rows")
    assert old("predict", "table-v1.fm", "test.csv", "--vocabulary", "w.tsv", "--to", "csv").out == SCORES["table-v1"]
    assert "city=Rome" in old("inspect", "table-v1.fm", "--vocabulary", "w.tsv", "--top", 20).out
    assert "city=Rome" not in old("inspect", "table-v1.fm", "--top", 20).out


def test_a_warm_start_from_an_older_model_knows_its_columns(old):
    printed = old("train", "test.csv", "--init-model", "table-v1.fm", "-o", "x.fm").err
    assert UNCHECKED in printed
    assert "values added to the vocabulary: 2" in printed
    model = modelfile.load(old.folder / "x.fm")
    assert [column.kind for column in model.schema.columns] == ["id", "numeric", *["categorical"] * 3, "label"]
    (old.folder / "v.tsv").unlink()
    done = old("predict", "x.fm", "test.csv", "--to", "csv")
    assert UNCHECKED not in done.err
    assert "unknown values" not in done.err
    swapped = TEST.replace("city,zip", "zip,city")
    assert old("predict", "x.fm", "--to", "csv", stdin=swapped).out != done.out


@pytest.mark.parametrize("name", SCORES)
def test_what_the_options_of_an_older_model_say_is_not_contradicted(old, name):
    printed = old("train", "train.csv", "--init-model", f"{name}.fm", "--categorical", "city", "-o", "x.fm", code=2).err
    assert "categorical is ['city'], but ['city', 'zip', 'when'] in the model" in printed
    assert old("predict", f"{name}.fm", stdin="id,age,city,zip\n1,2,x,y\n", code=2).err.endswith(
        "fm: no column 'when'; the columns found are: 0 id, 1 age, 2 city, 3 zip\n"
    )
