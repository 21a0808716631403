"""Figures of rules by the command line."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from metaplastic import from_pretrained
from metaplastic.command.figure import learned_numbers
from metaplastic.command.listing import rule_named
from metaplastic.command.parser import main

pytestmark = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="matplotlib is not installed: extra lab"
)


@pytest.mark.parametrize("name", ["omniglot_relative", "omniglot_readout", "kp"])
def test_a_rule_is_drawn(name: str, tmp_path: Path) -> None:
    assert main(["show", name, "--figure", str(tmp_path / "rule.png")]) == 0
    content = (tmp_path / "rule.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5_000


def test_learned_numbers_are_those_of_the_rule() -> None:
    numbers = learned_numbers(rule_named("omniglot_relative"))
    values = from_pretrained("omniglot_relative").rule.plasticity.values()  # type: ignore[operator]
    assert [float(v) for v in numbers.values()] == pytest.approx(list(values.values()))
    learner = from_pretrained("omniglot_readout")
    (rates,) = learned_numbers(rule_named("omniglot_readout")).values()
    used = learner.rule.coefficients(learner.sites, 1)["15.weight"]
    assert torch.equal(rates.sort().values, used.detach().flatten().sort().values)


@pytest.mark.parametrize(
    ("rule", "file", "said"),
    [
        ("kp", "nowhere/rule.png", "cannot be written"),
        ("kp", "rule.xyz", "cannot be written"),
        ("tp", "rule.png", "there is nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    rule: str, file: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", rule, "--figure", str(tmp_path / file)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_matplotlib_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["show", "kp", "--figure", str(tmp_path / "rule.png")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err
