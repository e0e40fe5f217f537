"""Measure this machine's memory: lines of 64 bytes a second, read in order, read and updated at random, in each level.

The loops are C (bandwidth.c), compiled into a temporary folder. Several threads share one table and each touch lines of
their own choice, as training does. Also measured is how long two threads take to answer each other: 100 ns on
processors that share a cache, several times that on distant ones, and virtual machines are moved between them.
"""

import ctypes
import os
import re
import shlex
import subprocess
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from measure import Seconds, measured, threads_word

from fmcore.kernels.cpu import CpuBackend

LINE = 64
SOURCE = Path(__file__).with_suffix(".c")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
GUESSED = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}  # where the system does not report them
RAM_TABLE = 1 << 29
FILLED = 0.5  # of a cache that its table takes
TOUCHES = 1 << 21  # lines touched by each thread in one measurement
ANSWERS, BOUTS = 2000, 10  # of each thread while time is taken, and how often it is: the soonest counts
REST = 0.05  # seconds, after which threads that have trained no longer wait for more and are out of the way
IN_ORDER, READ, MOVE = "read in order", "read at random", "moved at random"
OWN_CACHES = ("L1", "L2")  # of each core
FLAGS = {"v3": ["-mavx2"]}  # as the kernels are compiled


def levels(folder=CACHES):
    """Return the bytes of each level of memory by name, nearest first; RAM holds everything."""
    found = {}
    for one in sorted(folder.glob("index*")):
        if (one / "type").read_text().strip() != "Instruction":
            size = re.match(r"(\d+)K", (one / "size").read_text())
            found[f"L{(one / 'level').read_text().strip()}"] = int(size[1]) << 10
    return {**(found or GUESSED), "RAM": 1 << 62}


@cache
def round_trip():
    """Return a function that returns the Seconds of a message from one thread to another and of the answer to it."""
    with tempfile.TemporaryDirectory() as folder:
        answer = library(folder).answer

    def bout(pool):
        table = table_of(LINE)
        table.fill(0)
        start = time.perf_counter()
        list(pool.map(lambda turn: answer(pointer(table), ctypes.c_int64(turn), ctypes.c_int64(ANSWERS)), (1, 2)))
        return (time.perf_counter() - start) / ANSWERS

    def work():
        time.sleep(REST)
        with ThreadPoolExecutor(2) as pool:
            return Seconds(min(bout(pool) for _ in range(BOUTS)))

    return work


def library(folder):
    """Return the compiled loops."""
    target = Path(folder, "bandwidth.so")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    subprocess.run(
        [
            *compiler,
            "-O3",
            "-fno-math-errno",
            "-fassociative-math",
            "-fno-signed-zeros",
            "-fno-trapping-math",
            *FLAGS.get(CpuBackend().build, []),
            "-Wno-psabi",
            "-shared",
            "-fPIC",
            str(SOURCE),
            "-o",
            str(target),
        ],
        check=True,
    )
    loaded = ctypes.CDLL(str(target))
    for name in ("read_in_order", "read_at_random", "move_at_random"):
        getattr(loaded, name).restype = ctypes.c_float
    return loaded


def table_of(size):
    """Return floats of `size` bytes, aligned to cache lines."""
    raw = np.ones(size // 4 + LINE // 4, np.float32)
    skip = -(raw.ctypes.data // 4) % (LINE // 4)
    return raw[skip : skip + size // 4]


def touch(loop, tables, orders):
    """Return a function in which each thread touches a table's lines in its order, or all lines where it is None."""

    def one(table, order):
        if order is None:
            loop(pointer(table), ctypes.c_int64(table.nbytes // LINE))
        else:
            loop(pointer(table), pointer(order), ctypes.c_int64(len(order)))

    def work():
        with ThreadPoolExecutor(len(tables)) as pool:
            list(pool.map(one, tables, orders))

    return work


def pointer(array):
    """Return the address of an array."""
    return ctypes.c_void_p(array.ctypes.data)


def rates(runs, threads):
    """Return (kind, level) -> lines a second of each run, by `threads` threads.

    The kinds are IN_ORDER in RAM, and READ and MOVE in every level. Each thread has a table of its own: in the caches
    of its core, or its part of the caches that the cores share.
    """
    random, found = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        loops = library(folder)
        for level, size in levels().items():
            whole = RAM_TABLE if level == "RAM" else int(size * FILLED)
            tables = [table_of(whole // (1 if level in OWN_CACHES else threads)) for _ in range(threads)]
            lines = tables[0].nbytes // LINE
            orders = [random.integers(0, lines, TOUCHES, np.int32) for _ in range(threads)]
            works = {
                READ: touch(loops.read_at_random, tables, orders),
                MOVE: touch(loops.move_at_random, tables, orders),
            }
            if level == "RAM":
                works[IN_ORDER] = touch(loops.read_in_order, tables, [None] * threads)
            for kind, times in measured(works, runs, f"{level}, {threads_word(threads)}").items():
                touched = threads * (lines if kind == IN_ORDER else TOUCHES)
                found[kind, level] = [touched / time for time in times]
    return found
