"""Models, vocabularies, checkpoints and studies from strangers: every command refuses in a sentence what it cannot use.

What is wrong with the bytes of a model file, test_modelfile_damage.py has; with an archive, sagemaker/test_9. Here the
files are sound in form, checksums and all, and wrong in content.
"""

import asyncio
import json
import os
import resource
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from archives import refused
from models import HYPERPARAMETERS
from serving import ask

from fmcli.console import printable
from fmcli.main import exit_code
from fmcli.server import Settings
from fmcli.server.app import application
from fmcore import api
from fmcore.errors import DataError, ModelError, UsageError
from fmcore.hyper.params import Hyperparameters
from fmcore.model import file as modelfile
from fmcore.model import header as modelheader
from fmcore.model.model import Model
from fmcore.optimizers import OPTIMIZERS
from fmcore.schema import vocabulary_file
from fmcore.schema.columns import Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.schema import Schema
from fmcore.training import checkpoint
from fmcore.tuning import storage
from fmcore.tuning.dimensions import Choice, Range
from fmcore.tuning.space import search_space
from fmcore.tuning.study import open_study

SHAPES = {"bias": (1,), "linear": (5,), "factors": (5, 3)}
COMMANDS = {
    "predict": ("rows.svm",),
    "eval": ("rows.svm",),
    "inspect": ("--json",),
    "export": (),
    "serve": ("--port", "0"),
}
EPOCH = {"epoch": 1, "train": {"rmse": 1.0}}


@pytest.fixture
def run(tmp_path, monkeypatch, capfdbinary):
    """Provide a function that runs a command on m.fm in an empty folder: (exit code, output, what was printed)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.svm").write_text("1 0:1 2:1\n0 1:1\n")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")

    def command(name, *arguments):
        code = exit_code([name, *arguments])
        found = capfdbinary.readouterr()
        return code, found.out, found.err.decode()

    return command


def sealed(path, tensors=None, **changes):
    """Write a model file whose header checksum is right; tensors: name -> array, beside or instead of the usual."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()} | (tensors or {})
    table = modelheader.layout(arrays, "factors")
    content = {"feature_dim": 5, "hyperparameters": HYPERPARAMETERS, "info": {}, "checksum": "", **changes}
    path.write_bytes(modelheader.encode(table, content) + b"".join(arrays[name].tobytes() for name in table))


def refuses(run, problem, *commands):
    """Each command ends with exit code 4, one line that holds the problem, and nothing on standard output."""
    before = sorted(Path.cwd().iterdir())
    for name in commands or COMMANDS:
        code, out, printed = run(name, "m.fm", *COMMANDS[name])
        assert (code, out) == (4, b""), (name, printed)
        assert problem in printed, name
        assert (printed.startswith("fm: "), printed.count("\n")) == (True, 1)
    assert sorted(Path.cwd().iterdir()) == before


# ------------------------------------------------------------------------------------------------ what a header holds
@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"input": "abc"}, "its read options are no JSON object"),
        ({"input": []}, "no JSON object"),
        ({"input": {"table": [1]}}, "table is [1] among its read options"),
        ({"input": {"format": "csv"}}, "read options that this version does not know: 'format'"),
        ({"input": {"threads": 10**9}}, "does not know: 'threads'"),
        ({"input": {"on_error": "skip"}}, "does not know"),
        ({"input": {"index_base": {}}}, "index_base is {} among its read options"),
        ({"input": {"index_base": "2"}}, "index_base is '2'"),
        ({"input": {"binary": "yes"}}, "binary is 'yes'"),
        ({"input": {"positive": []}}, "positive is []"),
        ({"input": {"table": {"columns": 3}}}, "does not know: 'columns'"),
        ({"input": {"table": {"label": 5}}}, "label is 5 among its options of tables"),
        ({"input": {"table": {"categorical": 7}}}, "categorical is 7"),
        ({"input": {"table": {"ignore": [[]]}}}, "ignore is"),
        ({"input": {"table": {"missing_values": "NA"}}}, "missing_values is 'NA'"),
        ({"input": {"table": {"missing_values": [1]}}}, "missing_values is [1]"),
        ({"input": {"table": {"quotes": "x"}}}, "quotes is 'x'"),
        ({"input": {"table": {"delimiter": 7}}}, "delimiter is 7"),
        ({"input": {"table": {"vocabulary": 7}}}, "vocabulary is 7"),
        ({"input": {"table": {"missing": "x"}}}, "missing is"),
        ({"input": {"table": {"hash_bits": 99}}}, "hash_bits is 99"),
        ({"input": {"table": {"hash_bits": "8"}}}, "hash_bits is '8'"),
        ({"input": {"table": {"label": "x" * 10**6, "missing": "y" * 10**6}}}, "missing is 'yyyyy"),
        ({"epochs": 7}, "no list of metrics"),
        ({"epochs": [1]}, "no list of metrics"),
        ({"epochs": [{}]}, "no list"),
        ({"epochs": [{**EPOCH, "train": [1]}]}, "no list"),
        ({"epochs": [{**EPOCH, "test": {"rmse": "x"}}]}, "no list"),
        ({"epochs": [{**EPOCH, "train": {"rmse": 10**400}}]}, "no list"),
        ({"epochs": [EPOCH], "best_epoch": "x"}, "best_epoch is 'x'"),
        ({"epochs": [EPOCH], "best_epoch": 2}, "best_epoch is 2"),
        ({"best_epoch": 1}, "best_epoch is 1; it has 0 epochs"),
        ({"checkpoint": 1}, "a checkpoint of training, not a model"),
    ],
)
def test_info_that_commands_cannot_use_is_refused(run, tmp_path, info, problem):
    sealed(tmp_path / "m.fm", info=info)
    refuses(run, problem)


