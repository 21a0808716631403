"""Evolution of a rule: its population engine, batched lifetimes, the search and its command."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.discover import main
from experiments.lab.evolution import data, population
from experiments.lab.evolution.networks import random_network
from experiments.lab.evolution.search import Search
from experiments.lab.evolution.space import (
    SPACE,
    first_point,
    neutralized,
    options_at,
    rule_of,
    terms,
)
from experiments.lab.settings.registry import ConfigError
from experiments.lab.transfer import batched
from metaplastic import Backprop, PlasticModule, from_pretrained
from metaplastic.alignment import Sleep
from metaplastic.plasticity import Adaptive


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[data.Source]:
    """Sources of small images of noise around a mean for each class."""
    monkeypatch.setattr(data, "LENGTHS", (8, 12))
    monkeypatch.setattr(data, "QUERIES", 12)
    g = torch.Generator().manual_seed(0)
    means = 255 * torch.rand(12, 1, 8, 8, generator=g)
    images = (means + 20 * torch.randn(12, 9, 8, 8, generator=g)).clamp(0, 255).byte()
    found = [data.Source(images, 3)]
    monkeypatch.setattr(data, "sources", lambda: found)
    return found


def lives(given: list[data.Source], seed: int, count: int = 3) -> tuple[batched.Lifetimes, Any]:
    """Lifetimes and a random architecture, in float64."""
    draw = random.Random(seed)
    found = data.random_lifetimes(given, count, draw)
    make = random_network(tuple(found.x.shape[2:]), found.outputs, draw)
    doubled = batched.Lifetimes(
        found.x.double(), found.y, found.query_x.double(), found.query_y, found.seeds, found.outputs
    )
    return doubled, lambda seed: make(seed).double()


@pytest.mark.parametrize("seed", range(8))
def test_a_population_learns_as_the_inner_step_does(given: list[data.Source], seed: int) -> None:
    lifetimes, make = lives(given, seed)
    numbers = options_at(first_point()) | {"rate": 0.02, "hidden": 0.7}
    other = numbers | {"nesterov": 0.0, "fan_in": -0.2, "weight_decay": 3.0}
    marks = [1, lifetimes.x.shape[1]]
    together = population.accuracies([numbers, other], make, lifetimes, marks, rows_of_noise=None)
    for found, options in zip(together, (numbers, other), strict=True):
        rule = rule_of(options, pathway=Backprop())
        assert torch.equal(found, batched.accuracies(rule, make, lifetimes, marks))


@pytest.mark.parametrize("seed", [0, 3])
def test_batched_lifetimes_are_those_of_a_module_in_place(
    given: list[data.Source], seed: int
) -> None:
    lifetimes, make = lives(given, seed)
    steps = lifetimes.x.shape[1]
    rule = rule_of(options_at(first_point()) | {"rate": 0.02}, rows=64)
    found = batched.accuracies(rule, make, lifetimes, [steps])
    for life, own in enumerate(lifetimes.seeds):
        net = PlasticModule(
            make(own), rule_of(options_at(first_point()) | {"rate": 0.02}, rows=64),
            example=lifetimes.x[life, :1], seed=own,
        )  # fmt: skip
        for x, y in zip(lifetimes.x[life], lifetimes.y[life], strict=True):
            net(x[None])
            net.learn(y[None])
        right = net(lifetimes.query_x[life]).argmax(-1) == lifetimes.query_y[life]
        assert found[life, 0] == right.double().mean()


def test_a_search_goes_on_where_it_was(given: list[data.Source], tmp_path: Path) -> None:
    straight = Search(given, 0, pairs=2, lifetimes=2, rows=16)
    for _ in range(3):
        straight.generate()
    halted = Search(given, 0, pairs=2, lifetimes=2, rows=16)
    halted.generate()
    halted.save(tmp_path / "search.json")
    resumed = Search(given, 0, pairs=2, lifetimes=2, rows=16)
    resumed.load(tmp_path / "search.json")
    for _ in range(2):
        resumed.generate()
    assert torch.equal(straight.point, resumed.point)
    assert straight.found() == resumed.found()


def test_a_search_over_other_numbers_is_refused(given: list[data.Source], tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    search = Search(given, 0)
    search.save(path)
    state = json.loads(path.read_text())
    del state["numbers"]["sleep"]
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="choose another --out"):
        search.load(path)


def test_every_term_can_be_left_out_of_the_rule() -> None:
    numbers = options_at(first_point())
    assert set(numbers) == set(SPACE)
    for term in terms():
        without = rule_of(neutralized(numbers, term)).plasticity
        assert isinstance(without, Adaptive)
    with pytest.raises(ValueError, match="rate cannot be left out"):
        neutralized(numbers, "rate")
    plain = numbers
    for term in terms():
        plain = neutralized(plain, term)
    alignment = rule_of(plain).alignment
    assert isinstance(alignment, Sleep)
    assert alignment.every is None
    assert alignment.awake.options["decay"] == 0
    asleep = rule_of(plain | {"sleep": 20.0, "feedback_decay": 0.01}).alignment
    assert isinstance(asleep, Sleep)
    assert (asleep.due(20), asleep.due(21), asleep.awake.options["decay"]) == (1, 0, 0.01)
    found = rule_of(plain).plasticity.equation()
    assert found.startswith("dW = 0.001 m") or found.startswith("dW = 0.001 (m) /")


def test_the_command_writes_a_rule_that_loads(
    given: list[data.Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--by",
        "evolution",
        "--minutes",
        "0.01",
        "--pairs",
        "1",
        "--lifetimes",
        "1",
        "--rows",
        "8",
    ]
    main([*arguments, "--ablations", "2", "--out", str(tmp_path / "found")])
    written = json.loads((tmp_path / "found" / "found.json").read_text())
    rule = from_pretrained(tmp_path / "found" / "rule").rule
    assert isinstance(rule.plasticity, Adaptive)
    assert rule.plasticity.initial == written["pruned"]["rate"]
    assert rule.hidden_multiplier == written["pruned"]["hidden"]
    assert "dW = " in capsys.readouterr().out
