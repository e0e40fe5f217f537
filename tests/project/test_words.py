"""The words of docs/style.md, as far as a test can read them: docstrings, names of classes, and words left behind."""

import ast
import re

import pytest
from shell import ROOT

NOT_YET = (  # to be empty
    "fmcore/api.py",
    "fmcore/kernels/__init__.py",
    "fmcore/solvers/__init__.py",
    "fmcore/solvers/descent.py",
    *(f"fmcore/solvers/team/{name}.py" for name in ("deltas", "feed", "solver", "states", "team", "worker")),
    "fmcore/training/files.py",
    "fmcore/training/fit.py",
)
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("fmcore", "fmcli")
    for kind in ("py", "pyx", "pxd", "pxi", "h")
    for path in (ROOT / folder).rglob(f"*.{kind}")
)
CLEAN = [name for name in SOURCES if not name.startswith(NOT_YET)]
MODULES = [name for name in CLEAN if name.endswith(".py")]

NO_VERBS = """
    A After All Also An And Any As At Before Both By Bytes Data Each Either Every Everything For From Half How If In
    Index Indices Into It Its Keyword Last Later Length Let Lets Likewise Many More Most Name Names Neither Next No None
    Not Nothing Number Numbers Of On One Only Or Other Others Position Positions Rows Same Say Scores Several
    Shape Since So Some Such Tell That The Their These They This Those To Typed Until Value Values What When Where
    Whether Which Who Whole Whose Why With Without
"""
ENDINGS = re.compile(r"(?:[^e]ed|ing|[^su]s)$")  # of words that are no imperatives: keeps, needed, keeping
BUT = ("Bring",)
QUESTIONS = ("How", "Everything", "Nothing", "What", "When", "Where", "Whether", "Which", "Who", "Why")
THIRD_PERSON = """
    Asks Builds Calls Checks Computes Counts Decides Does Gives Has Holds Is Joins Keeps Learns Lets Makes Maps Prints
    Reads Regroups Reports Runs Saves Says Takes Tells Trains Turns Writes
"""
CYTHON = r'^[ ]*(?:cp?def|def) (?!enum|class)(?:[^\n"#]|\n(?=\s+\S))*?:\s*\n\s+"""(.+)'  # of a function's docstring
LEFT_BEHIND = re.compile(
    r"(?<![a-z])told(?![a-z])|(?<![a-z])settl(?:e|es|ed|ing)(?![a-z])|\b(?:go|goes|gone|going|went) on (?:with|from)\b"
    r"|\bto go on\b|\"\"\"Let |# Let |will not have\b",
    re.IGNORECASE,
)


def begins_with_a_verb(sentence):
    """Return whether a docstring begins with a verb in the imperative, as far as its first word shows it."""
    first = re.match(r"([A-Z][a-z]+)[ .,:;]", sentence + " ")
    return bool(first) and first[1] not in NO_VERBS.split() and (first[1] in BUT or not ENDINGS.search(first[1]))


def is_property(node):
    """Return whether a function is a property."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_group(node):
    """Return whether a function is a group of commands, whose docstring is the head of a help page."""
    return any(".group(" in ast.unparse(decorator) for decorator in node.decorator_list)


def without_a_verb(tree):
    """Return line and first words of each docstring of a function or method that begins with no verb."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_group(node):
            continue
        text = ast.get_docstring(node)
        if text is None or begins_with_a_verb(text) or (is_property(node) and text.startswith("Whether ")):
            continue
        found.append(f"line {node.lineno}: {text[:40]}")
    return found


def of_cython_without_a_verb(text):
    """Return the first lines of docstrings of Cython functions that begin with no verb."""
    found = re.findall(CYTHON, text, re.MULTILINE)
    return [line for line in found if not begins_with_a_verb(line) and not line.startswith("Whether ")]


def without_a_noun(tree):
    """Return line and first words of each docstring of a class that begins with a question or a verb."""
    wrong = (*QUESTIONS, *THIRD_PERSON.split())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    texts = [(node.lineno, ast.get_docstring(node) or "") for node in classes]
    return [f"line {n}: {text[:40]}" for n, text in texts if text.split(" ")[0] in wrong]


def classes_of(name):
    """Return the names of the classes that a source file defines."""
    return re.findall(r"^\s*(?:cdef |cpdef )?class (\w+)", (ROOT / name).read_text(), re.MULTILINE)


def left_behind(text):
    """Return line and word of each place where a text uses a word that docs/style.md replaces."""
    lines = enumerate(text.splitlines(), 1)
    return [f"line {number}: {found[0]}" for number, line in lines for found in LEFT_BEHIND.finditer(line)]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_of_functions_begin_with_a_verb(name):
    assert without_a_verb(ast.parse((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", [name for name in CLEAN if name.endswith((".pyx", ".pxd", ".pxi"))])
def test_docstrings_of_cython_functions_begin_with_a_verb(name):
    assert of_cython_without_a_verb((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_of_classes_begin_with_no_verb_or_question(name):
    assert without_a_noun(ast.parse((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", CLEAN)
def test_words_that_have_a_better_one_are_gone(name):
    assert left_behind((ROOT / name).read_text()) == []


def test_class_names_are_unique():
    places = {}
    for name in CLEAN:
        for class_name in classes_of(name):
            places.setdefault(class_name, []).append(name)
    assert {class_name: files for class_name, files in places.items() if len(files) > 1} == {}


def test_sources_and_their_classes_are_found():
    assert {"fmcore/rows/batch.py", "fmcore/io/_format.pyx", "fmcli/main.py"} <= set(CLEAN)
    assert classes_of("fmcore/rows/batch.py") == ["RowOrigin", "Batch"]


@pytest.mark.parametrize(
    ("sentence", "begins"),
    [
        ("Return the rows.", True),
        ("See Rows.", True),
        ("Bring rows together.", True),
        ("Feed rows.", True),
        ("Pass batches on.", True),
        ("Do nothing; called by optuna.", True),
        ("The rows.", False),
        ("Returns the rows.", False),
        ("Keeping rows.", False),
        ("(rows, columns) of a table.", False),
        ("float32 (rows,).", False),
        ("Whether there are rows.", False),
        ("Let rows be read.", False),
    ],
)
def test_a_verb_is_recognized(sentence, begins):
    assert begins_with_a_verb(sentence) == begins


def test_faults_are_found():
    assert without_a_verb(ast.parse('def f():\n    """The rows."""')) == ["line 1: The rows."]
    assert without_a_verb(ast.parse('@property\ndef f(self):\n    """Whether rows are there."""')) == []
    assert without_a_verb(ast.parse('def f(self):\n    """Whether rows are there."""')) != []
    assert of_cython_without_a_verb('cdef int f(int a,\n      int b) nogil:\n    """The rows."""') == ['The rows."""']
    assert of_cython_without_a_verb('def f():\n    """Return rows."""') == []
    assert without_a_noun(ast.parse('class F:\n    """Where rows are."""')) == ["line 1: Where rows are."]
    assert without_a_noun(ast.parse('class F:\n    """Rows of a file."""')) == []


@pytest.mark.parametrize(
    "line",
    ["def f(told):", "self._settled = 1", '"a model to go on from"', '    """Let it run."""', "# what it was told"],
)
def test_a_word_left_behind_is_found(line):
    assert len(left_behind(line)) == 1


@pytest.mark.parametrize("line", ["# to let go", "a stolen word", "unsettling = 1", "goes on line 3"])
def test_other_words_are_left_alone(line):
    assert left_behind(line) == []
