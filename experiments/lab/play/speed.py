"""How long a drawing takes to be learned by all learners, and to be answered."""

from __future__ import annotations

import json
import random

from experiments.lab.figures.tables import as_markdown
from experiments.lab.play.session import Session
from experiments.lab.runs.run_folder import origin

CHARACTERS, DRAWINGS = 20, 6


def measured(seed: int) -> str:
    """A table of milliseconds over a full page: every character that it has room for."""
    session, hand = Session(seed), random.Random(seed)
    spent: dict[str, list[float]] = {}
    for number in range(CHARACTERS * DRAWINGS):
        drawing = json.dumps(scribble(hand))
        session.teach(f"{number % CHARACTERS}", drawing)
        session.ask(drawing)
        for what, times in (
            ("learning", session.times.learning), ("answering", session.times.answering)
        ):  # fmt: skip
            spent.setdefault(f"{what}, all of it", []).append(sum(times.values()))
            for part, ms in times.items():
                spent.setdefault(f"{what}: {part}", []).append(ms)
    rows = []
    for what, found in spent.items():
        order = sorted(found[1:])  # the first is ten times as long as any other
        at = {q: order[int(q * (len(order) - 1))] for q in (0.0, 0.5, 0.95)}
        rows.append({"ms": what, "fastest": f"{at[0.0]:.1f}", "median": f"{at[0.5]:.1f}",
                     "95 of 100": f"{at[0.95]:.1f}"})  # fmt: skip
    return f"{origin('cpu')}\n\n{as_markdown(rows, order=())}"


def scribble(hand: random.Random) -> list[list[list[float]]]:
    """Three strokes of random points."""
    return [[[hand.uniform(0, 280), hand.uniform(0, 280)] for _ in range(40)] for _ in range(3)]
