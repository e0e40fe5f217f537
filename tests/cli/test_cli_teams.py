"""`fm train --distributed`: what it prints and writes, what it refuses, and that MPI trains as workers in one process do.

What Ray does stands in test_faults_ray.py.
"""

import gzip
import json
import os
import re
import subprocess

import pytest
from mortals import mpirun
from shell import LIMIT, ROOT, Done, environment, last_line, libsvm_rows

from fmcore import api

ROWS = 1500
CLASSIFIER = ("--predictor-type", "binary_classifier")
JOB = ("train", "x.svm", *CLASSIFIER, "--epochs", 2, "-o", "x.fm")
LOCAL = ("--distributed", "local", "--workers", 3)
WRONG = {
    3: "1 3:x\n",
    400: "7 1:1\n",
    401: "1 5\n",
    1200: "y 1:1\n",
    1201: "# nothing\n",
    1300: "1 a:1\n",
    1400: "1 b:1\n",
}


@pytest.fixture
def shell(fm):
    """Provide the command, in a folder with rows to train on (x.svm) and to test on (t.svm), and some of both that are bad."""
    fm.write("x.svm", libsvm_rows(ROWS, 1))
    fm.write("t.svm", libsvm_rows(300, 2))
    lines = libsvm_rows(ROWS, 1).splitlines(keepends=True)
    for number, line in WRONG.items():
        lines.insert(number - 1, line)
    fm.write("bad.svm", "".join(lines))
    return fm


