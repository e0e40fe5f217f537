"""The log of `fm tune`: a line or a bar with the best value during the search, what it found at the end."""

import shlex

from fmcli.console import say
from fmcli.exits import handled, listen
from fmcli.hyperparameters import text_of
from fmcli.progress import Bar, remarks, warn
from fmcore.hyper.params import PARAMETERS
from fmcore.tuning.tune import TuningObserver

BEST_SHOWN = 10


class TuningLog(TuningObserver):
    """The log of a search, which also writes what it found.

    data: the Data whose reports are printed. bar: shown while they are read. trials: how many may end.
    command: a function from the best trial's values to the words that train its model. out: a binary handle for what
    was found. page: one for the page about the search, or None.
    """

    def __init__(self, data, bar, *, trials, command, out, page=None, quiet=False):
        self._data, self._bar, self._trials = data, bar, trials
        self._command, self._out, self._page, self._quiet = command, out, page, quiet
        self._best, self._facts = None, []

    def begun(self, study, rows, test_rows):
        """Print what is searched, and what has been tried before."""
        self._bar.close()
        for part in self._data:
            for line in remarks(part.report):
                self.say(line)
        judged = "by cross-validation" if test_rows is None else f"on {test_rows:,} test rows"
        self._facts.append(f"Training on {rows:,} rows, judged {judged} by {study.objective}.")
        self.say(f"{rows:,} rows, judged {judged} by {study.objective}")
        tried = study.tried()
        if tried:
            self.say(f"resuming after {len(tried)} trials of {self._trials}")
        self._bar = Bar(quiet=self._quiet, desc="tuning", total=self._trials, unit="trial", initial=len(tried))

    def ended(self, tried, best):
        """Move the bar; where there is none, print each improvement."""
        self._bar.reach(len(tried), self._trials)
        if best is None or best == self._best:
            return
        self._best = best
        if not self._bar.note(f"best {best.value:.6g}"):
            self.say(f"trial {best.number}: {best.value:.6g}, the best of {len(tried)}")

    def best_again(self, best, *, interrupted):
        """Print that the best model is trained, where Ctrl-C ended the search."""
        if interrupted:
            handled()
            listen()  # to the next Ctrl-C
        self._bar.close()
        if interrupted:
            self.say(
                f"interrupted; training the best so far, trial {best.number}, once more for its model (Ctrl-C "
                "again leaves everything as it was)"
            )

    def done(self, study, result):
        """Write what was found, and the page."""
        table, importances = trials_table(study), study.importances()
        counts, command = summary(study.tried()), shlex.join(self._command(result.best.values))
        lines = [
            *aligned(table),
            "",
            f"{counts}; the best is {result.best.number}",
            f"{study.objective}: {result.best.value:.6g}",
        ]
        if importances:
            lines.append("importance: " + ", ".join(f"{name} {part:.0%}" for name, part in importances.items()))
        self._out.write("\n".join([*lines, "the same model again:", command, ""]).encode())
        if self._page is not None:
            from fmcore.tuning.report import page

            text = page(study, title="fm tune", facts=[*self._facts, f"{counts}."], table=table, command=command)
            self._page.write(text.encode())
        if result.interrupted:
            self.say(f"interrupted; the model is that of the best trial so far, {result.best.number}")

    def close(self):
        """Remove the bar."""
        self._bar.close()
        warn(*(part.report for part in self._data))

    def say(self, text):
        """Print a line, unless silence was asked for."""
        say(text, quiet=self._quiet)


def summary(tried):
    """Return how many trials there were of each kind."""
    kinds = {kind: sum(trial.state == kind for trial in tried) for kind in ("complete", "pruned", "failed")}
    words = {"complete": "to the end", "pruned": "stopped early", "failed": "diverged or failed"}
    return f"{len(tried)} trials: " + ", ".join(f"{kinds[kind]} {words[kind]}" for kind in kinds if kinds[kind])


def trials_table(study):
    """Return the best trials as rows of texts, the head first."""
    best = [trial for trial in study.tried() if trial.value is not None][:BEST_SHOWN]
    names = [name for name in PARAMETERS if any(name in trial.values for trial in best)]
    rows = [["trial", study.objective, "seconds", *names]]
    for trial in best:
        values = [short(name, trial.values[name]) if name in trial.values else "-" for name in names]
        rows.append([str(trial.number), f"{trial.value:.6g}", f"{trial.info['seconds']:.1f}", *values])
    return rows


def short(name, value):
    """Return a value's text with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else text_of(PARAMETERS[name], value)


def aligned(rows):
    """Return rows of texts as lines in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