SCHEMA = Schema.of(Encoder(columns=[Column("a", "numeric"), Column("b", "numeric")])).as_dict()


@pytest.mark.parametrize(
    ("schema", "tensors", "problem"),
    [
        (5, {}, "its schema is not a JSON object"),
        ({}, {}, "its schema has no columns"),
        ({**SCHEMA, "hash_bits": 99}, {}, "its schema has hash_bits 99"),
        ({**SCHEMA, "hash_bits": 9}, {}, "its schema has 514 features, but the model 5"),
        ({**SCHEMA, "columns": SCHEMA["columns"] * 2}, {}, "its schema has one column several times"),
        ({**SCHEMA, "columns": SCHEMA["columns"] + [{"name": "\x1b[2J", "kind": "\x1b[2J"}]}, {}, r"know: '\x1b[2J'"),
        ({**SCHEMA, "more": 1}, {}, "a schema that this version does not know: 'more'"),
        (SCHEMA, {"schema.kept": np.zeros(1, np.uint8)}, "its schema has a tensor 'kept'"),
        (SCHEMA, {"schema.values.texts": np.zeros(1, np.uint8)}, "the list of categorical values has texts; expected"),
        (None, {"schema.kept": np.zeros(1, np.uint8)}, "it has tensors kept of a schema, but no schema"),
    ],
)
def test_schemas_that_commands_cannot_use_are_refused(run, tmp_path, schema, tensors, problem):
    sealed(tmp_path / "m.fm", tensors, schema=schema)
    refuses(run, problem)


def test_info_that_no_command_uses_is_accepted(run, tmp_path):
    sealed(tmp_path / "m.fm", info={"epochs": [EPOCH], "what": [{"ever": None}], "imported": 7})
    for name in ("predict", "inspect", "export"):
        assert run(name, "m.fm", *COMMANDS[name])[0] == 0