def ranks(fm, *arguments, code=0):
    """Run `fm train` on three ranks."""
    done = subprocess.run(
        mpirun(3, *arguments),
        cwd=fm.folder,
        env=environment(),
        capture_output=True,
        check=False,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not fm.left_over()
    return Done(code, done.stdout, done.stderr)


def skipped(printed):
    """Return what was printed of rows that were left out."""
    return [line for line in printed.splitlines() if line.startswith(("skipped: ", "rows skipped: "))]


# ---------------------------------------------------------------------------------------------------- what is printed
def test_rounds_and_epochs_are_shown_and_written(shell):
    printed = shell(*JOB, "--test", "t.svm", *LOCAL, "--metrics-out", "m.jsonl").err
    assert "3 workers (in one process)" in printed
    records = [json.loads(line) for line in shell.read("m.jsonl").splitlines()]
    rounds, epochs = ([record for record in records if ("round" in record) is kind] for kind in (True, False))
    assert [(record["epoch"], record["round"]) for record in rounds] == [
        (epoch, number) for epoch in (1, 2) for number in range(1, rounds[0]["rounds"] + 1)
    ]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert records[rounds[0]["rounds"]] == epochs[0]
    assert set(rounds[0]) == {"epoch", "round", "rounds", "rows", "rows_per_second", "logloss", "bytes_sent", "workers"}
    assert sum(record["rows"] for record in rounds) == 2 * ROWS
    lines = re.findall(
        r"^epoch (\d), round (\d+) of \d+: ([\d,]+) rows, [\d,]+ rows/s, logloss (\d\.\d{5}), "
        r"\d+\.\d MB sent by 3 workers$",
        printed,
        re.MULTILINE,
    )
    assert [(int(epoch), int(number), int(rows)) for epoch, number, rows, _ in lines] == [
        (record["epoch"], record["round"], record["rows"]) for record in rounds
    ]
    assert [loss for *_, loss in lines] == [f"{record['logloss']:.5f}" for record in rounds]
    model = api.load(shell.folder / "x.fm")
    assert model.info["epochs"] == [{name: record[name] for name in ("epoch", "train", "test")} for record in epochs]
    shell(
        *JOB,
        "--test",
        "t.svm",
        *LOCAL,
        "--dist-state",
        "sharded",
        "--threads",
        1,
        "--memory-limit",
        1,
        "-q",
        "-o",
        "y.fm",
    )
    assert shell.read("y.fm") == shell.read("x.fm")


def test_json_and_sagemaker_logs_report_rounds(shell):
    printed = shell(*JOB, *LOCAL, "--log-format", "jsonl").err
    records = [json.loads(line) for line in printed.splitlines()]
    assert next(record["remark"] for record in records if "remark" in record).startswith("pilot on ")
    assert next(record["backend"] for record in records if "backend" in record) == "3 workers (in one process)"
    assert len([record for record in records if "round" in record]) > 2 * 15
    assert [record["epoch"] for record in records if "train" in record] == [1, 2]
    printed = shell(*JOB, "--test", "t.svm", *LOCAL, "--log-format", "sagemaker").err
    assert re.findall(r"epoch=(\d), train binary_classification_cross_entropy <loss>=", printed) == ["0", "1"]
    assert (
        len(
            re.findall(
                r"#throughput_metric: host=algo-1, epoch=\d, round=\d+, train throughput=[\d.]+ "
                r"records/second, \d+ bytes sent by 3 workers",
                printed,
            )
        )
        > 2 * 15
    )
    assert len(re.findall(r"#test_score", printed)) == 3


def test_a_team_skips_the_rows_that_one_worker_skips(shell):
    job = ("train", "x.svm", "bad.svm", *CLASSIFIER, "--epochs", 1, "--on-error", "skip", "--test", "bad.svm", "-o")
    alone = skipped(shell(*job, "a.fm").err)
    team = skipped(shell(*job, "b.fm", *LOCAL).err)
    assert [line for line in team if line.startswith("rows")] == ["rows skipped: 6"] * 2
    assert [line for line in alone if line.startswith("rows")] == ["rows skipped: 6"] * 2
    places = [int(re.search(r"line (\d+)", line)[1]) for line in team if line.startswith("skipped")]
    assert places == 2 * [3, 400, 401, 1200, 1300]


# ------------------------------------------------------------------------------------------------------------- MPI
def test_ranks_train_the_model_of_workers_in_one_process(shell):
    job = ("x.svm", "bad.svm", *CLASSIFIER, "--epochs", 2, "--on-error", "skip", "--test", "t.svm", "--threads", 1)
    local = shell("train", *job, "-o", "x.fm", *LOCAL).err
    printed = ranks(shell, *job, "-o", "y.fm", "--metrics-out", "m.jsonl").err
    assert shell.read("y.fm") == shell.read("x.fm")
    assert skipped(printed) == skipped(local)
    assert "3 workers (mpi), 1 thread\n" in printed
    assert len(shell.read("m.jsonl").splitlines()) > 2 * 16


def test_an_error_of_all_ranks_is_printed_once(shell):
    printed = ranks(shell, "bad.svm", *CLASSIFIER, "-o", "x.fm", code=3).err
    assert printed.count("fm: ") == 1
    assert "fm: bad.svm, line 3, field 2: found '3:x'" in printed
    printed = ranks(shell, "x.svm", *CLASSIFIER, "-o", "x.fm", "--workers", 3, code=2).err
    assert printed.count("mpirun -n N sets the number of ranks") == 1
    assert "x.fm" not in shell.files()


# ----------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (("--workers", 2), "and --distributed is not given; leave it out, or add --distributed"),
        (("--dist-state", "sharded"), "--dist-state is for several workers, and --distributed is not given"),
        (
            ("--distributed", "mpi", "--ray-address", "auto"),
            "--ray-address is for ray, and --distributed is mpi; leave it",
        ),
        (("--distributed", "local", "--workers", 2, "--ray-address", "x"), "--ray-address is for ray, and"),
        (("--distributed", "local"), "--distributed local needs the number of workers; give it with --workers"),
        (("--distributed", "local", "--workers", 0), "0 is not in the range 1<=x<=4096"),
        (("--distributed", "dask", "--workers", 2), "'dask' is not one of 'ray', 'mpi', 'local'"),
    ],
)
def test_distributed_options_that_exclude_each_other_are_refused(shell, options, printed):
    assert printed in shell(*JOB, *options, code=2).err
    assert "x.fm" not in shell.files()


