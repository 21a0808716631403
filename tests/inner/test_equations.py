"""Each rule does what its equation says: against loops over examples, units, positions."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    Episode,
    Hebb,
    Initialization,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    PlasticityRule,
    StableOja,
)
from tests.helpers import by_hand
from tests.helpers.by_hand import Equations, Layer
from tests.helpers.lifetimes import dense, episodes, learner

PLASTICITY: dict[str, type[PlasticityRule]] = {
    "Oja": Oja,
    "Hebb": Hebb,
    "StableOja": StableOja,
    "NormalizedHebb": NormalizedHebb,
}


def adapted(made: OnlineLearner, episode: Episode) -> dict[str, Tensor]:
    """The fast weights at the end, without the tasks axis of the single lifetime."""
    with torch.no_grad():
        fast = made.adapt(
            episode.support_x, episode.support_y, made.initialize(episode.support_y, episode.seed)
        )
    return {name: weight[0] for name, weight in fast.items()}


def layers_of(made: OnlineLearner) -> list[Layer]:
    """The learner's meta-parameters, as the equations want them."""
    found = []
    for site in made.sites:
        pathway = made.rule.pathway.pathways
        received = dict(pathway.items()).get(site.key, [])
        strengths = made.rule.pathway.strengths
        weight, bias = (p.detach().numpy().copy() for p in site.module.parameters())
        rate = made.rule.plasticity.rate(site).detach().expand(site.shape).numpy()
        found.append(
            Layer(
                weight, bias, rate,
                [tuple(p.detach().numpy() for p in layer.parameters())
                 for layer in received if isinstance(layer, nn.Linear)],
                float(strengths[site.key].detach()) if site.key in strengths else 1.0,
            )
        )  # fmt: skip
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "published, labels": {},
    "published, errors": {"teaching": "error"},
    "published, regression": {"teaching": "error", "readout": "feedback", "regression": True},
    "linear feedback": {"teaching": "error", "nonlinearity": "linear"},
    "gated by the derivative": {
        "teaching": "error",
        "nonlinearity": "linear",
        "gate": "derivative",
    },
    "magnitude to hidden sites": {"teaching": "error", "hidden_seed": "magnitude"},
    "labels of a regression": {"regression": True},
    "plain sum": {"reduction": "sum"},
    "hidden multiplier": {"hidden_multiplier": 7.0},
    "two feedback layers": {"teaching": "error", "depth": 2},
    "rates of neurons": {"per": "neuron"},
    "rates of features": {"per": "feature"},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("plasticity", PLASTICITY)
@pytest.mark.parametrize("steps", [1, 6])
def test_a_lifetime_is_its_equations(plasticity: str, steps: int, variant: dict[str, Any]) -> None:
    of_rule = {k: variant[k] for k in ("reduction", "hidden_multiplier") if k in variant}
    of_rates = {"per": variant["per"]} if "per" in variant else {}
    of_feedback = {k: v for k, v in variant.items() if k not in {*of_rule, *of_rates, "regression"}}
    rule = LearningRule(
        Direct(**of_feedback, width=3), PLASTICITY[plasticity](rate=0.1, **of_rates), **of_rule
    )
    regression = variant.get("regression", False)
    made = learner(dense(4, 5, 3, 2), rule, regression=regression)
    episode = episodes(shape=(4,), tasks=1, steps=steps, batch=3, regression=regression)

    layers = layers_of(made)
    known = {f.name for f in fields(Equations)}
    how = Equations(plasticity, **{k: v for k, v in variant.items() if k in known})
    for xs, ys in zip(episode.support_x[0].numpy(), episode.support_y[0].numpy(), strict=True):
        by_hand.step(layers, xs, ys, how)

    fast = adapted(made, episode)
    for site, layer in zip(made.sites, layers, strict=True):
        found, initial = fast[site.name + ".weight"].numpy(), site.module.weight.detach().numpy()
        np.testing.assert_allclose(found, layer.weight, rtol=1e-11, atol=1e-13)
        assert np.abs(found - initial).max() > 1e-4  # something was learned
        assert torch.equal(fast[site.name + ".bias"], site.module.bias)  # biases stay


