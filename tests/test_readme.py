"""What the README shows, runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import compare, continual, demo, meta_test, meta_train
from experiments.lab.settings import cli
from experiments.lab.settings.config import Compare, Train, preset
from experiments.lab.settings.registry import tasks

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "interference.md").read_text(encoding="utf-8")
CONTINUAL = (ROOT / "docs" / "continual.md").read_text(encoding="utf-8")
RULES = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
CONFIGS = {
    "meta_train": Train, "compare": Compare, "meta_test": meta_test.Test,
    "continual": continual.Continual,
}  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    return re.findall(r"`python -m (experiments\.[^`]+)`", README)


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A rule for ten functions, as the demo leaves one."""
    root = tmp_path_factory.mktemp("runs")
    words = ["--preset", "tiny", "--runs", str(root), "--name", "run", "--method", "flp_stable"]
    meta_train.main([*words, "--stream", "functions=10", "steps_per_function=5"])
    return str(root / "run" / "rule")


def run(block: str, rule: str) -> dict[str, Any]:
    """What a block of python leaves, with this rule in place of the one that it loads."""
    path = re.search(r'from_pretrained\("([^"]+)"\)', block)
    assert path is not None
    known: dict[str, Any] = {}
    with torch.enable_grad():  # whatever the block sets ends with it
        exec(block.replace(path[1], rule), known)
    return known


def test_the_python_of_the_readme_runs(rule: str) -> None:
    known = run(blocks("python")[0], rule)
    assert known["prediction"].shape == known["episode"].query_y.shape


def test_the_python_of_the_guide_to_interference_runs(
    rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own, saved = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(own.splitlines()) <= 12
    known = run(own + saved, rule)
    assert known["halfway"].change.shape == (8, 50, 50)
    assert known["halfway"].same_example() < 0  # it learns
    assert capsys.readouterr().out


def test_the_python_of_the_guide_to_many_classes_runs(capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", CONTINUAL, re.DOTALL):
        exec(block, known)
    assert known["report"].subtasks_seen.tolist() == [10, 30, 60]
    assert [round(float(line), 6) for line in capsys.readouterr().out.split()[-3:]] == [
        0.25, -0.25, 0.05,
    ]  # fmt: skip


def test_the_python_of_the_guide_to_rules_runs(capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", RULES, re.DOTALL):
        exec(block, known)
    assert known["net"].transplant.report["0"] == "rates copied, feedback sampled"
    assert known["mixer"].sites.names == ["attention.in_proj_weight", "attention.out_proj", "mix"]
    assert known["spare"].unreached == {"spare.weight": "never used on the example"}
    assert known["again"].credit.rule.parts == ("Halfway", "Decaying", "Towards")
    assert int(known["again"].memory.step) == 1
    assert "SiteAngles" in capsys.readouterr().out


def test_the_readme_loads_a_rule_that_the_demo_leaves() -> None:
    rules = [
        str(run.runs / run.run_name / "rule")
        for runs in compare.plan_runs(demo.comparison(demo.Demo(), "sines")).values()
        for run in runs
    ]
    assert re.findall(r'from_pretrained\("([^"]+)"\)', README)[0] in rules


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_is_one(command: str) -> None:
    name, *words = shlex.split(command.removeprefix("experiments."))
    if "NAME" in name:
        return
    assert (ROOT / "experiments" / f"{name}.py").exists() or (
        ROOT / "experiments" / name / "__main__.py"
    ).exists()
    if name in CONFIGS:
        cli.parse(CONFIGS[name], words, preset(CONFIGS[name], words))


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_files_and_streams_that_the_readme_names_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    assert {"glyphs", "sines", "omniglot"} <= set(tasks())