@pytest.mark.parametrize(
    ("job", "printed"),
    [
        (("train", "-"), "stdin can be read once only, but each of 3 workers opens the data"),
        (("train", "x.svm", "--test", "-"), "stdin can be read once only"),
        (("train", "--input-mode", "pipe", "--train", "p"), "pipes are read by one process"),
    ],
)
def test_data_that_not_all_workers_can_read_are_refused(shell, job, printed):
    shell.write("x.csv", "a,y\nu,1\nv,0\n")
    assert printed in last_line(shell(*job, *CLASSIFIER, "-o", "x.fm", *LOCAL, code=2, stdin="1 0:1\n").err)
    assert "x.fm" not in shell.files()
    assert "v.tsv" not in shell.files()


@pytest.mark.parametrize(
    ("engine", "module", "printed"),
    [
        (("ray", "--workers", 2), "ray.py", "needs the package ray, on every machine: pip install 'fmkit[ray]'"),
        (("mpi",), "mpi4py/__init__.py", "needs the package mpi4py and an MPI, on every machine: pip install"),
    ],
)
def test_an_engine_that_is_not_installed_is_refused(shell, tmp_path_factory, engine, module, printed):
    folder = tmp_path_factory.mktemp("modules")
    (folder / module).parent.mkdir(exist_ok=True)
    (folder / module).write_text("raise ImportError\n")
    path = os.pathsep.join((str(folder), str(ROOT)))
    assert printed in last_line(shell(*JOB, "--distributed", *engine, code=2, PYTHONPATH=path).err)


def test_errors_of_a_team_give_places_in_whole_files(shell):
    job = (*CLASSIFIER, "-o", "x.fm", *LOCAL)
    assert shell("train", "bad.svm", *job, code=3).err.startswith("fm: bad.svm, line 3, field 2: found '3:x'")
    assert shell("train", "x.svm", "--test", "bad.svm", *job, code=3).err.startswith("fm: bad.svm, line 3, field 2: ")
    shell.write("bad.gz", gzip.compress(shell.read("bad.svm")))
    assert "fm: bad.gz, line 3, field 2: " in shell("train", "bad.gz", *job, code=3).err
    shell.write("beyond.svm", libsvm_rows(ROWS, 1) + "1 99:1\n")
    assert shell("train", "beyond.svm", *job, "--feature-dim", 20, code=3).err == (
        "fm: beyond.svm, line 1501: index 99 is beyond the stated feature_dim 20; indices count from 0\n"
    )
    shell.write("zero.svm", "0 1:1\n1 2:1\n")
    shell.write("minus.svm", "-1 1:1\n1 2:1\n")
    assert "expected 0 and 1, or -1 and 1" in shell("train", "zero.svm", "minus.svm", *job, code=3).err
    assert "x.fm" not in shell.files()


def test_a_team_lists_values_before_workers_read(fm):
    fm.write("old.csv", "y,c\n" + "1,a\n2,b\n" * 20)
    fm.write("new.csv", "c,y\n" + "a,1\nz,2\n" * 20)
    team = ("--distributed", "local", "--workers", 2)
    fm("train", "old.csv", "--predictor-type", "regressor", "--label-column", "y", *team, "-o", "old.fm")
    going_on = ("--init-model", "old.fm", "--vocabulary", "v.tsv", "-o", "new.fm", *team)
    printed = fm("train", "new.csv", *going_on).err
    assert "values added to the vocabulary: 1" in printed
    assert fm.read("v.tsv") == b"index\tcolumn\tvalue\n0\tc\ta\n1\tc\tb\n2\tc\tz\n"
    assert "unknown values in column c: 20" in fm("eval", "old.fm", "new.csv").err
    assert "unknown" not in fm("eval", "new.fm", "new.csv").err