@pytest.mark.parametrize(
    ("tensors", "changes", "problem"),
    [
        (
            {},
            {"hyperparameters": {**HYPERPARAMETERS, "feature_dim": 7}},
            "feature_dim is 7 among the hyperparameters, and",
        ),
        ({}, {"hyperparameters": {**HYPERPARAMETERS, "num_factors": 2}}, "expected F32 [5, 2]"),
        ({"state.x": np.zeros((0, 3), np.float32), "y": np.zeros(0, np.float32)}, {}, "unknown tensor 'y'"),
        ({"y\n\x1b[2J": np.zeros(1, np.float32)}, {}, r"unknown tensor 'y\n\x1b[2J'"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(run, tmp_path, tensors, changes, problem):
    sealed(tmp_path / "m.fm", tensors, **changes)
    refuses(run, problem)


@pytest.mark.parametrize("shape", [(0, 2**62), (0, 2**40, 2**40), (2**62, 0), (0, 2**63 - 1, 2**63 - 1)])
def test_an_empty_tensor_of_an_impossible_shape_is_refused(run, tmp_path, shape):
    table = modelheader.layout({name: np.zeros(size, np.float32) for name, size in SHAPES.items()}, "factors")
    end = max(tensor.end for tensor in table.values())
    table["state.x"] = modelheader.TensorEntry("F32", shape, end, end)
    content = {"feature_dim": 5, "hyperparameters": HYPERPARAMETERS, "info": {}, "checksum": ""}
    (tmp_path / "m.fm").write_bytes(modelheader.encode(table, content) + bytes(end))
    refuses(run, "which no file can hold")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, '"nan"', "[]"])
def test_hyperparameters_that_are_no_finite_numbers_are_refused(run, tmp_path, name):
    text = json.dumps(
        {
            "format_version": 1,
            "feature_dim": 5,
            "hyperparameters": {**HYPERPARAMETERS, "eps": "X"},
            "info": {},
            "checksum": "",
            "header_checksum": "",
        }
    ).replace('"X"', name)
    table = {
        key: {"dtype": "F32", "shape": shape, "data_offsets": at}
        for (key, shape), at in zip(SHAPES.items(), ([0, 4], [4, 24], [24, 84]), strict=True)
    }
    head = json.dumps({"__metadata__": {"fmkit": text}, **table}).encode()
    head += b" " * (-len(head) % 8)
    (tmp_path / "m.fm").write_bytes(len(head).to_bytes(8, "little") + head + bytes(84))
    refuses(run, "damaged")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to a limit")
def test_a_hostile_file_takes_little_memory(fm):
    """Refuse heads of 100 MB, of 6 MB of brackets, and files of holes: with 600 MB each ends with 4, not for lack of it."""
    brackets = json.dumps({"format_version": 1, "info": {"a": "X"}}).replace('"X"', "[" + "[]," * (2 << 20) + "1]")
    head = json.dumps({"__metadata__": {"fmkit": brackets}}).encode()
    fm.write("long", (10**8).to_bytes(8, "little") + b"{" + b"[" * 10**8)
    fm.write("wide", len(head).to_bytes(8, "little") + head)
    for name, begin in (("holes", b""), ("head", (10**8).to_bytes(8, "little") + b"{"), ("archive", b"\x1f\x8b\x08")):
        fm.write(name, begin)
        os.truncate(fm.folder / name, 1 << 36)
    for name in ("long", "wide", "holes", "head"):
        for command in ("predict", "import"):
            options = ("-o", "x.fm") if command == "import" else ()
            process = fm.start(
                command,
                name,
                *options,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (600 << 20, 600 << 20)),
            )
            printed = process.communicate()[1].decode()
            assert process.returncode == 4, printed
            assert printed.count("\n") == 1
    assert fm.files() == ["archive", "head", "holes", "long", "wide"]


# ------------------------------------------------------------------------------------------------- what is not finite
@pytest.mark.parametrize(
    ("group", "place", "value"),
    [
        ("bias", 0, np.nan),
        ("bias", 0, np.inf),
        ("linear", 2, np.nan),
        ("linear", 0, -np.inf),
        ("factors", (1, 2), np.nan),
    ],
)
def test_weights_that_are_not_finite_are_refused(run, tmp_path, group, place, value):
    array = np.zeros(SHAPES[group], np.float32)
    array[place] = value
    sealed(tmp_path / "m.fm", {group: array})
    where = ", ".join(map(str, np.atleast_1d(place)))
    problem = f"{group}[{where}] is {value}, and a model holds finite numbers only"
    refuses(run, problem, "predict", "eval", "inspect", "export")
    code, out, printed = run("inspect", "m.fm", "--verify")
    assert (code, out) == (4, b"")
    assert "checksum" in printed
    for to in ("csv", "json", "jsonlines", "recordio"):
        assert run("predict", "m.fm", "rows.svm", "--to", to, "-o", "out")[0] == 4
    assert not (tmp_path / "out").exists()

    async def scenario():
        app = application(api.Scorer(api.load("m.fm")), Settings())
        return await ask(app, "POST", "/invocations", b'{"instances": [{"features": [1, 1, 1, 1, 1]}]}')

    status, _, body = asyncio.run(scenario())
    assert (status, problem in body.decode()) == (500, True)


