"""A rule that a method file makes for itself can be trained, saved, and opened again by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from experiments import interference, meta_test, meta_train, methods
from experiments.lab.networks import build
from experiments.lab.networks.build import own_classes
from experiments.lab.settings import cli, config

SOURCE = """
from experiments.methods.flp_stable import rates
from metaplastic import Backprop, LearningRule, OnlineLearner, PlasticityRule, objective_for


class MyDecay(PlasticityRule):
    def delta(self, weight, pre, post, signal, rate):
        return -rate * weight


def build(problem, *, rate=0.1):
    rule = LearningRule(Backprop(), MyDecay(rate=rate, per="shared"))
    return OnlineLearner(problem.network(), rule, objective_for(problem.spec), plastic=2)
"""


@pytest.fixture
def decay(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method file of a user's, as far as the scripts can tell."""
    name = "my_decay"
    module = ModuleType(f"{methods.__name__}.{name}")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for script in (build, cli, config):
        monkeypatch.setattr(script, "methods", lambda: {name: "", "flp": ""})
    monkeypatch.setattr(cli, "method_options", lambda method: {})
    return name


def test_a_rule_of_a_methods_own_is_tested_by_the_scripts(decay: str, tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run", "--method", decay]
    meta_train.main(words)
    rule = str(tmp_path / "run" / "rule")
    meta_test.main([rule, "--episodes", "4"])
    tested = json.loads((tmp_path / "run" / "test" / "result.json").read_text())
    assert tested["score"] == json.loads((tmp_path / "run" / "result.json").read_text())["score"]
    interference.main([rule, "--lifetimes", "2", "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "table.md").exists()


def test_only_what_the_method_made_for_itself_is_handed_in(decay: str) -> None:
    assert [kind.__name__ for kind in own_classes({"method": f"{decay} rate=0.5"})] == ["MyDecay"]
    assert own_classes({"method": "flp"}) == []


@pytest.mark.parametrize("method", ["os", "../../elsewhere", "", 3])
def test_a_name_that_is_no_method_of_ours_is_never_imported(
    method: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "import_module", lambda name: pytest.fail(f"imported {name}"))
    assert own_classes({"method": method}) == []
