"""How cost grows: exponents are those of the data, and the figure is drawn from the JSON alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import speed
from experiments.benchmarks import growth
from experiments.benchmarks.growth import alone, axes, fit, processes
from experiments.lab.figures.growth_plots import draw_growth
from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.distributed import ProcessGroup

SIZES = (2, 4, 8)
TINY = {
    "steps": lambda size: axes.with_meta_gradient(1, size, 8),
    "steps_without": lambda size: axes.without_gradient(size, 1, 8),
    "tasks": lambda size: axes.with_meta_gradient(size, 2, 8),
    "width": lambda size: axes.with_meta_gradient(1, 2, size),
    "classes": partial(axes.of_classes, examples=16),
}


def test_the_exponent_and_its_standard_error_are_exact() -> None:
    sizes = [1, 10, 100, 1000]
    exact = fit.fit(sizes, [3 * size**1.5 for size in sizes])
    assert exact is not None
    assert exact.exponent == pytest.approx(1.5, abs=1e-12)
    assert exact.factor == pytest.approx(3, rel=1e-12)
    assert exact.standard_error < 1e-12
    # Residuals of 1, -1, -1 and 1 have no slope: the line stays as it is.
    off = fit.fit(sizes, [size * np.e**e for size, e in zip(sizes, (1, -1, -1, 1), strict=True)])
    assert off is not None
    assert off.exponent == pytest.approx(1, abs=1e-12)
    spread = np.log(10) ** 2 * (1.5**2 + 0.5**2) * 2
    assert off.standard_error == pytest.approx(np.sqrt(4 / 2 / spread), rel=1e-9)
    assert fit.fit(sizes, [0, 1, 1, 1]) is None


def test_goals_are_held_to_exponents_and_to_megabytes() -> None:
    def met(goal: fit.Goal, exponent: float, scale: float = 1.0) -> bool | None:
        costs = [[scale * size**exponent] for size in (1, 10, 100)]
        return fit.finding("x", "steps", "MB", (1, 10, 100), costs, goal).met

    assert met(fit.at_most(1.1), 1.09)
    assert not met(fit.at_most(1.1), 1.11)
    assert met(fit.near_zero(0.1), -0.09)
    assert not met(fit.near_zero(0.1), -0.11)
    assert met(fit.flat(0.05, 2), 1, scale=0.01)  # 1 MB more
    assert met(fit.flat(0.05, 2), 0.04, scale=100)
    assert not met(fit.flat(0.05, 2), 0.06, scale=100)
    assert met(fit.NONE, 3) is None
    nothing = fit.finding("x", "steps", "MB", (1, 10, 100), [[0.0]] * 3, fit.flat(0.05, 2))
    assert nothing.met
    assert nothing.detail == {}


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The row at tiny sizes, all in this process, as its JSON has it."""

    def in_this_process(count: int, rounds: int, calls: int, seed: int) -> dict[str, Any]:
        return processes.shared(ProcessGroup(), rounds, calls, seed, tasks=4, steps=2)

    assert set(TINY) == set(axes.AXES)
    small = {name: replace(axes.AXES[name], sizes=SIZES, make=make) for name, make in TINY.items()}
    for module in (growth, alone):
        monkeypatch.setattr(module, "AXES", small)
    monkeypatch.setattr(growth, "by_torchrun", in_this_process)
    monkeypatch.setattr(
        growth, "each_alone", lambda name, sizes: [alone.megabytes(name, size) for size in sizes]
    )
    made = json.loads(json.dumps([asdict(found) for found in growth.measure(2, 0)]))
    assert isinstance(made, list)
    return made


def test_every_axis_has_time_and_memory_and_two_panels(findings: list[dict[str, Any]]) -> None:
    kinds = [found["what"].rpartition(": ")[2] for found in findings]
    assert kinds == ["time", "memory"] * (len(TINY) + 1)
    for found in findings[::2]:
        series = found["series"]
        ends = zip(series["lowest"], series["middle"], series["highest"], strict=True)
        assert all(0 < low <= middle <= high for low, middle, high in ends)
        assert "standard error" in found["result"]
    panels = [panel for panel in draw_growth(findings).axes if panel.get_visible()]
    assert len(panels) == len(findings)
    assert panels[0].get_xlabel() == "steps"
    said = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert said[1].startswith(f"exponent {findings[0]['detail']['exponent']:.2f}")


def test_the_command_draws_a_record_again(tmp_path: Path) -> None:
    record = tmp_path / "speed.json"
    costs = [[1.0, 2.0, 1.5], [2.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    pair = [fit.finding("a lifetime", "steps", u, SIZES, costs, fit.NONE) for u in ("ms", "MB")]
    rows = {"growth": {"threads": 1, "findings": [asdict(found) for found in pair]}}
    record.write_text(json.dumps({"rows": rows}))
    speed.main(["--draw", str(record)])
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    record.write_text(json.dumps({"rows": {}}))
    with pytest.raises(ConfigError, match="not a record with the row growth"):
        speed.main(["--draw", str(record)])


@pytest.mark.slow
def test_two_processes_of_torchrun_have_the_same_meta_gradient() -> None:
    two = processes.by_torchrun(2, 1, 1, seed=3)
    assert two["result"] == processes.shared(ProcessGroup(), 1, 1, seed=3)["result"]
    assert len(two["megabytes"]) == 2
