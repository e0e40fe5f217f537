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

    data: the Data whose reports are printed. bar: shown while they are read. plan: of the search.
    command: a function from what the best model is given to the words that train it. out: a binary handle for what was
    found. page: one for the page about the search, or None.
    """

    def __init__(self, data, bar, *, plan, command, out, page=None, quiet=False):
        self._data, self._bar, self._plan = data, bar, plan
        self._command, self._out, self._page, self._quiet = command, out, page, quiet
        self._best, self._facts, self._repeats = None, [], False

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
            self.say(f"resuming after {len(tried)} trials of {self._plan.trials}")
        self._bar = Bar(quiet=self._quiet, desc="tuning", total=self._plan.trials, unit="trial", initial=len(tried))

    def ended(self, tried, best):
        """Move the bar; where there is none, print each improvement."""
        self._bar.reach(len(tried), self._plan.trials)
        if best is None:
            return
        shown = self._bar.note(f"best {best.value:.6g}")
        if best != self._best and not shown:
            self.say(f"{named(best)}: {best.value:.6g}, the best of {len(tried)}")
        self._best = best

    def repeated(self, ended, total):
        """Print that other seeds are tried, and move a bar of theirs."""
        if not self._repeats:
            self._repeats = True
            self._bar.close()
            self.say(f"training the best once more with {self._plan.repeats - 1} other seeds")
            self._bar = Bar(quiet=self._quiet, desc="repeating", total=total, unit="training", initial=ended)
        self._bar.reach(ended, total)

    def best_again(self, best, *, interrupted):
        """Print that the best model is trained, where Ctrl-C ended the search."""
        if interrupted:
            handled()
            listen()  # to the next Ctrl-C
        self._bar.close()
        if interrupted:
            self.say(
                f"interrupted; training the best so far, {named(best)}, once more for its model (Ctrl-C "
                "again leaves everything as it was)"
            )

    def done(self, study, result):
        """Write what was found, and the page."""
        verdict, importances = result.verdict, study.importances()
        table = trials_table(study.objective, verdict, self._plan.repeats)
        command = shlex.join(self._command(result.given))
        counts, compared = summary(study.tried()), comparison(verdict)
        lines = [*aligned(table), "", f"{counts}; the best is {named(verdict.best)}"]
        lines += [compared] if compared else []
        lines.append(f"{study.objective}: {verdict.best.score:.6g}{self._judged(verdict.best)}")
        if importances:
            lines.append("importance: " + ", ".join(f"{name} {part:.0%}" for name, part in importances.items()))
        if self._plan.refit:
            lines.append("the model is trained on the training and the test rows; none are left that could judge it")
        self._out.write("\n".join([*lines, "the same model again:", command, ""]).encode())
        if self._page is not None:
            from fmcore.tuning.report import page

            facts = [*self._facts, f"{counts}.", *([f"{compared}."] if compared else [])]
            text = page(study, title="fm tune", facts=facts, table=table, command=command)
            self._page.write(text.encode())
        if result.interrupted:
            self.say(f"interrupted; the model is that of the best trial so far, {named(verdict.best)}")

    def _judged(self, best):
        return "" if best.mean is None else f", the mean of {self._plan.repeats} seeds"

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


def named(tried):
    """Return what to call a trial."""
    return "the untuned model" if tried.untuned else f"trial {tried.number}"


def comparison(verdict):
    """Return a sentence on whether a trial is better than the untuned model, or None where that has no value."""
    tuned, untuned, change = verdict.tuned, verdict.untuned, verdict.change
    if untuned is None:
        return None
    share = "" if change is None else f" ({100 * change:+.1f} %)"
    values = "" if tuned is None else f"best trial {tuned.score:.6g}, untuned {untuned.score:.6g}{share}"
    if verdict.improves:
        return values
    values = values and f" ({values})"
    if verdict.best.untuned:
        return f"no trial is better than the untuned model{values}: that one is published"
    outside = ", ".join(f"{name} {short(name, value)}" for name, value in verdict.outside.items())
    return f"no trial is better than the untuned model{values}, which is outside of what is searched: {outside}"


def trials_table(objective, verdict, repeats):
    """Return the best trials, and the untuned model wherever it stands, as rows of texts, the head first."""
    best = [trial for place, trial in enumerate(verdict.trials) if place < BEST_SHOWN or trial.untuned]
    names = [name for name in PARAMETERS if any(name in trial.values for trial in best)]
    mean = [f"mean of {repeats}"] if any(trial.mean is not None for trial in best) else []
    rows = [["trial", *mean, objective, "seconds", *names]]
    for trial in best:
        values = [short(name, trial.values[name]) if name in trial.values else "-" for name in names]
        means = ["-" if trial.mean is None else f"{trial.mean:.6g}" for _ in mean]
        number = "untuned" if trial.untuned else str(trial.number)
        rows.append([number, *means, f"{trial.value:.6g}", f"{trial.info['seconds']:.1f}", *values])
    return rows


def short(name, value):
    """Return a value's text with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else text_of(PARAMETERS[name], value)


def aligned(rows):
    """Return rows of texts as lines in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