def test_rows_that_touch_no_number_that_is_not_finite_are_scored(run, tmp_path):
    """Score, as the file is not read as a whole before each prediction."""
    linear = np.array([1, 2, np.nan, 0, 0], np.float32)
    sealed(tmp_path / "m.fm", {"linear": linear}, hyperparameters={**HYPERPARAMETERS, "predictor_type": "regressor"})
    (tmp_path / "rows.svm").write_text("1 0:1 1:1\n0 1:1\n")
    assert run("predict", "m.fm", "rows.svm")[:2] == (0, b"3\n2\n")


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
def test_scores_beyond_float32_are_reported_with_their_row(run, tmp_path, kind):
    sealed(
        tmp_path / "m.fm",
        {"linear": np.full(5, 3e38, np.float32)},
        hyperparameters={**HYPERPARAMETERS, "predictor_type": kind},
    )
    (tmp_path / "rows.svm").write_text("1 0:1\n0 0:1 1:1\n")
    for command in ("predict", "eval"):
        code, _, printed = run(command, "m.fm", "rows.svm")
        assert code == 3
        assert printed == (
            "fm: rows.svm, line 2: the score is inf, beyond the range of 32-bit floats; the row's values "
            "are too large for the model\n"
        )
    with pytest.raises(DataError, match=r"^request, row 2: the score is inf"):
        api.Scorer(api.load("m.fm")).answer(
            b'{"instances": [{"features": [1]}, {"features": [1, 1]}]}', "application/json"
        )


