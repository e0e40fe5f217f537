"""Measure whole processes from libsvm text on disk to a model: seconds and test log loss after an epoch, beside peers.

Each program has all processors and the settings found to be best on these clicks, a model is written, nothing is cached
before. Vowpal Wabbit is given text in its own format; modern-fm, which reads none, is not charged for scikit-learn's
reader and its interpreter's start, and runs once.
"""

import statistics
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import clicks
import numpy as np
import peers
from measure import FM, Seconds, figure, measured, parser, print_second_processor, print_setting, process, spread

from fmcore.io.text import codec as text
from fmcore.system.threads import default_threads

FACTORS = 8
TEST_SHARE = 9  # training rows for each test row
OWN = (
    "--epochs",
    1,
    "--eps",
    0.005,
    "--linear-lr",
    0.08,
    "--factors-lr",
    0.05,
    "--linear-wd",
    1e-5,
    "--factors-wd",
    1e-5,
    "--factors-init-sigma",
    0.003,
)  # found by the same search as those of peers
ONCE = "modern_fm"


def write_rows(folder, rows):
    """Write training and test rows in the forms that are read; return the test rows as a Batch."""
    parts = {"train": clicks.generated(rows), "test": clicks.generated(max(1, rows // TEST_SHARE), seed=1)}
    for name, batch in parts.items():
        Path(folder, f"{name}.svm").write_bytes(text.encode_libsvm(batch))
        if "vowpalwabbit" in peers.here():
            peers.write_vowpal_wabbit(batch, Path(folder, f"{name}.vw"))
    return parts["test"]


class Own:
    """fmkit."""

    def __init__(self, folder):
        self._folder, self._model = folder, Path(folder, "own.fm")

    def train(self):
        """Train from rows to a model."""
        process(
            *FM,
            "train",
            Path(self._folder, "train.svm"),
            "-o",
            self._model,
            "--predictor-type",
            "binary_classifier",
            "--num-factors",
            FACTORS,
            "--index-base",
            0,
            *OWN,
            "-q",
        )()

    def predict(self, output):
        """Write the probabilities of the test rows, one a line."""
        process(*FM, "predict", self._model, Path(self._folder, "test.svm"), "-o", output, "--index-base", 0)()


class XLearn:
    """xLearn."""

    def __init__(self, folder):
        self._run = partial(peers.run, folder=folder)
        self._kept = Path(folder, "train.svm.bin")

    def train(self):
        """Train from rows to a model."""
        with suppress(FileNotFoundError):
            self._kept.unlink()  # the rows as it read them the last time
        self._run("xlearn", train="train.svm", k=FACTORS, threads=default_threads(), epochs=1, parameters=peers.XLEARN)

    def predict(self, output):
        """Write the probabilities of the test rows, one a line."""
        self._run("xlearn_predict", test="test.svm", output=output)


class VowpalWabbit:
    """Vowpal Wabbit."""

    def __init__(self, folder):
        self._run = partial(peers.vowpal_wabbit, folder)

    def train(self):
        """Train from rows to a model."""
        self._run("-d", "train.vw", *peers.VW, *peers.VW_RATE, "--rank", FACTORS, "-f", "vw.model")

    def predict(self, output):
        """Write the probabilities of the test rows, one a line."""
        self._run("-d", "test.vw", "-t", "-i", "vw.model", "-p", output, "--link", "logistic", "--quiet")


class ModernFM:
    """modern-fm, whose model is not saved: the training process writes the probabilities."""

    def __init__(self, folder):
        self._folder, self._output = folder, Path(folder, "modern_fm.probabilities")

    def train(self):
        """Train from rows to a model, which reports its own seconds."""
        printed = peers.run(
            "modern_fm_train",
            self._folder,
            train="train.svm",
            test="test.svm",
            k=FACTORS,
            feature_dim=clicks.feature_dim(),
            parameters=peers.MODERN_FM,
            output=self._output,
        )
        return Seconds(printed.split()[-1])

    def predict(self, output):
        """Move the probabilities, which `train` has written, to `output`."""
        self._output.replace(output)


PROGRAMS = {"fmkit": Own, "xlearn": XLearn, "vowpalwabbit": VowpalWabbit, "modern_fm": ModernFM}


def print_losses(programs, times, test, folder):
    """Print a line for each program: the loss of its model, and its seconds."""
    for name, program in programs.items():
        output = Path(folder, "probabilities")
        program.predict(output)
        loss = clicks.log_loss(test.labels, np.loadtxt(output))
        figure(f"{name}, test log loss", [loss], "loss")
        ratio = statistics.median(times[name]) / statistics.median(times["fmkit"])
        print(f"{name:12}: {spread(times[name])} s, {ratio:.1f} times as long as fmkit, test log loss {loss:.4f}")


def main():
    """Train with each program, in turn."""
    options = parser(__doc__.splitlines()[0], rows=900_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    peers.print_missing()
    with tempfile.TemporaryDirectory() as folder:
        test = write_rows(folder, options.rows)
        print(
            f"{options.rows:,} training rows, {len(test):,} test rows, k = {FACTORS}, median (range) of "
            f"{options.runs}; test log loss of the truth {clicks.best_loss(test):.4f}"
        )
        programs = {name: program(folder) for name, program in PROGRAMS.items() if name in ("fmkit", *peers.here())}
        works = {name: program.train for name, program in programs.items()}
        alone = {name: works.pop(name) for name in (ONCE,) if name in works}
        times = {**measured(works, options.runs), **measured(alone, 1)}
        print_losses(programs, times, test, folder)


if __name__ == "__main__":
    main()
