"""Discovering a rule, from the command line to the last file, at a size of seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiments import discover
from experiments.lab.networks.problem import Problem
from experiments.lab.settings.registry import ConfigError
from metaplastic import Initialization, RandomDirect, from_pretrained
from metaplastic.episode import StreamSpec
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import POOL

TINY = (
    "--preset", "tiny", "--task", "glyphs", "--stream", "shots=4", "repeats=2", "--steps", "2",
    "--lifetimes", "4", "--threads", "1", "--name", "found",
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discover, "RATES", (0.01, 0.1))
        discover.main([*TINY, "--runs", str(runs)])
    return runs / "found"


def test_a_discovery_leaves_a_run_a_rule_a_pruned_rule_and_a_table(found: Path) -> None:
    left = {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()}
    assert left >= {
        "config.json", "metrics.jsonl", "result.json", "rule/config.json", "pruned/config.json",
        "discover.json", "discover.md", "plots/discover.png",
    }  # fmt: skip


def test_the_equation_is_that_of_the_rule_file(found: Path) -> None:
    kept = json.loads((found / "discover.json").read_text())
    plasticity = from_pretrained(found / "rule").rule.plasticity
    assert isinstance(plasticity, Polynomial)
    assert kept["equation"] == plasticity.equation()
    assert kept["coefficients"] == plasticity.values()
    small = from_pretrained(found / "pruned").rule.plasticity
    assert kept["pruned"] == small.equation()
    assert set(small.terms) <= set(plasticity.terms)


def test_nothing_but_the_coefficients_was_learned(found: Path) -> None:
    learner = from_pretrained(found / "rule")
    assert learner.initialization == Initialization(hidden="redrawn", readout="redrawn")
    assert learner.rule.pathway.options["weights"] == "redrawn"
    learned = load_file(found / "rule" / "model.safetensors")
    spec = StreamSpec("made", "classification", (1, 28, 28), 2, 16, 1, 4, 2, "made up")
    from experiments.methods import polynomial

    first = polynomial.build(Problem(spec, "tiny"))
    assert learned.keys() == first.state_dict().keys()
    assert learned["rule.plasticity.coefficients"].shape == (len(POOL),)
    change = learned["rule.plasticity.coefficients"] - first.rule.plasticity.coefficients.detach()
    assert change.abs().max() > 0


def test_the_table_has_every_learner_on_the_same_moments(found: Path) -> None:
    rows = json.loads((found / "discover.json").read_text())["table"]
    labels = [row["accuracy % after examples"] for row in rows]
    assert labels[:2] == ["discovered", "discovered, pruned"]
    assert labels[2].startswith("feedback alignment, rate ")
    assert labels[3].startswith("backprop, rate ")
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert {"0", "16", "95 %"} <= rows[0].keys()
    assert len({row["0"] for row in rows}) == 1  # the same lifetimes and first weights


def test_a_discovery_goes_on_where_it_was(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--name", "found", "--runs", str(found.parent), "--resume", "--lifetimes", "2"]
    discover.main(words)
    assert "Discovered: dW = " in capsys.readouterr().out
    assert json.loads((found / "discover.json").read_text())["lifetimes"] == 2


def test_a_method_without_a_polynomial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the rule is a Oja, which has no equation"):
        discover.main([*TINY, "--runs", str(tmp_path), "--method", "flp"])


def test_the_fixed_rules_are_feedback_alignment_and_backprop(found: Path) -> None:
    from experiments.lab.networks.build import build_stream
    from experiments.lab.settings.config import Train
    from metaplastic import Backprop

    run = Train(preset="tiny", task="glyphs", method="polynomial", options=("l1=0.5", "rate=7"))
    stream = build_stream(run, "validation")
    for feedback, kind in (("redrawn", RandomFeedback), ("gradient", Backprop)):
        rule = discover.fixed(run, stream, feedback).rule
        assert type(rule.pathway) is kind
        assert rule.plasticity.equation() == "dW = 1 s x'"
        assert torch.equal(rule.plasticity.coefficients.detach(), torch.ones(1))


def test_the_method_has_relative_steps_and_direct_feedback_by_its_options(
    found: Path,
) -> None:
    from experiments.lab.networks.build import build_learner, build_stream
    from experiments.lab.settings.config import Train

    options = ("feedback=direct", "normalized=true", "terms=signal_pre,oja", "rate=0.1")
    run = Train(preset="tiny", task="glyphs", method="polynomial", options=options)
    stream = build_stream(run, "validation")
    rule = build_learner(run, stream).rule
    assert type(rule.pathway) is RandomDirect
    assert rule.pathway.options == {
        "scale": 1.0,
        "weights": "redrawn",
        "level": True,
        "per": "auto",
    }
    assert rule.plasticity.normalized
    assert rule.plasticity.equation().startswith("dW = 0.1 s x'  (x, y in units")
    sequential = build_learner(replace(run, options=("normalized=true",)), stream).rule.pathway
    assert isinstance(sequential, RandomFeedback)
    assert sequential.level
    for feedback in ("redrawn", "gradient"):  # what it is compared with is as published
        published = discover.fixed(run, stream, feedback).rule
        assert not published.plasticity.normalized
        assert not getattr(published.pathway, "level", False)
