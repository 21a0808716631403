"""Results of several methods over several seeds, as one table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Result = Mapping[str, Any]

COLUMNS_SHOWN = 10


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of a few runs and half the width of its 95 % interval; None for a single run."""
    mean = fmean(values)
    if len(values) < 2:
        return mean, None
    from scipy.special import stdtrit  # scipy, for --help, is slow

    # By multiplication: a run that diverged has an error whose square overflows, as floats may.
    squares = fmean((value - mean) * (value - mean) for value in values)
    degrees = len(values) - 1
    return mean, float(stdtrit(degrees, 0.975)) * math.sqrt(squares / degrees)


def rows(results: Mapping[str, Sequence[Result]]) -> list[dict[str, str]]:
    """One row per method: scores over seeds, and the cost of meta-training."""
    table = []
    for label, runs in results.items():
        first = runs[0]
        shown = {"method": label, "stream": first["stream"]}
        regression = first["kind"] == "regression"
        if "other_order" in first:
            scores = [float(run["other_order"]["score"]) for run in runs]
            name = OTHER[first["other_order"]["stream"].rpartition(", ")[2]]
            shown[name] = (
                over_seeds(scores, "{:.4f}")
                if regression
                else over_seeds([100 * score for score in scores], "{:.2f}")
            )
        if regression:
            shown["error"] = over_seeds([float(run["score"]) for run in runs], "{:.4f}")
            shown["first learned"] = over_seeds([float(run["final"][0]) for run in runs], "{:.4f}")
            shown["last learned"] = over_seeds([float(run["final"][-1]) for run in runs], "{:.4f}")
        else:
            shown["accuracy %"] = over_seeds([100 * float(run["score"]) for run in runs], "{:.2f}")
        if "steps" in first:
            shown["meta-steps"] = f"{fmean(run['steps'] for run in runs):.0f}"
            if skipped := sum(run.get("skipped", 0) for run in runs):
                shown["skipped"] = f"{skipped} of {sum(run['steps'] for run in runs)}"
            shown["minutes"] = f"{fmean(run['minutes'] for run in runs):.1f}"
            shown["seeds"] = str(len(runs))
        table.append(shown)
    return table


def over_seen(results: Mapping[str, Sequence[Result]]) -> list[dict[str, str]]:
    """Scores on the functions or classes seen so far, after each: means over seeds.

    At most about `COLUMNS_SHOWN` columns, evenly spaced, with the first and the last.
    """
    table = []
    for label, runs in results.items():
        if "seen" not in runs[0]:
            continue
        percent = runs[0]["kind"] != "regression"
        known = zip(*(run["seen"]["y"] for run in runs), strict=True)
        means = [fmean(map(float, values)) for values in known]
        what = "accuracy % over those seen" if percent else "error over those seen"
        apart = math.ceil(len(means) / COLUMNS_SHOWN)
        shown = {0, *range(len(means) - 1, 0, -apart)}
        table.append(
            {f"{what}, after": label}
            | {
                str(count): f"{100 * mean:.1f}" if percent else f"{mean:.4f}"
                for n, (count, mean) in enumerate(zip(runs[0]["seen"]["x"], means, strict=True))
                if n in shown
            }
        )
    return table


def over_seeds(values: Sequence[float], form: str) -> str:
    """The mean over seeds and half its interval, each as `form` has it; or how many diverged.

    NaN is a value that is not defined: nothing to show if all are, else of how many the mean is.
    """
    known = [value for value in values if not math.isnan(value)]
    if lost := sum(math.isinf(value) for value in known):
        return f"{lost} of {len(values)} diverged" if len(values) > 1 else "diverged"
    if not known:
        return ""
    mean, interval = mean_and_interval(known)
    text = form.format(mean) + ("" if interval is None else " ± " + form.format(interval))
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"


def as_markdown(table: Sequence[Mapping[str, str]], order: Sequence[str] | None = None) -> str:
    """Rows as a markdown table that is legible as it stands; cells a row lacks stay empty.

    Columns come in the order of `order` (by default that of results), others as first met.
    """
    order = COLUMNS if order is None else order
    columns = list(dict.fromkeys(name for row in table for name in row))
    columns.sort(key=lambda name: order.index(name) if name in order else len(order))
    lines = [columns, *([row.get(name, "") for name in columns] for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = ["-" * width for width in widths]
    return "\n".join([line(lines[0]), line(rule), *map(line, lines[1:])])


OTHER = {"iid": "the same, i.i.d.", "incremental": "the same, in order"}
COLUMNS = (
    "stream", "method", "error", "first learned", "last learned", "accuracy %",
    *OTHER.values(), "meta-steps", "skipped", "minutes", "seeds",
)  # fmt: skip
