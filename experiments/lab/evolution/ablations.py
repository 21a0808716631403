"""What each term of a rule is worth: lifetimes with it and without it, on draws that are new."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from experiments.lab.evolution.data import random_lifetimes
from experiments.lab.evolution.networks import WIDE, random_network
from experiments.lab.evolution.population import accuracies
from experiments.lab.evolution.space import neutralized, terms
from experiments.lab.figures.tables import as_markdown
from metaplastic.outer.distributed import in_order

if TYPE_CHECKING:
    from experiments.lab.evolution.search import Search

RATES, FAN_INS = (1.0, 0.5, 0.25), (0.0, 0.4)
Losses = dict[str, tuple[float, float]]
"""What a rule has above each other one: mean over draws, standard error, in points of accuracy."""


def ablate(
    search: Search,
    options: Mapping[str, float],
    draws: int,
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> Losses:
    """The accuracy above that without each term, or above that of `others`, pair by pair.

    With `others`, every second draw is a wide network. Processes share the draws.
    """
    from experiments.lab.evolution.search import MARKS

    widens = others is not None
    if others is None:
        others = {t: neutralized(options, t) for t in terms() if options[t] != _neutral(t)}
    rules = [dict(options), *map(dict, others.values())]

    def differences(number: int) -> Tensor:
        draw = random.Random(f"{search.seed} ablation {len(others)} {number}")
        wide = widens and number % 2 == 1
        count = min(WIDE, search.lifetimes) if wide else search.lifetimes
        lifetimes = random_lifetimes(search.given, count, draw)
        make = random_network(tuple(lifetimes.x.shape[2:]), lifetimes.outputs, draw, wide=wide)
        marks = [round(part * lifetimes.x.shape[1]) for part in MARKS]
        found = accuracies(rules, make, lifetimes, marks, rows_of_noise=search.rows).mean((1, 2))
        return 100 * (found[0] - found[1:])

    # The last round of several processes may have more of them than draws are left.
    rounds = -(-draws // search.group.size) * search.group.size
    shared = in_order(search.group, rounds, lambda k: differences(min(k, draws - 1)))
    each = torch.stack([row for _, row in shared][:draws])
    error = each.std(0) / draws**0.5 if draws > 1 else torch.full_like(each[0], float("nan"))
    return {name: (float(each[:, i].mean()), float(error[i])) for i, name in enumerate(others)}


def pruned(options: Mapping[str, float], losses: Losses) -> dict[str, float]:
    """The rule without the terms whose loss is not above zero by two standard errors."""
    kept = dict(options)
    for term, (mean, error) in losses.items():
        if not mean > 2 * error:
            kept = neutralized(kept, term)
    return kept


def refined(
    search: Search, options: Mapping[str, float], draws: int
) -> tuple[dict[str, float], Losses]:
    """The rule with the rate, and its dependence on the inputs, that do best where widths vary.

    Widths are what a search can afford least, and what a rate depends on most.
    """
    others = {
        f"rate x {factor:g}, fan_in {power:g}": {
            **options, "rate": factor * options["rate"], "fan_in": power,
        }
        for factor in RATES
        for power in FAN_INS
        if factor != 1 or power != options["fan_in"]
    }  # fmt: skip
    losses = ablate(search, options, draws, others=others)
    best = min(losses, key=lambda name: losses[name][0])
    return dict(others[best]) if losses[best][0] < 0 else dict(options), losses


def table(losses: Losses, what: str) -> str:
    """A row for each term or rule."""
    rows = [
        {"": name, what: f"{mean:.2f}", "standard error": f"{error:.2f}"}
        for name, (mean, error) in losses.items()
    ]
    return as_markdown(rows, order=())


def _neutral(term: str) -> float | None:
    from experiments.lab.evolution.space import SPACE

    return SPACE[term].neutral
