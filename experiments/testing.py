"""What a learner is worth on lifetimes it never met, as numbers and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.config import Stream
from metaplastic import OnlineLearner, TaskStream
from metaplastic.evaluate import over_lifetime
from metaplastic.report import Measure

AT_A_TIME = 50  # lifetimes


def judge(
    learner: OnlineLearner, stream: TaskStream, config: Stream, folder: Path
) -> dict[str, Any]:
    """Live `config.episodes` lifetimes of the stream; write `lifetimes.json` and `.csv`.

    Returns the summary that tables are made of: `score` with its 95 % interval over lifetimes, the
    same for each subtask at the end (`final`, in the order met), and the curves.
    """
    spec = stream.spec
    online = learner.passes == 1 and not learner.batch_learning
    report = over_lifetime(
        learner,
        stream,
        config.episodes,
        seed=config.seed,
        snapshots=None if online else 1,
        tasks_per_batch=min(config.episodes, max(1, AT_A_TIME // _weight(spec.input_shape))),
    )
    report.to_json(folder / "lifetimes.json")
    report.to_csv(folder / "lifetimes.csv")
    of: Measure = "accuracy" if spec.kind == "classification" else "error"
    born, whole, end = report.at_birth(of), report.on_all(of), report.at_end(of)
    summary: dict[str, Any] = {
        "stream": f"{spec.name}, {config.order}",
        "kind": spec.kind,
        "episodes": config.episodes,
        "score": float(whole.mean[-1]),
        "interval": [float(whole.low[-1]), float(whole.high[-1])],
        "final": end.mean.tolist(),
        "forgetting": float(report.forgetting(of).mean),
        "examples": {
            "x": [0, *report.examples.tolist()],
            "y": [float(born.mean), *whole.mean.tolist()],
            "low": [float(born.low), *whole.low.tolist()],
            "high": [float(born.high), *whole.high.tolist()],
        },
    }
    if online and config.order == "incremental":
        met = report.on_seen(of)
        summary["seen"] = {
            "x": list(range(1, spec.subtasks + 1)), "y": met.mean.tolist(),
            "low": met.low.tolist(), "high": met.high.tolist(),
        }  # fmt: skip
    return summary


def _weight(shape: tuple[int, ...]) -> int:
    """How many small pictures an input is as large as: memory bounds the lifetimes at a time."""
    size = 1
    for length in shape:
        size *= length
    return 1 + size // 1000
