"""Former names of rules, learners and modules: each works, warns, and says the new one."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import metaplastic
from metaplastic import (
    Delta,
    Initialization,
    LearningRule,
    OnlineLearner,
    PlasticModule,
    RandomFeedback,
    credit,
    from_pretrained,
    save_pretrained,
    shipped,
)
from metaplastic._moved import MOVED
from metaplastic.alignment.base import AtSite
from metaplastic.support.catalog import HOME
from tests.helpers.lifetimes import dense, episodes, learner


def made(**options: object) -> OnlineLearner:
    rule = LearningRule(RandomFeedback(), Delta(rate=0.1))
    return learner(dense(3, 4, 2), rule, **options)  # type: ignore[arg-type]


def test_the_former_birth_is_initialization() -> None:
    with pytest.warns(DeprecationWarning, match=r"metaplastic\.Birth is now metaplastic\.Init"):
        assert metaplastic.Birth is Initialization
    with pytest.warns(DeprecationWarning, match="Birth is now"):
        from metaplastic.inner.initialization import Birth
    assert Birth is Initialization
    with pytest.raises(AttributeError, match="no attribute 'Brith'"):
        metaplastic.Brith  # noqa: B018


def test_a_learner_takes_and_has_its_former_names() -> None:
    zeroed, rows = Initialization(readout="zeroed"), Initialization(readout="rows")
    with pytest.warns(DeprecationWarning, match="birth is now initialization"):
        former = made(birth=zeroed)
    assert former.initialization == former.initialization_at_test == zeroed
    with pytest.warns(DeprecationWarning, match="birth_at_test is now initialization_at_test"):
        assert made(birth_at_test=rows).initialization_at_test == rows
    with pytest.raises(TypeError, match="birth and initialization are one argument"):
        made(birth=zeroed, initialization=zeroed)
    episode = episodes(tasks=2)
    with pytest.warns(DeprecationWarning, match=r"OnlineLearner\.birth is now initialize"):
        weights = former.birth(episode.support_y, episode.seed)
    expected = former.initialize(episode.support_y, episode.seed)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    with pytest.warns(DeprecationWarning, match="birth_in_training is now initialization"):
        assert former.birth_in_training == zeroed
    with pytest.warns(DeprecationWarning, match="birth_at_test is now initialization_at_test"):
        former.birth_at_test = rows
    assert former.initialization_at_test == rows


def test_a_rule_takes_and_has_its_former_names() -> None:
    pathway = RandomFeedback()
    with pytest.warns(DeprecationWarning, match="is now") as warned:
        rule = LearningRule(feedback=pathway, plasticity=Delta(rate=0.1), rests_in_training=True)  # type: ignore[call-arg]
    said = {str(warning.message) for warning in warned}
    assert any("feedback is now pathway" in text for text in said)
    assert any("rests_in_training is now frozen_in_training" in text for text in said)
    assert all(warning.filename == __file__ for warning in warned)
    assert rule.pathway is pathway
    assert rule.frozen_in_training
    assert rule.options["pathway"] is pathway
    with pytest.warns(DeprecationWarning, match=r"LearningRule\.feedback is now pathway"):
        assert rule.feedback is pathway
    with pytest.warns(DeprecationWarning, match="is now frozen_in_training"):
        assert rule.rests_in_training
    with pytest.warns(DeprecationWarning, match=r"LearningRule\.pace is now rate_scale"):
        rule.pace = 3.0
    assert rule.rate_scale == 3.0
    with pytest.warns(DeprecationWarning, match="pace"):
        assert rule.pace == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert copy.deepcopy(rule).rate_scale == 3.0
        repr(rule)


def test_a_rule_by_its_former_names_is_saved_as_any_other(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="feedback is now pathway"):
        rule = LearningRule(feedback=RandomFeedback(scale=0.5), plasticity=Delta())  # type: ignore[call-arg]
    save_pretrained(learner(dense(3, 4, 2), rule), tmp_path / "rule")
    assert from_pretrained(tmp_path / "rule").rule.pathway.options["scale"] == 0.5


def test_a_module_in_place_has_its_former_name() -> None:
    net = PlasticModule(nn.Linear(3, 2), "bp", example=torch.ones(1, 3))
    with pytest.warns(DeprecationWarning, match=r"PlasticModule\.pace is now rate_scale"):
        net.pace = 0.5
    assert net.rate_scale == 0.5
    with pytest.warns(DeprecationWarning, match="pace"):
        assert net.pace == 0.5


def test_a_site_has_its_former_name() -> None:
    weight = torch.zeros(2, 3)
    site = AtSite("", weight, weight, weight, calls=("the product",))  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match=r"AtSite\.meeting is now product"):
        assert site.meeting == "the product"


FORMER_IMPORTS = [
    ("from metaplastic.plasticity import Delta, Hebb, NormalizedHebb, Oja, PlasticityRule", ""),
    ("from metaplastic.plasticity import StableOja, Polynomial", ""),
    ("from metaplastic.plasticity.base import PlasticityRule", ""),
    ("from metaplastic.alignment import Coefficient, Inputs", ""),
    ("from metaplastic.rules import cite, rules", ""),
    ("from metaplastic.rule import LearningRule", "metaplastic.rules.learning_rule"),
    ("from metaplastic.birth import Birth, born", "metaplastic.inner.initialization"),
    ("from metaplastic.coincidence import coincidence, grown", "metaplastic.plasticity.outer_prod"),
    ("from metaplastic.feedback import Backprop, FeedbackPathway", "metaplastic.pathways;"),
    ("from metaplastic.direct_random import RandomDirect", "metaplastic.pathways.direct_random"),
    ("from metaplastic.sequential import RandomFeedback", "metaplastic.pathways.sequential"),
    ("from metaplastic.credit_rule import AtSite, CreditRule", "metaplastic.rules.credit_rule"),
    ("from metaplastic.plug import PlasticModule", "metaplastic.online.plastic_module"),
    ("from metaplastic.artifact import from_pretrained", "metaplastic.files.rule_file"),
]


def test_former_imports_work_and_warn_where_the_place_is_another() -> None:
    lines = ["import warnings, metaplastic", "warnings.simplefilter('always')"]
    for number, (statement, _) in enumerate(FORMER_IMPORTS):
        lines += [
            "with warnings.catch_warnings(record=True) as said:",
            "    warnings.simplefilter('always')",
            f"    {statement}",
            f"print({number}, ' | '.join(str(w.message) for w in said))",
        ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    for (statement, new), line in zip(FORMER_IMPORTS, said, strict=True):
        assert new in line, statement
        assert bool(new) == ("is now" in line), statement


def test_no_former_module_name_is_taken_by_a_module_of_today() -> None:
    home = Path(metaplastic.__file__).parent
    today = {path.stem for path in home.iterdir()} - {"learners"}
    assert not today & MOVED.keys()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_rule_file_loads_to_the_bit(name: str) -> None:
    tensors = load_file(HOME / name / "model.safetensors")
    loaded = from_pretrained(name)
    state = loaded.state_dict()
    renamed = {
        key.replace("rule.feedback.", "rule.pathway.").replace("encoder.seen.", "encoder.encoder.")
        for key in tensors
    }
    assert renamed == state.keys()
    for key, tensor in tensors.items():
        now = key.replace("rule.feedback.", "rule.pathway.")
        now = now.replace("encoder.seen.", "encoder.encoder.")
        assert torch.equal(state[now], tensor.float() if tensor.is_floating_point() else tensor)


def test_credit_by_a_rule_of_the_former_kind() -> None:
    """A rule that overrides `first`, `through`, `follow` and `finish` works as it did."""

    class Former(metaplastic.CreditRule):
        sees_change = True

        def first(self, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return torch.randn(weight.shape, generator=generator).to(weight)

        def through(self, weight: torch.Tensor, feedback: torch.Tensor) -> torch.Tensor:
            return feedback.abs() * weight.sign()

        def follow(self, feedback: torch.Tensor, site: AtSite) -> torch.Tensor | None:
            return site.change

        def finish(self, gradient: torch.Tensor) -> torch.Tensor:
            return gradient.sign()

    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    made = credit(Former(), model, example=x)
    before = made.feedback("2").clone()
    torch.testing.assert_close(
        made.through("2", model), before.abs() * model.get_parameter("2.weight").sign()
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    made.backward(model, x, y, nn.functional.cross_entropy)
    assert set(model.get_parameter("2.weight").grad.unique().tolist()) <= {-1.0, 0.0, 1.0}  # type: ignore[union-attr]
    weight = model.get_parameter("2.weight").detach().clone()
    optimizer.step()
    made.backward(model, x, y, nn.functional.cross_entropy)
    change = model.get_parameter("2.weight").detach() - weight
    torch.testing.assert_close(made.feedback("2"), before + change)
