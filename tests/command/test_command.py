"""The command `metaplastic`: what it prints, and the sentence that answers each bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metaplastic import from_pretrained, plasticity, rules, save_pretrained, shipped
from metaplastic.command.parser import main
from tests.helpers.small_runs import Clusters, small_learner


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence on a command line that cannot be followed."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").strip()


def test_all_rules_are_listed_with_their_three_parts(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: line.split() for line in run(capsys, "rules").splitlines() if line}
    for name, kind in rules().items():
        assert tuple(lines[name][1:4]) == kind().parts
        assert all(alias in lines[name][4:] or f"{alias}," in lines[name] for alias in kind.alias)
    for name in shipped():
        assert tuple(lines[name][1:4]) == from_pretrained(name).rule.parts
    assert "dW = 0.177 s x'" in " ".join(lines["omniglot_relative"])


def test_a_named_rule_is_shown_with_its_equation_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = run(capsys, "show", "kp")
    assert text.startswith("kp\n==\n")
    assert "equation:   dW = a s x'" in text
    assert "feedback:   dB = dW + decay (W - B)" in text
    assert "decay=0.001" in text
    assert rules()["kolen_pollack"].bibtex in text


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_rule_is_shown_with_its_card(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text = run(capsys, "show", name)
    assert text.rstrip().endswith(shipped()[name].rstrip())
    assert "equation:   dW = " in text


def test_a_rule_file_without_a_card_is_shown_by_what_it_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_pretrained(small_learner(Clusters()), tmp_path / "rule", {"method": "by hand"})
    text = run(capsys, "show", str(tmp_path / "rule"))
    assert "| method | `by hand` |" in text
    assert "---\nlibrary_name" not in text


@pytest.mark.parametrize(
    "name", [n for n, k in vars(plasticity).items() if getattr(k, "formula", "")]
)
def test_an_equation_is_what_the_plasticity_rule_computes(name: str) -> None:
    rule = getattr(plasticity, name)(rate=0.3, per="shared")
    w, x, s, a = torch.randn(3, 4), torch.randn(4), torch.randn(3), torch.tensor(0.3)
    outer = s[:, None] * x
    power = (s**2)[:, None]
    expected: dict[str, Tensor] = {
        "Delta": a * outer,
        "Hebb": a * outer,
        "Oja": a * (outer - power * w),
        "StableOja": (a * outer - a.abs() * power * w) / (1 + a.abs() * power),
        "NormalizedHebb": a * outer / (0.001 + x.square().sum()),
        "Manhattan": a * outer.sign(),
    }
    changed = rule.delta(w[None], x[None, None], s[None, None], s[None, None], a)
    torch.testing.assert_close(changed[0], expected[name])


def test_a_rule_of_ones_own_does_not_inherit_a_formula() -> None:
    class Half(plasticity.Delta):
        """Half a step."""

        def delta(self, *given: Tensor, **named: Tensor) -> Tensor:
            return super().delta(*given, **named) / 2

    assert Half(rate=0.1).equation() == "Half a step."
    assert plasticity.Delta(rate=0.1).equation() == "dW = a s x'"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rulez"], "'rulez' is not a command of metaplastic; give one of rules, show, plug. Did"),
        (["show"], "the following arguments are required: RULE"),
        (["show", "kolen_polack"], "there is no rule named 'kolen_polack'"),
        (["show", "omniglot_relativ"], "Did you mean 'omniglot_relative'?"),
        (["show", "/nowhere/rule"], "/nowhere/rule is not a rule file"),
        (["show", "kp", "--figur"], "expected one argument"),
        (["show", "kp", "--color", "red"], "unrecognized arguments: --color red"),
        (["show", "kp", "more"], "unrecognized arguments: more"),
        (["plug"], "the following arguments are required: RULE"),
        (["plug", "nothing"], "there is no rule named 'nothing'"),
        (["plug", "kp", "--model", "resnet18", "--examples", "many"], "invalid int value: 'many'"),
        (
            ["plug", "kp", "--model", "resnet18", "--examples", "0"],
            "--examples is 0; give at",
        ),
        (
            ["plug", "kp", "--model", "resnet18", "--classes", "1"],
            "--classes is 1; give at",
        ),
        (["plug", "kp", "--model", "resnet18", "--rate", "nan"], "--rate is nan; give a finite"),
        (["plug", "kp", "--model", "resnet18", "--data", "/nowhere"], "/nowhere is not a folder"),
    ],
)
def test_a_bad_command_line_is_answered_by_a_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in refused(capsys, *words)


def test_without_the_lab_plug_says_what_to_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaplastic.command.parser.find_spec", lambda name: None)
    assert "give --model NAME of torchvision or timm" in refused(capsys, "plug", "kp")


def test_with_the_lab_plug_is_its_comparison(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("experiments.plug.main", lambda argv: given.append(list(argv)))
    assert main(["plug", "omniglot_relative", "--networks", "wide", "--task", "glyphs"]) == 0
    assert given == [["omniglot_relative", "--networks", "wide", "--task", "glyphs"]]


def test_a_damaged_rule_file_is_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_pretrained(small_learner(Clusters()), tmp_path / "rule")
    (tmp_path / "rule" / "model.safetensors").write_bytes(b"no")
    assert "is damaged" in refused(capsys, "show", str(tmp_path / "rule"))


def test_it_runs_as_a_module_and_says_how() -> None:
    command = [sys.executable, "-m", "metaplastic"]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert all(name in helped.stdout for name in ("rules", "show", "plug"))
    bad = subprocess.run([*command, "shew"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.endswith("Did you mean 'show'?\n")
    assert "Traceback" not in bad.stderr
