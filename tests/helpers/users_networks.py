"""Small networks as people bring them, the rules to try on them, and two steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import LearningRule, PlasticModule, from_pretrained

RULES = ["feedback_alignment", "kolen_pollack", "weight_mirror", "omniglot_relative"]
EVERY = pytest.mark.parametrize("rule", RULES)
X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 2])


def rule_of(name: str) -> str | LearningRule:
    return from_pretrained(name).rule if name == "omniglot_relative" else name


class Hidden(nn.Module):
    """Six inputs, a hidden layer, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        return self.above(self.below(x).tanh())


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9)

    def forward(self, ids: Tensor) -> Any:
        return self.head(self.mix(self.embed(ids)).relu())


IDS = torch.randint(9, (3, 4), generator=torch.Generator().manual_seed(1))


def plastic(model: nn.Module, rule: str, example: Any, **options: Any) -> PlasticModule:
    return PlasticModule(model, rule_of(rule), example=example, **options)


def changed(net: PlasticModule, given: Any, target: Any, **named: Any) -> dict[str, bool]:
    """Two steps: of each parameter, whether it is another then; the loss must be a number."""
    before = {name: p.detach().clone() for name, p in net.model.named_parameters()}
    given = given if isinstance(given, tuple) else (given,)
    for _ in range(2):
        net(*given, **named)
        assert net.learn(target).isfinite()
    return {n: not torch.equal(p, before[n]) for n, p in net.model.named_parameters()}
