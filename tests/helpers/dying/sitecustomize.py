"""On the path of a process under test: a worker that dies, or fails, as the file FMKIT_TEST_DEATH states.

The file holds "METHOD WORKER CALL HOW": in its CALL-th call (from 1) of METHOD, worker number WORKER gets the signal
HOW, or raises an exception where that is "raise". The file is removed before, so that its replacement lives.
"""

import importlib.abc
import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

TARGET = "fmcore.solvers.team.worker"


class Finder(importlib.abc.MetaPathFinder):
    """A finder of the module of workers that makes its workers mortal."""

    def find_spec(self, name, path, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            for method in ("read", "place", "begin", "plan", "train", "split", "merge", "apply", "judge"):
                setattr(module.Worker, method, mortal(getattr(module.Worker, method), method))

        spec.loader.exec_module = exec_module
        return spec


def mortal(function, name):
    """Return the method such that a worker may die at its beginning."""
    calls, death = Counter(), Path(os.environ["FMKIT_TEST_DEATH"])

    def wrapper(self, *args):
        calls[self._number] += 1
        try:
            method, worker, call, how = death.read_text().split()
        except FileNotFoundError:
            return function(self, *args)
        if (method, int(worker)) == (name, self._number) and calls[self._number] >= int(call):
            death.unlink()
            if how == "raise":
                raise RuntimeError("a fault for a test")
            os.kill(os.getpid(), int(how))
        return function(self, *args)

    return wrapper


if "FMKIT_TEST_DEATH" in os.environ:
    sys.meta_path.insert(0, Finder())
