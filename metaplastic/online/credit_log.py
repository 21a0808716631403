"""Angles of one minibatch over training, measured every so many steps and kept as rows.

log = AngleLog(credit, model, x, y, loss_fn, every=100)
for step in range(1, steps + 1):
    ...
    if log.log(step):
        sink.log(step, log.scalars())
log.to_csv("angles.csv")

One minibatch for all of training, because angles differ from minibatch to minibatch by more than
they change in a few steps. A row is one site at one step.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from metaplastic.online.credit import Credit, Loss
from metaplastic.online.credit_angles import angles
from metaplastic.pathways.inverse import InversePathway
from metaplastic.support.disk import write_atomically

MEASURES = ("weight", "local", "delta", "ratio")
"""What is known of a site: three angles in degrees, and the norm of B over that of W."""

Row: TypeAlias = dict[str, Any]
"""`step`, `site` and the measures; a measure is None where there is nothing to compare."""


class AngleLog:
    """Angles of every site on one minibatch, whenever a step is a multiple of `every`.

    Args:
        credit, model, x, y, loss_fn: as for `metaplastic.angles`; the model is run in the mode
            that it is in.
        every: steps from one measurement to the next; a measurement costs two passes forward and
            back. `measure` takes one at any step.

    Measuring changes no weight, gradient, feedback, statistic or state of a random generator.
    `rows` is a plain list, oldest first, sites from the input up: to go on after an interruption,
    put the former rows into it.

    Raises:
        ValueError: for `every` below 1, and for a rule that carries targets through inverses.
    """

    def __init__(
        self, credit: Credit, model: nn.Module, x: Any, y: Any, loss_fn: Loss, *, every: int = 1
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; it is a number of steps, 1 or more.")
        if isinstance(credit.rule.pathway, InversePathway):
            raise ValueError(
                f"{type(credit.rule).__name__} has targets in the place of errors at its sites, so "
                "there are no angles to log; log those of its gradients with backprop's (`angle`)."
            )
        self._measured = (credit, model, x, y, loss_fn)
        self.every = every
        self.rows: list[Row] = []

    def log(self, step: int) -> bool:
        """Measure if it is time to; whether it was."""
        due = step % self.every == 0
        if due:
            self.measure(step)
        return due

    def measure(self, step: int) -> None:
        """Add a row for each site, whatever the step.

        Raises:
            ValueError: if the step is not after the last one measured.
        """
        if self.rows and step <= (last := self.rows[-1]["step"]):
            raise ValueError(
                f"step {step} was to be logged after step {last}; steps go up. Begin another "
                "AngleLog for another run, or cut `rows` back to the step you go on from."
            )
        model: nn.Module = self._measured[1]
        used = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=sorted(used)):
            seen = angles(*self._measured)
        for site, found in seen.items():
            known = asdict(found)
            self.rows.append({"step": step, "site": site} | {m: known[m] for m in MEASURES})

    def scalars(self) -> dict[str, float]:
        """The last measurement as `angles/SITE/MEASURE` -> value: metrics for any sink."""
        if not self.rows:
            return {}
        last = self.rows[-1]["step"]
        return {
            f"angles/{row['site']}/{measure}": float(value)
            for row in self.rows
            if row["step"] == last
            for measure in MEASURES
            if (value := row[measure]) is not None
        }

    def to_csv(self, path: str | Path) -> None:
        """All rows under a header; a measure that there is not is an empty cell."""
        text = io.StringIO()
        table = csv.DictWriter(text, ("step", "site", *MEASURES), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(Path(path), text.getvalue().encode())

    def to_json(self, path: str | Path) -> None:
        """All rows as a list of objects; what is not finite is a string that `float` reads."""
        rows = [{key: _finite(value) for key, value in row.items()} for row in self.rows]
        write_atomically(Path(path), (json.dumps(rows, indent=1) + "\n").encode())


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