# ------------------------------------------------------------------------------------------------------ vocabularies
def test_a_vocabulary_that_a_model_names_must_be_a_regular_file(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(vocabulary_file.HEADER + b"\n" + b"0" * (1 << 25))
    (tmp_path / "bytes").write_bytes(vocabulary_file.HEADER + b"\n0\t\xff\t\n")
    (tmp_path / "other").write_text("root:x:0:0\n")
    for path, problem in (
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("/dev/stdin", "not a "),
        (".", "Is a dir"),
        ("long", "line 2: the line is longer than 8,388,608 bytes"),
        ("bytes", "line 2: not UTF-8"),
        ("other", "not a vocabulary: its first line is not index<TAB>column<TAB>value"),
        ("no", "does not exist"),
        ("a\0b", "does not exist"),
    ):
        sealed(tmp_path / "m.fm", info={"input": {"table": {"vocabulary": path}}})
        code, out, printed = run("predict", "m.fm", "rows.csv")
        assert (code, out) == (2 if "exist" in problem else 3, b""), printed
        assert problem in printed
        assert "root" not in printed


def test_names_do_not_steer_the_terminal(run, tmp_path):
    linear = np.array([5, 4, 3, 2, 1], np.float32)
    sealed(
        tmp_path / "m.fm",
        {"state.\x1b]0;x\x07": np.zeros(1, np.float32), "linear": linear},
        info={"epochs": [{"epoch": 1, "train": {"\x1b[2Jrmse\x9b": 1.0}}]},
    )
    (tmp_path / "v").write_bytes(vocabulary_file.HEADER + b"\n0\ta\tx\x1b[31m\n1\tb\ty\\nz\n")
    code, out, _ = run("inspect", "m.fm", "--vocabulary", "v")
    assert code == 0
    assert rb"a=x\x1b[31m" in out
    assert rb"\x1b[2Jrmse\x9b" in out
    assert not {*out.decode()} & {chr(code) for code in (*range(9), 11, 12, *range(14, 32), 127, *range(128, 160))}
    (tmp_path / "\x1b[2J").write_text("1 x\n")
    assert r"fm: \x1b[2J: the content is of no known format" in run("predict", "m.fm", "\x1b[2J")[2]
    assert printable("a\tb\nc\x85\x00\x7fé") == "a\tb\nc\\x85\\x00\\x7fé"


# ------------------------------------------------------------------------------------------------------- checkpoints
PROGRESS = {"blocks": 1, "turns": 2, "rows": 300, "loss": 3.5, "weight": 300}
RECORDS = {"epochs": [EPOCH], "progress": PROGRESS, "halved": [], "best": None, "facts": {}}


def saved_checkpoint(path, optimizer, state, content=RECORDS, best=None):
    h = Hyperparameters.from_dict({**HYPERPARAMETERS, "optimizer": optimizer})
    arrays = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    best = {f"best.{name}": array for name, array in (best or {}).items()}
    modelfile.save(Model(h, arrays, state={**state, **best}, info={"checkpoint": content}), path)


def state_of(optimizer, **changes):
    shapes = {**SHAPES, "factors": (5, 1)} if optimizer == "rowwise_adagrad" else SHAPES
    arrays = {
        f"{slot.name}.{name}": np.ones(shape, np.float32)
        for slot in OPTIMIZERS[optimizer].slots
        for name, shape in shapes.items()
    }
    arrays |= {"adam.updates": np.array([3], np.int64)} if optimizer == "adam" else {}
    arrays |= {name.replace("__", "."): array for name, array in changes.items()}
    return {name: array for name, array in arrays.items() if array is not None}


BEST = {
    **{name: np.ones(shape, np.float32) for name, shape in SHAPES.items()},
    **{f"state.{name}": array for name, array in state_of("adagrad").items()},
}


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        ("adagrad", {"sum_of_squares__linear": np.ones(4, np.float32)}),
        ("adagrad", {"sum_of_squares__linear": None}),
        ("adagrad", {"sum_of_squares__linear": np.ones(5, np.float64)}),
        ("adagrad", {"else": np.ones(5, np.float32)}),
        ("adagrad", {"sum_of_squares__factors": np.ones((3, 5), np.float32)}),
        *(
            ("rowwise_adagrad", {"sum_of_squares__factors": np.ones(shape, np.float32)})
            for shape in [(5, 3), (5,), (4, 1)]
        ),
        ("rowwise_adagrad", {"sum_of_squares__factors": np.full((5, 1), -1, np.float32)}),
        ("sgd", {"momentum": np.ones(1, np.float32)}),
        ("adagrad", {"sum_of_squares__factors": np.full((5, 3), -1e-9, np.float32)}),
        ("adagrad", {"adam__updates": np.array([1], np.int64)}),
        ("adam", {"adam__updates": None}),
        ("adam", {"second_moment__bias": np.full(1, -1, np.float32)}),
        ("adam", {"adam__updates": np.array(3, np.int64)}),
        *(("adam", {"adam__updates": np.array([n], np.int64)}) for n in (-1, 2**63 - 1)),
        ("adam", {"adam__updates": np.array([3], np.float32)}),
    ],
)
def test_hostile_states_of_an_optimizer_are_refused(tmp_path, optimizer, changes):
    path = tmp_path / "c"
    saved_checkpoint(path, optimizer, state_of(optimizer))
    checkpoint.load(path)
    saved_checkpoint(path, optimizer, state_of(optimizer, **changes))
    with pytest.raises(ModelError, match=f"^{path}: damaged, or written by a newer fmkit"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("content", "best"),
    [
        (7, {}),
        ({}, {}),
        ({**RECORDS, "epochs": 3}, {}),
        ({**RECORDS, "halved": 1}, {}),
        ({**RECORDS, "halved": [-1]}, {}),
        ({**RECORDS, "progress": 3}, {}),
        *(
            ({**RECORDS, "progress": {**PROGRESS, **change}}, {})
            for change in (
                {"blocks": -1},
                {"turns": 0.5},
                {"rows": 2**63},
                {"loss": "x"},
                {"weight": None},
                {"else": 1},
            )
        ),
        ({**RECORDS, "epochs": [3]}, {}),
        ({**RECORDS, "facts": [1]}, {}),
        ({**RECORDS, "best": [1, 0.5]}, {}),
        ({**RECORDS, "best": [2, 0.5]}, BEST),
        ({**RECORDS, "best": [1, "x"]}, BEST),
        ({**RECORDS, "best": 7}, BEST),
        ({**RECORDS, "best": [1, 0.5]}, {**BEST, "linear": np.ones(4, np.float32)}),
        (
            {**RECORDS, "best": [1, 0.5]},
            {**BEST, "linear": np.ones(4, np.float32), "factors": np.ones((4, 3), np.float32)},
        ),
        ({**RECORDS, "best": [1, 0.5]}, {**BEST, "state.sum_of_squares.bias": np.ones(2, np.float32)}),
    ],
)
def test_hostile_records_of_a_checkpoint_are_refused(tmp_path, content, best):
    path = tmp_path / "c"
    saved_checkpoint(path, "adagrad", state_of("adagrad"), {**RECORDS, "best": [1, 0.5]}, BEST)
    checkpoint.load(path)
    saved_checkpoint(path, "adagrad", state_of("adagrad"), content, best)
    with pytest.raises(ModelError, match="damaged, or written by a newer fmkit"):
        checkpoint.load(path)


