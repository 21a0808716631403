"""What a sweep found: a table of its trials, the best one, and the figures that Optuna draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.sweeps.config import Sweep

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were completed or pruned, the best first, pruned ones last."""
    trials = [trial for trial in study.trials if trial.state in ENDED]
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1

    def place(trial: FrozenTrial) -> tuple[bool, float, int]:
        pruned = trial.state is TrialState.PRUNED
        value = None if pruned else trial.value
        return pruned, 0.0 if value is None else sign * value, trial.number

    return sorted(trials, key=place)


def rows(study: optuna.Study, measure: str) -> list[dict[str, str]]:
    """A row for each trial."""
    table = []
    for trial in ended(study):
        values = trial.intermediate_values
        pruned = trial.state is TrialState.PRUNED
        reason = "diverged" if trial.user_attrs.get("diverged") else "pruned"
        last = trial.value if not pruned else values[max(values)] if values else None
        table.append(
            {
                "run": str(trial.user_attrs.get("run", trial.number)).rpartition("/")[2],
                f"validation {measure}": "" if last is None else f"{last:.4g}",
                "meta-steps": str(max(values, default=0)),
                "": reason if pruned else "",
                **{name: _word(value) for name, value in trial.params.items()},
            }
        )
    return table


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_report(study: optuna.Study, config: Sweep, measure: str) -> str:
    """Write `table.md`, `table.json` and the figures; returns the table."""
    table = rows(study, measure)
    text = f"{origin(config.device)}\n\n{as_markdown(table, order=())}"
    write_json(config.root / "table.json", {"remark": origin(config.device), "table": table})
    (config.root / "table.md").write_text(text + "\n", encoding="utf-8")
    plot(study, config.root / "plots", f"validation {measure}")
    return text


def plot(study: optuna.Study, folder: Path, title: str) -> None:
    """The figures of `optuna.visualization` that the trials suffice for."""
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as figures

    completed = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    drawn: dict[str, Callable[[], Any]] = {
        "history": lambda: figures.plot_optimization_history(study, target_name=title),
        "intermediate": lambda: figures.plot_intermediate_values(study),
        "timeline": lambda: figures.plot_timeline(study),
    }
    if completed:
        drawn["slice"] = lambda: figures.plot_slice(study, target_name=title)
        drawn["parallel"] = lambda: figures.plot_parallel_coordinate(study, target_name=title)
    if len({tuple(trial.params.values()) for trial in completed}) > 1:
        drawn["importances"] = lambda: figures.plot_param_importances(study)
        if len(completed[0].params) > 1:
            drawn["contour"] = lambda: figures.plot_contour(study, target_name=title)
    folder.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    for name, draw in drawn.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layout, of an axis without extent, of experiments
            axes = draw()
            figure = plt.gcf()
            figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        plt.close("all")
        del axes
