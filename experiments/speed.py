"""Time and memory compared with other libraries and with hardware bounds.

    python -m experiments.speed --only plastic_head --repeat 9
    python -m experiments.speed --draw runs/speed.json

Prints every row with its goal and its range over rounds, and keeps the same as JSON. The row growth
has a figure beside it, `growth.png`, which the second command draws again from the JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc

from experiments.benchmarks import ON_DEVICE, ROWS, Finding, of_threads
from experiments.benchmarks.child import start
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require

FORMER = {"long_life": "long_lifetime"}
GROWTH = "growth"  # the row with a figure


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measure speed and memory, each row in a process of its own, and print them with their goals.

    Rows: plastic_head, inner_sgd, encoder_once, deep_sines, long_lifetime, sampling, many_classes,
    matrix, credit, one_online_example, residual, encoder_beside_jax, long_beside_jax,
    online_beside_jax, executors, growth.
    Candidates alternate within a row, so that a ratio comes from one run; it is the median over
    rounds, with the lowest and the highest. Close what else is running: a busy machine widens the
    range. JAX, where it is installed, runs the same lifetimes in a process of its own, after its
    meta-gradient (of an online step: its change of the weights) was compared with ours.
    """

    only: Annotated[tuple[str, ...], Doc("rows to measure; none: all")] = ()
    rules: Annotated[tuple[str, ...], Doc("rules of one_online_example; none: all")] = ()
    repeat: Annotated[int, Doc("rounds")] = 5
    threads: Annotated[int | None, Doc("threads; None: as the row says")] = None
    device: Annotated[str, Doc("cpu, or an accelerator such as cuda")] = "cpu"
    out: Annotated[Path, Doc("the same as JSON, with figures beside it")] = Path("runs/speed.json")
    draw: Annotated[Path | None, Doc("draw the figures of this JSON; measure nothing")] = None
    seed: Annotated[int, Doc("of parameters and made data")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Speed, argv, Speed())
    if config.draw is not None:
        return draw(config.draw)
    rows = [renamed(name) for name in config.only]
    for name in rows:
        require(name, ROWS, "a row")
    if config.rules and rows != ["one_online_example"]:
        raise ConfigError("--rules is of one row: give --only one_online_example with it.")
    from experiments.lab.networks.build import require_device  # names torch

    require_device(config.device)
    from experiments.lab.runs.run_folder import (  # names torch's build
        environment,
        origin,
        write_json,
    )

    print(f"{origin(config.device)} Load {os.getloadavg()[0]:.1f}.")
    record: dict[str, Any] = {"environment": environment(), "load": os.getloadavg(), "rows": {}}
    for name in rows or ROWS:
        threads = config.threads or ROWS[name]
        print(f"\n{name}, {of_threads(threads)}")
        if config.device != "cpu" and name not in ON_DEVICE:
            print(f"  not measured: of the processor alone; {', '.join(ON_DEVICE)} take --device")
            continue
        findings = run(name, threads, config)
        for finding in findings:
            print(line(finding))
        record["rows"][name] = {"threads": threads, "findings": [asdict(f) for f in findings]}
        write_json(config.out, record)
        if name == GROWTH:
            draw(config.out)


def draw(path: Path) -> None:
    """Draw the figure of growth from a record that has the row, beside it."""
    from experiments.lab.figures.growth_plots import plot_growth  # names matplotlib

    try:
        findings = json.loads(path.read_text("utf-8"))["rows"][GROWTH]["findings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a record with the row {GROWTH}.") from error
    figure = path.with_name("growth.png")
    plot_growth(figure, findings)
    print(f"\nDrawn: {figure}")


def renamed(row: str) -> str:
    """The row of this name, or of this former name."""
    if row in FORMER:
        print(f"The row {row} is now called {FORMER[row]}.")
    return FORMER.get(row, row)


def run(name: str, threads: int, config: Speed) -> list[Finding]:
    """Measure one row in a fresh process with that many threads."""
    words = ["--repeat", str(config.repeat), "--threads", str(threads), "--seed", str(config.seed)]
    words += ["--device", config.device]
    if config.rules:
        words += ["--rules", *config.rules]
    environment = {"OMP_NUM_THREADS": str(threads)}
    return [Finding(**found) for found in start(name, *words, environment=environment)]


def line(finding: Finding) -> str:
    """Two lines of text: what and what came out; the goal, and the peak memory of the process."""
    verdict = {True: ": met", False: ": NOT met", None: ""}[finding.met]
    goal = f"goal {finding.goal}{verdict}; " if finding.goal else ""
    return f"  {finding.what}\n    {finding.result}\n    {goal}peak {finding.peak_mb:.0f} MB"


if __name__ == "__main__":
    cli.run(main)
