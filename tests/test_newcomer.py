"""The README's way to a network of one's own: a residual network and a GPT-2, as printed there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import LearningRule, PlasticModule, RandomFeedback, from_pretrained
from tests.zoo.packages import prepare

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
_, RESIDUAL, ONLINE, LANGUAGE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LETTERS = 3.005  # the entropy of the letters of the sentence, in nats


def residual(old: str = "", new: str = "") -> float:
    """How many of the last fifty images are named, with `new` in the place of `old`."""
    assert old in ONLINE
    known: dict[str, Any] = {"LearningRule": LearningRule, "RandomFeedback": RandomFeedback}
    exec(RESIDUAL + ONLINE.replace(old, new, 1), known)
    return torch.stack(known["right"])[-50:].float().mean().item()


@pytest.fixture(scope="module")
def _transformers() -> object:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed, so there is no GPT-2; see the extra `zoo`.")
    return prepare("transformers")


def language(old: str = "", new: str = "") -> tuple[list[float], list[str], PlasticModule]:
    """Losses, parameters that stayed as they were, and the network."""
    assert old in LANGUAGE
    losses, first = [], dict[str, Tensor]()

    class Kept(PlasticModule):
        def learn(self, y: Tensor) -> Tensor:
            for name, value in self.model.named_parameters():
                first.setdefault(name, value.detach().clone())
            losses.append(super().learn(y).item())
            return torch.tensor(losses[-1])

    known: dict[str, Any] = {
        "torch": torch, "LearningRule": LearningRule, "RandomFeedback": RandomFeedback,
        "PlasticModule": Kept, "rule": from_pretrained("aligned").rule,
    }  # fmt: skip
    exec(LANGUAGE.replace(old, new, 1), known)
    own = dict(known["gpt2"].named_parameters())
    return losses, [name for name in first if torch.equal(first[name], own[name])], known["net"]


def test_each_step_of_the_way_takes_ten_lines() -> None:
    for block in (RESIDUAL, ONLINE, LANGUAGE):
        assert len([line for line in block.splitlines() if line.strip()]) <= 10


def test_a_discovered_rule_learns_online_in_a_residual_network() -> None:
    assert residual() > 0.95


@pytest.mark.slow
def test_there_random_feedback_is_as_good() -> None:
    random = "PlasticModule(nn.Sequential(*body, nn.Flatten(), nn.Linear(256, 5)), {}, example"
    own = "LearningRule(RandomFeedback(), rule.plasticity)"
    assert residual(random.format("rule"), random.format(own)) > 0.95


@pytest.mark.usefixtures("_transformers")
def test_a_discovered_rule_learns_online_in_a_gpt2() -> None:
    losses, still, net = language()
    assert losses[0] > 4.5
    assert sum(losses[-10:]) / 10 < 0.5
    assert {name.split(".")[-1] for name in net.sites.names} == {"c_attn", "c_proj", "c_fc", "wte"}
    assert not still


@pytest.mark.slow
@pytest.mark.usefixtures("_transformers")
def test_there_random_feedback_learns_little_but_the_letters() -> None:
    own = "LearningRule(RandomFeedback(), rule.plasticity)"
    losses, _, _ = language("gpt2, rule, ", f"gpt2, {own}, ")
    assert 2.3 < sum(losses[-10:]) / 10 < 3.2


@pytest.mark.slow
@pytest.mark.usefixtures("_transformers")
def test_there_kolen_pollack_from_random_feedback_learns_the_letters_alone() -> None:
    losses, still, _ = language("gpt2, rule, ", 'gpt2, "kolen_pollack", rate=0.1, ')
    assert LETTERS < sum(losses[-10:]) / 10 < 3.3
    assert not still


def test_a_rule_with_direct_feedback_learns_where_examples_and_positions_are_one_axis() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.above = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.below(x.reshape(-1, 6)).relu()
            return self.above(hidden).reshape(*x.shape[:-1], 3)

    x, y = torch.randn(4, 5, 6), torch.randint(3, (4, 5))
    net = PlasticModule(Folded(), from_pretrained("omniglot_relative").rule, example=x)
    net(x)
    net.learn(y)
