"""A page about a search: its history, which hyperparameters mattered, where good values lie; readable offline."""

import html
import warnings

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 15px sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse }} td, th {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }}
pre {{ background: #f4f4f4; padding: 1em; white-space: pre-wrap }}
div.wide {{ overflow-x: auto }}</style></head><body>
<h1>{title}</h1>
"""
WIDE = '<div class="wide">{}</div>'  # scrolls by itself where it is wider than the page


def page(study, *, title, facts, table, command):
    """Return the page as text.

    study: a tuning Study. facts: sentences. table: rows of texts, the head first. command: the one that trains the best
    model.
    """
    parts = [HEAD.format(title=html.escape(title)), *(f"<p>{html.escape(fact)}</p>" for fact in facts)]
    if command:
        parts.append(f"<h2>Train the best model</h2><pre>{html.escape(command)}</pre>")
    parts.append(f"<h2>Best trials</h2>{WIDE.format(_table(table))}")
    library = True  # the library's code is in the page once, in the first figure
    for heading, figure in _figures(study):
        parts.append(f"<h2>{heading}</h2>")
        parts.append(WIDE.format(figure.to_html(full_html=False, include_plotlyjs=library)))
        library = False
    return "\n".join([*parts, "</body></html>\n"])


def _figures(study):
    """Yield (heading, figure) of all that can be drawn from the trials so far."""
    from optuna import visualization

    objective = study.objective
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna warns that some plots are experimental
        yield "History", visualization.plot_optimization_history(study.optuna_study, target_name=objective)
        if study.importances():
            yield (
                "Importance",
                visualization.plot_param_importances(
                    study.optuna_study, evaluator=study.evaluator(), params=study.common(), target_name=objective
                ),
            )
        yield "Slices", visualization.plot_slice(study.optuna_study, target_name=objective)
        yield "Intermediate values", visualization.plot_intermediate_values(study.optuna_study)


def _table(rows):
    head, *body = (
        "".join(f"<{'td' if n else 'th'}>{html.escape(cell)}</{'td' if n else 'th'}>" for cell in row)
        for n, row in enumerate(rows)
    )
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in (head, *body)) + "</table>"
