"""No file but those of fmcore/objectives names a predictor type or asks which one it is."""

import ast
import re

import pytest
from test_architecture import TREES

from fmcore.objectives import OBJECTIVES

NAMED = re.compile(rf"\b({'|'.join(OBJECTIVES)})\b")
TABLES = {"fmcore/model/archive/network.py": "OPERATORS"}  # of names that are not ours, which stand for predictor types
OTHERS = [name for name in TREES if not name.startswith("fmcore/objectives/")]


def docstrings(tree):
    """Return the nodes of all docstrings."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, scopes) and node.body and isinstance(node.body[0], ast.Expr)
    }


def found(tree, table=None):
    """Return the lines that name a predictor type in code, but for a table's, or compare one."""
    excused = docstrings(tree)
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == table:
            excused |= set(ast.walk(node))
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if node not in excused and NAMED.search(text):
            yield f"line {node.lineno} names {text!r}"
        if isinstance(node, ast.Compare) and any(map(is_kind, (node.left, *node.comparators))) and not is_none(node):
            yield f"line {node.lineno} compares {ast.unparse(node)}"


def is_kind(node):
    """Return whether it is the value of the hyperparameter predictor_type."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "predictor_type"
    return getattr(node, "attr", getattr(node, "id", None)) == "predictor_type"


def is_none(node):
    """Return whether a comparison only asks whether there is any."""
    return all(isinstance(other, ast.Constant) and other.value is None for other in node.comparators)


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_file_knows_a_predictor_type(name):
    assert list(found(TREES[name], TABLES.get(name))) == []


@pytest.mark.parametrize(
    "source",
    [
        'kind = "regressor"',
        'print(f"for a binary_classifier: {x}")',
        "if h.predictor_type == other: pass",
        'if given["predictor_type"] in some: pass',
        "if predictor_type != other: pass",
    ],
)
def test_code_that_knows_a_predictor_type_is_found(source):
    assert len(list(found(ast.parse(source)))) == 1
