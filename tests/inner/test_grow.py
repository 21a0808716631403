"""A learner for more classes: slots are drawn from what was learned, all else is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
    Unroll,
)
from metaplastic.inner.grow import grow
from metaplastic.objective import MeanSquaredError
from metaplastic.stacked.readouts import CosineReadout, Gain, UnitLength
from tests.helpers.lifetimes import dense, episodes, learner


def classifier(per: Any = "synapse", **feedback: Any) -> OnlineLearner:
    rule = LearningRule(Direct(**feedback), Oja(rate=0.1, per=per))
    return learner(dense(3, 4, 5), rule, dtype=torch.float32)


def test_it_learns_classes_that_it_had_no_output_for() -> None:
    larger = grow(classifier(), 40)
    episode = episodes(outputs=40, steps=40, batch=1, dtype=torch.float32)
    assert larger(episode).prediction.shape == (2, 3, 40)


def test_on_the_classes_it_had_it_is_the_same_learner_to_the_bit() -> None:
    before = classifier(readout="clamped")
    episode = episodes(outputs=5, dtype=torch.float32)
    few, many = before(episode).prediction, grow(before, 9)(episode).prediction
    assert torch.equal(few, many[..., :5])


@pytest.mark.parametrize("readout", ["clamped", "feedback"])
def test_each_new_output_is_a_learned_one_in_all_that_belongs_to_it(readout: str) -> None:
    before = classifier(readout=readout)
    larger, old = grow(before, 30), before.state_dict()
    names = ["network.2.weight", "network.2.bias", "rule.plasticity.rates.2"]
    for k in range(30):
        slots = [
            s for s in range(5)
            if all(torch.equal(larger.get_parameter(n)[k], old[n][s]) for n in names)
            and torch.equal(
                larger.get_parameter("rule.pathway.pathways.0.0.weight")[:, k],
                old["rule.pathway.pathways.0.0.weight"][:, s],
            )
        ]  # fmt: skip
        assert slots == ([k] if k < 5 else slots)
        assert len(slots) == 1


def test_rates_per_feature_need_no_pool() -> None:
    before = classifier(per="feature")
    larger = grow(before, 30)
    assert torch.equal(
        larger.get_parameter("rule.plasticity.rates.2"),
        before.get_parameter("rule.plasticity.rates.2"),
    )


def test_fewer_outputs_are_the_first_ones_and_the_original_is_left_alone() -> None:
    before = classifier()
    kept = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    fewer = grow(grow(before, 12), 5)
    for name, tensor in fewer.state_dict().items():
        assert torch.equal(tensor, kept[name])
        assert torch.equal(before.state_dict()[name], kept[name])
        assert tensor.data_ptr() != before.state_dict()[name].data_ptr()


def test_mode_settings_and_what_is_frozen_carry_over() -> None:
    before = classifier(feedback="random").eval()
    before.unroll, before.rule.rate_scale = Unroll(encoder="bfloat16"), 0.1
    before.network[0].weight.requires_grad_(False)
    larger = grow(before, 8)
    assert not larger.training
    assert (larger.unroll, larger.rule.rate_scale) == (before.unroll, 0.1)
    frozen = {name for name, p in before.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, p in larger.named_parameters() if not p.requires_grad}


class Doubled(nn.Module):
    """A layer of a user's own."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_layers_of_ones_own_and_nested_networks_grow_too() -> None:
    head = nn.Sequential(UnitLength(), nn.Sequential(CosineReadout(4, 5), Gain(4.0)))
    network = nn.Sequential(nn.Linear(3, 4), Doubled(), head)
    rule = LearningRule(Direct(), Oja(rate=0.1, per="feature"))
    made = learner(
        network, rule, dtype=torch.float32, initialization=Initialization(readout="zeroed")
    )
    assert grow(made, 11).sites[-1].shape == (11, 4)


def test_a_gradient_learner_grows_as_well() -> None:
    made = learner(dense(3, 4, 5), LearningRule(Backprop(), Delta(rate=0.1)), dtype=torch.float32)
    assert grow(made, 11).get_parameter("rule.plasticity.rates.2_bias").shape == (11,)


def test_what_cannot_grow_is_refused_in_a_sentence() -> None:
    rule = LearningRule(Direct(teaching="error"), Oja(rate=0.1))
    regression = OnlineLearner(dense(3, 4, 2), rule, MeanSquaredError(2))
    with pytest.raises(ValueError, match="only the classes of a classification"):
        grow(regression, 5)
    with pytest.raises(ValueError, match="at least 1"):
        grow(classifier(), 0)
