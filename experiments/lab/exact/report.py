"""The tables of `experiments.exact`, row by row, and how many bounds were missed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import torch

from experiments.lab.exact.autograd import Entry, compared
from experiments.lab.exact.config import BOUNDS, Number
from experiments.lab.exact.networks import NETWORKS
from experiments.lab.exact.points import point
from experiments.lab.exact.two_ways import Apart, two_ways
from experiments.lab.settings.registry import ConfigError

Row = dict[str, str]


def selected(names: Sequence[str], words: Sequence[str], what: str) -> list[str]:
    """The names that contain one of the words, or all if there is no word.

    Raises:
        ConfigError: if there is none.
    """
    found = [name for name in names if not words or any(word in name for word in words)]
    if not found:
        raise ConfigError(f"no {what} is called by {' or '.join(words)}: {', '.join(names)}.")
    return found


def rules_table(
    rules: Sequence[str],
    networks: Sequence[str],
    dtype: Number,
    seed: int,
    compiled: bool = False,
) -> Iterator[tuple[Row, int]]:
    """A row for each rule, a column for each network, and how many cells miss the bound."""
    for rule in rules:
        row, missed = {"rule": rule}, 0
        for network in networks:
            make = point(rule, network)
            kind = getattr(torch, dtype)
            found = two_ways(NETWORKS[network], make, kind, seed, compiled=compiled)
            within = found.most < BOUNDS[dtype] and found.moved > 0
            missed += not within
            row[network] = _cell(found) + ("" if within else " MISSED")
        yield row, missed


def _cell(found: Apart) -> str:
    return " / ".join(map(_size, (found.weights, found.feedback, found.traces)))


def _size(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def zoo(words: Sequence[str]) -> Mapping[str, Entry]:
    """The networks of `tests.zoo`, by name.

    Raises:
        ConfigError: where there are no tests, or no network is called by one of the words.
    """
    try:
        every: Mapping[str, Entry] = import_module("tests.zoo").zoo()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error}: the zoo is part of the tests; run the command in the repository, with the "
            "packages of its tests."
        ) from None
    return {name: every[name] for name in selected(list(every), words, "network")}


def zoo_row(entry: Entry) -> tuple[Row, bool]:
    """A network's row, and whether it misses the bound."""
    row = {"network": entry.name}
    if (reason := entry.missing()) is not None:
        return row | {"farthest from autograd": f"skipped: {reason}"}, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            by_rule, table = compared(entry)
    except Exception as error:  # the table says of every network what became of it
        text = " ".join(str(error).split())[:120]
        return row | {"farthest from autograd": f"MISSED: {type(error).__name__}: {text}"}, True
    name = max(table, key=lambda name: table[name])
    missed = not table[name] < BOUNDS["float64"]
    lost = "; ".join(f"{lost} ({why})" for lost, why in by_rule.unreached.items())
    return row | {
        "sites": str(len(by_rule.shapes)), "parameters": str(len(table)),
        "farthest from autograd": f"{_size(table[name])}{' MISSED' if missed else ''}",
        "out of reach": lost or "none",
    }, missed  # fmt: skip
