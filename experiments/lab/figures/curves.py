"""Curves of runs: meta-training, and evaluation along lifetimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.figures.plots import Curve, plot_lines, smooth

Record = Mapping[str, Any]
WINDOWS = 20  # a curve of meta-training is smoothed over a twentieth of its length


def plot_training(folder: Path, metrics: Mapping[str, Sequence[Sequence[Record]]]) -> None:
    """Query loss, and accuracy where there is one, over meta-training: labels to runs to lines."""
    for name, log_y in (("loss", True), ("accuracy", False)):
        curves = {}
        for label, runs in metrics.items():
            # A skipped meta-step has a loss that is not finite.
            usable = [[x for x in run if name in x and "diverged" not in x] for run in runs]
            if all(usable):
                curves[label] = _on_one_axis(usable, name)
        if curves:
            title = "meta-training, smoothed over a twentieth of the run"
            if any(len(curve.runs) > 1 for curve in curves.values()):
                title += "; bands: 95 % over seeds"
            path = folder / f"training_{name}.png"
            plot_lines(path, curves, "meta-steps", f"query {name}", title, log_y=log_y)


def _on_one_axis(runs: Sequence[Sequence[Record]], name: str) -> Curve:
    """Runs of different lengths at the meta-steps of the first, as far as the shortest goes."""
    last = min(run[-1]["step"] for run in runs)
    x = [line["step"] for line in runs[0] if line["step"] <= last] or [last]
    values = []
    for run in runs:
        smoothed = smooth([float(line[name]) for line in run], max(1, len(run) // WINDOWS))
        values.append(np.interp(x, [line["step"] for line in run], smoothed).tolist())
    return Curve(x, values)


def plot_lifetimes(folder: Path, results: Mapping[str, Sequence[Record]]) -> None:
    """Scores along lifetimes: over the subtasks seen so far, and over all subtasks."""
    first = next(iter(results.values()))[0]
    regression = first["kind"] == "regression"
    score = "mean squared error" if regression else "accuracy"
    things = "functions" if regression else "classes"
    for name, x, title in (
        ("seen", f"{things} seen", f"over the {things} seen so far"),
        ("examples", "examples seen", f"over all {things} of the lifetime"),
    ):
        curves = {
            label: Curve(
                runs[0][name]["x"],
                [_floats(run[name]["y"]) for run in runs],
                _floats(runs[0][name].get("low", ())),
                _floats(runs[0][name].get("high", ())),
            )
            for label, runs in results.items()
            if name in runs[0]
        }
        if curves:
            several = any(len(curve.runs) > 1 for curve in curves.values())
            title += f"; bands: 95 % intervals over {'seeds' if several else 'lifetimes'}"
            path = folder / f"test_{name}.png"
            plot_lines(path, curves, x, score, title, log_y=regression, markers=True)


def plot_classes(folder: Path, results: Mapping[str, Sequence[Record]]) -> None:
    """Accuracy against classes learned: on held-out images (`classes_test`) and on the training
    images (`classes_trajectory`)."""
    for name, curve, title in (
        ("classes_test", "seen", "held-out images of the classes learned so far"),
        ("classes_trajectory", "trajectory", "training images of the classes learned so far"),
    ):
        curves = {
            label: Curve(
                runs[0][curve]["x"],
                [_floats(run[curve]["y"]) for run in runs],
                _floats(runs[0][curve]["low"]),
                _floats(runs[0][curve]["high"]),
            )
            for label, runs in results.items()
            if curve in runs[0]
        }
        if curves:
            several = any(len(drawn.runs) > 1 for drawn in curves.values())
            of = f"{title}; bands: 95 % over {'seeds' if several else 'lifetimes'}"
            plot_lines(
                folder / f"{name}.png", curves, "classes learned", "accuracy", of, markers=True
            )


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]
