"""Solvers keep to fmcore.solvers.Solver: those there are, and one that a program registers."""

import inspect
from pathlib import Path

import pytest
from fullbatch import FullBatch, state
from rows import random_rows
from teams import team

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.hyper.solvers import SOLVERS, SolverEntry
from fmcore.solvers import Placed, Resources, Solver, solver_of
from fmcore.solvers.descent import GradientDescent
from fmcore.solvers.epoch import UNITS
from fmcore.solvers.observer import Observer
from fmcore.solvers.team.solver import TeamDescent

CLASSES = [GradientDescent, TeamDescent, FullBatch]
METHODS = [name for name, member in vars(Solver).items() if not name.startswith("_") and not isinstance(member, type)]
KINDS = {"name": str, "note": str | None, "threads": int, "tested": bool, "workers": int, "unit": str}


class Seen(Observer):
    """Keeps the solver and what is known of its rows."""

    def loaded(self, placed, model, solver):
        self.placed, self.solver = placed, solver


def test_the_contract_names_what_is_looked_at():
    assert set(METHODS) == {"place", "fits", "begin", "position", "sweep", "score", "judge", "snapshot", "memory"}
    assert {*KINDS, "placed"} == set(Solver.__annotations__)


@pytest.mark.parametrize("solver", CLASSES)
@pytest.mark.parametrize("name", METHODS)
def test_a_solver_has_every_method_with_the_parameters_of_the_contract(solver, name):
    definers = [base for base in solver.__mro__ if name in vars(base)]
    assert definers[0] is not Solver, f"{solver.__name__} leaves {name} to the contract"
    stated, own = (inspect.signature(getattr(kind, name)).parameters for kind in (Solver, solver))
    assert [(p.name, p.kind) for p in own.values()] == [(p.name, p.kind) for p in stated.values()]


@pytest.mark.parametrize("solver", CLASSES)
def test_a_placed_solver_has_every_attribute_of_the_contract(solver, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SOLVERS, "full", SolverEntry(FullBatch, state))
    seen, given = Seen(), {"solver": "full"} if solver is FullBatch else {}
    h = resolve("native", predictor_type="binary_classifier", epochs=1, **given)
    resources = team(2) if solver is TeamDescent else Resources()
    assert solver_of(h, resources) is solver
    if solver is TeamDescent:
        Path("train.svm").write_text("".join(f"{n % 2} {n % 7}:1 {7 + n % 3}:{n}\n" for n in range(100)))
        api.train(api.Data(["train.svm"]), h, "a.fm", resources=resources, observer=seen)
    else:
        api.fit(random_rows(100), h, resources=resources, observer=seen)
    assert isinstance(seen.solver, solver)
    for name, kind in KINDS.items():
        assert isinstance(getattr(seen.solver, name), kind), name
    assert (seen.solver.unit in UNITS, seen.solver.tested, seen.solver.placed is seen.placed) == (True, False, True)
    for name in (*Placed.__annotations__, "memory"):
        assert hasattr(seen.placed, name), name
    assert (seen.placed.rows, seen.placed.complete, type(seen.placed.memory)) == (100, True, int)
    assert 0 < solver.memory(h, 10) < 1 << 20
