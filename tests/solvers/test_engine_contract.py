"""Engines keep to fmcore.solvers.team.Engine, whatever package they stand on."""

import inspect

import pytest

from fmcore.solvers.team import Engine, ReplacingEngine
from fmcore.solvers.team.inprocess import InProcess
from fmcore.solvers.team.on_mpi import Ranks
from fmcore.solvers.team.on_ray import Ray

METHODS = ("all", "one", "exchange", "close")


def parameters(function):
    """Return name, kind and default of each parameter."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("engine", [InProcess, Ranks, Ray])
@pytest.mark.parametrize("name", METHODS)
def test_an_engine_has_every_method_with_the_parameters_of_the_contract(engine, name):
    assert parameters(getattr(engine, name)) == parameters(getattr(Engine, name))


def test_ray_can_replace_workers():
    assert parameters(Ray.replace) == parameters(ReplacingEngine.replace)
    assert {name for name in vars(Engine) if not name.startswith("_")} == set(METHODS)