@pytest.mark.parametrize("plasticity", PLASTICITY)
def test_a_convolution_learns_by_the_mean_over_its_positions(plasticity: str) -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)
    )
    made = learner(network, LearningRule(Direct(), PLASTICITY[plasticity](rate=0.1)))
    episode = episodes(shape=(2, 5, 5), tasks=1, steps=1, batch=2)
    conv, (weights, biases) = layers_of(made)[0], [p.detach() for p in network[0].parameters()]
    kernel = weights.flatten(1).numpy()
    growth, power, input_power = np.zeros_like(kernel), np.zeros(3), 0.0
    for x, y in zip(episode.support_x[0, 0].numpy(), episode.support_y[0, 0].tolist(), strict=True):
        ((feedback, offset),) = conv.feedback
        drive = np.maximum(feedback[:, y] + offset, 0)
        seen = by_hand.patches(x, kernel=3, stride=2, padding=1)
        assert len(seen) == 9
        for _, _, patch in seen:
            own = np.tanh(kernel @ patch + biases.numpy())
            p = conv.strength * drive + (1 - conv.strength) * own
            growth += np.outer(p, patch) / len(seen) / 2
            power += p**2 / len(seen) / 2
            input_power += float(patch @ patch) / len(seen) / 2
    expected = {
        "Hebb": kernel + conv.rate * growth,
        "Oja": kernel + conv.rate * (growth - power[:, None] * kernel),
        "StableOja": (kernel + conv.rate * growth) / (1 + conv.rate * power[:, None]),
        "NormalizedHebb": kernel + conv.rate * growth / (1e-3 + input_power),
    }[plasticity]
    found = adapted(made, episode)["0.weight"].flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("regression", [False, True])
def test_the_delta_rule_on_a_backpropagated_error_is_sgd_by_hand(regression: bool) -> None:
    made = learner(dense(4, 5, 2), LearningRule(Backprop(), Delta(rate=0.1)), regression=regression)
    episode = episodes(shape=(4,), tasks=1, steps=1, batch=3, regression=regression)
    bias_rates = [made.rule.plasticity.bias_rate(site).detach().numpy() for site in made.sites]
    initial = {name: p.detach().numpy().copy() for name, p in made.network.named_parameters()}
    rates = [made.rule.plasticity.rate(site).detach().numpy() for site in made.sites]
    w1, b1, w2, b2 = (initial[name].copy() for name in ("0.weight", "0.bias", "2.weight", "2.bias"))
    for x, y in zip(episode.support_x[0, 0].numpy(), episode.support_y[0, 0].numpy(), strict=True):
        hidden = np.tanh(initial["0.weight"] @ x + initial["0.bias"])
        output = initial["2.weight"] @ hidden + initial["2.bias"]
        wrong = y - output if regression else np.eye(2)[y] - by_hand.softmax(output)  # x 2/outputs
        back = (initial["2.weight"].T @ wrong) * (1 - hidden**2)
        w2 += rates[1] * np.outer(wrong, hidden) / 3
        b2 += bias_rates[1] * wrong / 3
        w1 += rates[0] * np.outer(back, x) / 3
        b1 += bias_rates[0] * back / 3
    fast = adapted(made, episode)
    for name, expected in {"0.weight": w1, "0.bias": b1, "2.weight": w2, "2.bias": b2}.items():
        np.testing.assert_allclose(fast[name].numpy(), expected, rtol=1e-12, atol=1e-15)


