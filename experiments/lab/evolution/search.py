"""Evolution strategies: antithetic mutations of one point, each pair on the same lifetimes.

Salimans et al. (2017, arXiv:1703.03864). Accuracy, and how often a rule sleeps, have no derivative;
a mutated rule needs a forward life alone. Where there is a derivative it is far less noisy
(`--estimators`). Every generation has one architecture and one kind of data, drawn anew, on which
all its mutants live; several processes may share them.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.lab.evolution.data import Source, random_lifetimes
from experiments.lab.evolution.networks import WIDE, random_network
from experiments.lab.evolution.population import accuracies
from experiments.lab.evolution.space import SPACE, first_point, options_at, spreads
from experiments.lab.runs.run_folder import write_json
from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.distributed import ProcessGroup, in_order

VECTORS = ("point", "mean", "square", "average")
OFTEN_WIDE = 0.15  # of the generations have a wide network
MARKS = (0.25, 0.5, 1.0)  # parts of a lifetime at which accuracy counts


@dataclass
class Search:
    """A search, and where it stands; `state` is all that a resumed one needs.

    Attributes:
        pairs: of mutants in a generation.
        rate: of Adam, in units of a mutation's standard deviation.
        shares: equal parts of a generation's mutants, each of which lives in one loop: the result
            is the same, to the bit, by any number of processes that divides it.
        group: the processes.
    """

    given: list[Source]
    seed: int
    pairs: int = 6
    lifetimes: int = 6
    rate: float = 0.1
    rows: int = 2048
    shares: int = 2
    group: ProcessGroup = field(default_factory=ProcessGroup)

    def __post_init__(self) -> None:
        size = len(SPACE)
        self.generation = 0
        self.point = torch.zeros(size, dtype=torch.float64)  # in spreads, from `first_point`
        self.mean, self.square = torch.zeros_like(self.point), torch.zeros_like(self.point)
        self.average = torch.zeros_like(self.point)

    def at(self, point: Tensor) -> dict[str, float]:
        """The rule's numbers at a point in units of spreads."""
        return options_at(first_point() + spreads() * point)

    def generate(self) -> dict[str, Any]:
        """One generation: what it was, for the log."""
        draw = random.Random(f"{self.seed} {self.generation}")
        wide = draw.random() < OFTEN_WIDE
        count = min(WIDE, self.lifetimes) if wide else self.lifetimes
        lifetimes = random_lifetimes(self.given, count, draw)
        make = random_network(tuple(lifetimes.x.shape[2:]), lifetimes.outputs, draw, wide=wide)
        g = torch.Generator().manual_seed(draw.getrandbits(60))
        mutations = torch.randn(self.pairs, len(SPACE), generator=g, dtype=torch.float64)
        mutants = [self.point + sign * m for sign in (1, -1) for m in mutations]
        steps = lifetimes.x.shape[1]
        rules, marks = [self.at(m) for m in mutants], [round(part * steps) for part in MARKS]
        size = len(rules) // self.shares

        def scores_of(share: int) -> Tensor:
            own = rules[share * size : (share + 1) * size]
            return accuracies(own, make, lifetimes, marks, rows_of_noise=self.rows).mean((1, 2))

        found = [part for _, part in in_order(self.group, self.shares, scores_of)]
        scores = torch.cat(found).view(2, self.pairs)
        difference = scores[0] - scores[1]
        # A generation counts by the order of its mutants, whatever its lifetimes can tell apart.
        gradient = ((difference / (difference.abs().mean() + 1e-3))[:, None] * mutations).mean(0)
        self.generation += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * gradient.square()
        first, second = 1 - 0.9**self.generation, 1 - 0.99**self.generation
        self.point = self.point + self.rate * (self.mean / first) / (
            (self.square / second).sqrt() + 1e-8
        )
        self.average = 0.95 * self.average + 0.05 * self.point
        return {
            "generation": self.generation, "accuracy": float(scores.mean()), "steps": steps,
            "classes": lifetimes.outputs,
            "parameters": sum(p.numel() for p in make(0).parameters()),
            "numbers": self.found(),
        }  # fmt: skip

    def found(self) -> dict[str, float]:
        """The rule: the running mean of the points of the last generations."""
        if self.generation == 0:
            return self.at(self.point)
        return self.at(self.average / (1 - 0.95**self.generation))

    def save(self, path: Path) -> None:
        """Where it stands, as JSON."""
        vectors = {name: getattr(self, name).tolist() for name in VECTORS}
        write_json(path, {"generation": self.generation, "numbers": self.found(), **vectors})

    def load(self, path: Path) -> None:
        """Go on from there.

        Raises:
            ConfigError: if that search was over other numbers.
        """
        state = json.loads(path.read_text(encoding="utf-8"))
        if list(state["numbers"]) != list(SPACE):
            raise ConfigError(
                f"{path} is of a search over {', '.join(state['numbers'])}; this one is over "
                f"{', '.join(SPACE)}: choose another --out."
            )
        self.generation = state["generation"]
        for name in VECTORS:
            setattr(self, name, torch.tensor(state[name], dtype=torch.float64))


def evolve(
    search: Search,
    minutes: float,
    folder: Path,
    show: Callable[[str], None],
    generations: int | None = None,
) -> None:
    """Generations until the time, or their number, is over; the state is saved after each.

    Of several processes the main one decides and writes.
    """
    end, group = time.monotonic() + 60 * minutes, search.group
    if group.main:
        folder.mkdir(parents=True, exist_ok=True)
    while generations is None or search.generation < generations:
        in_time = torch.tensor(time.monotonic() < end, dtype=torch.uint8)
        if not bool(group.gather(in_time)[0]):
            return
        entry = search.generate()
        if not group.main:
            continue
        with (folder / "generations.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        search.save(folder / "search.json")
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in entry["numbers"].items())
        show(f"{entry['generation']}: accuracy {entry['accuracy']:.3f}; {numbers}")