# ----------------------------------------------------------------------------------------------------------- studies
SPACE = {"epochs": Range(1, 9, integer=True), "optimizer": Choice(("adagrad", "adam"))}
DAMAGE = {
    "attributes": "UPDATE trial_user_attributes SET value_json = '7'",
    "no JSON": "UPDATE trial_user_attributes SET value_json = '{'",
    "a mark of no process": """UPDATE trial_user_attributes
                               SET value_json = '{"host": "x", "process": "../..", "since": 1}' WHERE "key" = 'run'""",
    "no mark": "DELETE FROM trial_user_attributes",
    "another hyperparameter": """UPDATE trial_user_attributes SET value_json = '{"seed": 7}' WHERE "key" = 'found'""",
    "another type": """UPDATE trial_user_attributes SET value_json = '{"epochs": "7"}' WHERE "key" = 'found'""",
    "another seed": """UPDATE study_user_attributes SET value_json = '"7"' WHERE "key" = 'again 0 7'""",
    "another dimension": "UPDATE trial_params SET param_name = 'else' WHERE param_name = 'epochs'",
    "another distribution": """UPDATE trial_params SET distribution_json = replace(distribution_json, '9', '99')""",
    "no distribution": "UPDATE trial_params SET distribution_json = '{}'",
    "a deep one": "UPDATE trial_params SET distribution_json = '" + "[" * 100_000 + "'",
    "a pickle": "UPDATE trial_params SET distribution_json = X'80049500'",
    "a state": "UPDATE trials SET state = 'ELSE'",
}


def opened(path):
    return open_study(path, {"objective": "test:rmse"}, search_space(SPACE, {"predictor_type": "regressor"}), trials=9)


@pytest.fixture
def study(tmp_path):
    """Return the path of a study with a trial, and a function that changes it."""
    path = tmp_path / "study.db"
    with opened(path) as study:
        trial = study.ask()
        study.tell(trial, 1.0, seconds=0.1, epochs=5, found={**asdict(trial.hyperparameters), "epochs": 5})
        study.tell_again(0, 7, 1.0)

    def change(statement):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(statement)

    return path, change


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_trials_that_no_search_writes_are_refused(study, statement):
    path, change = study
    with opened(path) as again:
        assert len(again.tried()) == 1
    change(statement)
    with pytest.raises(UsageError, match="damaged: it holds a trial that is not of this search"), opened(path):
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM studies; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE trial_heartbeats; CREATE VIEW trial_heartbeats AS SELECT 1",
        "CREATE VIRTUAL TABLE t USING fts5(a)",
    ],
)
def test_a_study_that_would_run_statements_is_refused(study, statement):
    path, change = study
    change(statement)
    with pytest.raises(UsageError, match="holds triggers, views or virtual tables"), opened(path):
        pass


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setlimit"), reason="this Python cannot limit SQLite")
def test_expressions_in_a_studys_tables_take_little_memory(study):
    path, change = study
    change("ALTER TABLE trials ADD COLUMN b AS (length(hex(zeroblob(400000000))))")
    with closing(storage._connected(path)) as connection, pytest.raises(sqlite3.DataError, match="too big"):
        list(connection.execute("SELECT b FROM trials"))


def test_nothing_in_a_study_is_unpickled(fm, study):
    """Read a study, whose values are JSON: a process that may not import pickle's machinery of its own still reads them."""
    path, _ = study
    source = (
        "import pickle\ndef never(*_, **__): raise SystemExit('unpickled')\n"
        "pickle.loads = pickle.load = pickle.Unpickler = never\n"
        "import _pickle; _pickle.loads = _pickle.load = never\n"
        "from fmcore.tuning import storage\n"
        f"study = storage.open_study({str(path)!r}, direction='minimize')\n"
        "print(len(study.get_trials())); storage.close(study)\n"
    )
    assert fm.python(source).out == "1\n"


def test_archives_are_recognized_by_their_first_bytes(tmp_path):
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(ModelError, match="not a model archive"):
        api.import_archive(path, tmp_path / "x.fm")
    assert "cut off" in refused(tmp_path / "b", b"\x1f\x8b\x08")