def test_a_one_hot_readout_moves_the_labels_row_towards_the_hidden_code_and_no_other() -> None:
    made = learner(dense(4, 5, 3), LearningRule(Direct(), Oja(rate=0.2)), plastic=1)
    episode = episodes(shape=(4,), outputs=3, tasks=1, steps=1, batch=1)
    label = int(episode.support_y)
    code = made.encode(episode.support_x[0, 0])[0].detach()
    episode = episode._replace(support_x=code.view(1, 1, 1, -1))
    initial, after = made.network[2].weight, adapted(made, episode)["2.weight"]
    rate = made.rule.plasticity.rate(made.sites[-1])
    moved = initial[label] + rate[label] * (code - initial[label])
    others = [row for row in range(3) if row != label]
    assert torch.equal(after[others], initial[others])
    assert torch.allclose(after[label], moved, rtol=1e-13, atol=0)


@pytest.mark.parametrize("rule", [Oja, StableOja])
def test_ojas_fixed_point_is_the_activity_weighted_mean_input(rule: type[PlasticityRule]) -> None:
    pre, signal = torch.randn(1, 6, 4).double(), torch.randn(1, 6, 3).double()
    fixed = (signal.mT @ pre) / signal.square().sum(1)[:, :, None]
    change = rule().delta(fixed, pre, signal, signal, torch.tensor(0.3))
    assert change.abs().max() < 1e-14
    weight = torch.randn(1, 3, 4).double()
    for _ in range(400):
        weight = weight + rule().delta(weight, pre, signal, signal, torch.tensor(0.05))
    assert torch.allclose(weight, fixed, atol=1e-6)


def test_the_implicit_step_is_ojas_to_first_order_in_the_rate() -> None:
    weight, pre = torch.randn(1, 3, 4).double(), torch.randn(1, 6, 4).double()
    signal = torch.randn(1, 6, 3).double()

    def distance(rate: float) -> float:
        one, other = (
            rule().delta(weight, pre, signal, signal, torch.tensor(rate))
            for rule in (Oja, StableOja)
        )
        return float((one - other).abs().max())

    assert distance(1e-3) > 1e-6
    assert distance(1e-4) / distance(1e-3) == pytest.approx(1e-2, rel=0.05)


@pytest.mark.parametrize("rate", [0.1, 1.0, 100.0])
def test_the_implicit_step_never_overshoots_where_ojas_diverges(rate: float) -> None:
    pre, signal = torch.randn(1, 6, 4).double(), torch.randn(1, 6, 3).double() * 3
    fixed = (signal.mT @ pre) / signal.square().sum(1)[:, :, None]
    weight = torch.randn(1, 3, 4).double()
    after = weight + StableOja().delta(weight, pre, signal, signal, torch.tensor(rate))
    # Every weight goes part of its way to the fixed point, and never past it.
    way = (after - weight) / (fixed - weight)
    assert ((way > 0) & (way < 1)).all()
    plain = weight + Oja().delta(weight, pre, signal, signal, torch.tensor(rate))
    assert ((plain - weight) / (fixed - weight) > 2).any()  # farther off than it was


def test_teaching_is_per_example_and_the_batch_is_averaged_once(generator: torch.Generator) -> None:
    def change(copies: int, reduction: str) -> Tensor:
        rule = LearningRule(Direct(teaching="error"), Oja(rate=0.1), reduction=reduction)
        torch.manual_seed(0)
        made = learner(dense(4, 5, 2), rule)
        one = episodes(shape=(4,), tasks=1, steps=1, batch=2)
        repeated = one._replace(
            support_x=one.support_x.repeat(1, 1, copies, 1),
            support_y=one.support_y.repeat(1, 1, copies),
        )
        return adapted(made, repeated)["0.weight"] - made.network[0].weight.detach()

    assert torch.allclose(change(3, "mean"), change(1, "mean"), rtol=1e-11)
    assert torch.allclose(change(3, "sum"), 3 * change(1, "sum"), rtol=1e-11)


def test_a_zero_rate_is_no_learning_but_has_a_gradient() -> None:
    made = learner(dense(4, 5, 2), LearningRule(Direct(), Oja()), initialization=Initialization())
    episode = episodes(shape=(4,))
    fast = adapted(made, episode)
    assert torch.equal(fast["0.weight"], made.network[0].weight)
    made(episode).loss.backward()
    assert all(rate.grad.abs().max() > 0 for rate in made.rule.plasticity.parameters())
