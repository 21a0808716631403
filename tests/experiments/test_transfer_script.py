"""Plugging a rule into other networks, from the command line to the last file, in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments import plug
from experiments.lab.networks.transfer_networks import NETWORKS, network
from experiments.lab.settings.registry import ConfigError
from experiments.lab.transfer.lifetimes import (
    STEP,
    Lifetime,
    Method,
    accuracy,
    adapt_and_evaluate,
    by_delta,
    by_rule,
    choose,
    fixed,
)
from metaplastic import (
    CrossEntropy,
    Direct,
    LearningRule,
    Oja,
    OnlineLearner,
    PlasticityRule,
    PlasticModule,
    save_pretrained,
)  # fmt: skip
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from tests.pathways.test_relative_steps import traveling

METHODS = [
    "the rule", "the rule, rate scale tuned", "feedback alignment", "direct feedback alignment",
    "backprop",
]  # fmt: skip
TINY = (
    "--task", "glyphs", "--stream", "ways=2", "shots=3", "queries_per_class=4", "--examples", "30",
    "--seeds", "2", "--episodes", "1", "--lifetimes", "1", "--sweep", "0.03", "--threads", "1",
    "--networks", "conv", "deep",
)  # fmt: skip


def saved(folder: Path, feedback: FeedbackPathway, plasticity: PlasticityRule) -> str:
    small = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.ReLU(), nn.Linear(4, 2))
    learner = OnlineLearner(small, LearningRule(feedback, plasticity), CrossEntropy(2))
    return str(save_pretrained(learner, folder / "rule"))


def polynomial() -> LearningRule:
    first = {"signal_pre": 0.02, "oja": 1e-3}
    return LearningRule(RandomFeedback(weights="redrawn"), Polynomial(tuple(first), first=first))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("plug")
    rule = polynomial()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plug, "RATE_SCALES", (1.0,))
        patch.setattr("experiments.lab.transfer.lifetimes.BEYOND", 0)
        path = saved(folder, rule.pathway, rule.plasticity)
        plug.main([path, *TINY, "--out", str(folder / "out")])
    return folder / "out", path


def kept(made: tuple[Path, str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((made[0] / "plug.json").read_text())
    return read


def test_a_table_a_figure_and_numbers_are_left(made: tuple[Path, str]) -> None:
    left = {path.name for path in made[0].iterdir()}
    assert left == {"plug.json", "plug.md", "plug.png", "plug.pdf"}
    assert kept(made)["equation"] == "dW = 0.02 s x' + 0.001 (y x' - y y'W)"
    assert kept(made)["equation"] in (made[0] / "plug.md").read_text()


def test_every_network_is_taught_by_every_method_at_the_same_moments(
    made: tuple[Path, str],
) -> None:
    found = kept(made)
    assert found["examples"] == [0, 25, 30]
    assert list(found["networks"]) == ["conv", "deep"]
    for name, one in found["networks"].items():
        assert list(one["methods"]) == METHODS
        for method in one["methods"].values():
            assert [len(curve) for curve in method["accuracy"]] == [3, 3]  # seeds, then moments
        initial = {tuple(c[0] for c in method["accuracy"]) for method in one["methods"].values()}
        assert len(initial) == 1, name  # the same lifetimes, the same first weights


def test_the_table_is_of_those_numbers(made: tuple[Path, str]) -> None:
    found = kept(made)
    rows = {(r["network"], r["accuracy % after examples"]): r for r in found["table"]}
    assert len(rows) == 2 * len(METHODS)
    ends = {
        label: [curve[-1] for curve in method["accuracy"]]
        for label, method in found["networks"]["conv"]["methods"].items()
    }
    row = rows["conv", "the rule"]
    assert row["30"].startswith(f"{50 * sum(ends['the rule']):.1f} ± ")
    share = 100 * sum(ends["the rule"]) / sum(ends["backprop"])
    assert row["% of backprop"] == f"{share:.0f}"
    assert rows["conv", "backprop"]["% of backprop"] == "100"


def test_the_transplant_of_every_network_is_reported(
    made: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    reports = {name: one["transplant"] for name, one in kept(made)["networks"].items()}
    assert len(reports["conv"]) == 4
    assert len(reports["deep"]) == 9
    reported = {what for report in reports.values() for what in report.values()}
    assert reported == {"rates copied, feedback sampled"}


def test_rates_are_chosen_on_other_draws_than_those_of_the_test(
    made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tuned: dict[float, list[Lifetime]] = {}
    tested: list[Lifetime] = []
    was = Method.curve

    def curve(
        self: Method, rate: float, lifetimes: list[Lifetime], steps: list[int]
    ) -> list[float]:
        (tuned.setdefault(rate, []) if len(steps) == 1 else tested).extend(lifetimes)
        return was(self, rate, lifetimes, steps)

    monkeypatch.setattr(Method, "curve", curve)
    monkeypatch.setattr(plug, "RATE_SCALES", (1.0, 2.0))
    monkeypatch.setattr("experiments.lab.transfer.lifetimes.BEYOND", 0)
    words = (*TINY[:-2], "conv", "--sweep", "0.01", "0.1", "--out", str(tmp_path))
    plug.main([made[1], *words])
    assert set(tuned) == {1.0, 2.0, 0.01, 0.1}
    (choosing,) = {
        lifetime.seed for lifetimes in tuned.values() for lifetime in lifetimes
    }  # one for every rate
    assert {lifetime.seed for lifetime in tested} == {
        lifetime.seed for lifetime in tested[:2]
    }  # one for each seed
    assert choosing not in {lifetime.seed for lifetime in tested}
    (validation, *_) = tuned[1.0]
    for lifetime in tested:
        for x in (lifetime.x, lifetime.query_x):
            assert not any(torch.equal(a, b) for a in x for b in validation.x)


def test_a_best_rate_at_the_end_of_the_range_is_looked_for_beyond() -> None:
    best, tried = choose(lambda rate: -abs(rate - 0.3 * STEP), (0.03, 0.1, 0.3))
    assert best == pytest.approx(0.3 * STEP)
    assert max(tried) == pytest.approx(0.3 * STEP**2)
    low, _ = choose(lambda rate: -rate, (0.1, 1.0))
    assert low == pytest.approx(0.1 / STEP**3)
    best, tried = choose(lambda _: 0.5, (0.1, 1.0))
    assert (best, len(tried)) == (0.1, 2)


NAMED = pytest.mark.filterwarnings("ignore:.*1.position .at no site, and the rule changes nothing")


@pytest.mark.parametrize(
    "name",
    # Positions of tokens are at no site; a warning names them.
    [pytest.param(n, marks=NAMED) if n == "transformer" else n for n in NETWORKS],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_every_network_learns_one_lifetime_by_every_method(
    name: str, shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, *shape, generator=generator)
    lifetime = Lifetime(x, torch.tensor([0, 1, 0]), x, torch.tensor([0, 1, 0]), 3)
    rule = polynomial()
    for make_learner in (by_rule(rule), by_rule(traveling()), *fixed(rule).values()):
        model = network(name, shape, 2, lifetime.seed)
        first = [p.clone() for p in model.parameters()]
        assert len(adapt_and_evaluate(model, make_learner, 0.1, lifetime, (0, 3))) == 2
        assert any(not torch.equal(a, b) for a, b in zip(first, model.parameters(), strict=True))


def test_first_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (
        dict(network("residual", (1, 28, 28), 5, seed).named_parameters()) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_a_prediction_that_is_not_finite_is_wrong() -> None:
    readout = nn.Linear(4, 2)
    nn.init.constant_(readout.weight, float("nan"))
    model = nn.Sequential(nn.Flatten(), readout)
    x = torch.zeros(2, 1, 2, 2)
    lifetime = Lifetime(x, torch.tensor([0, 0]), x, torch.tensor([0, 0]), 0)
    net = by_delta("bp")(model, x[:1], 0, 0.1)
    assert isinstance(net, PlasticModule)
    assert accuracy(net, lifetime) == 0
    assert net.training


def test_a_lifetime_whose_rate_makes_it_diverge_is_wrong_from_there_on() -> None:
    x, y = torch.randn(40, 1, 2, 2), torch.arange(40) % 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    lifetime = Lifetime(x, y, x, y, 0)
    assert adapt_and_evaluate(model, by_delta("bp"), 1e38, lifetime, (20, 40)) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--networks", "wides"], "'wides' is not a network: did you mean 'wide'?"),
        (["--task", "omniglots"], "'omniglots' is not a task: did you mean 'omniglot'?"),
        (["--examples", "0"], "--examples is 0: it must be at least 1"),
        (["--sweep", "-1"], "every value must be above 0 and finite"),
        (["--stream", "split=train"], "--stream split= cannot be chosen here"),
        (["--task", "sines"], "'ways' is not an option of task 'sines'"),
    ],
)
def test_what_is_wrong_on_the_command_line_gets_a_sentence(
    made: tuple[Path, str], words: list[str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        plug.main([made[1], "--task", "glyphs", "--out", str(tmp_path / "out"), *words])
    assert sentence in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_rule_that_cannot_be_plugged_in_gets_a_sentence_before_any_lifetime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plug, "compare", None)
    path = saved(tmp_path, Direct(), Oja(rate=0.1))
    with pytest.raises(ValueError, match="has the sizes of the network"):
        plug.main([path, *TINY, "--out", str(tmp_path / "out")])
