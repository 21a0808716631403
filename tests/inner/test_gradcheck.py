"""The meta-gradient of every variant of a lifetime is that of its meta-loss, to finite differences.

Ten inner steps in float64; every learned meta-parameter, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

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
from tests.helpers.lifetimes import convolutional, dense, episodes, learned, learner

PLASTICITY = {
    "oja": Oja, "hebb": Hebb, "stable-oja": StableOja, "normalized-hebb": NormalizedHebb
}  # fmt: skip
Make = Callable[[], tuple[OnlineLearner, Episode]]


def flp(
    plasticity: type[PlasticityRule] = Oja,
    rates: dict[str, Any] | None = None,
    rule: dict[str, Any] | None = None,
    network: Callable[[], nn.Sequential] = lambda: dense(3, 3, 3, 2),
    sizes: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **feedback: Any,
) -> Make:
    """A case: how to make the learner, and the lifetimes it is checked on."""

    def make() -> tuple[OnlineLearner, Episode]:
        shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (3,)
        given = {"shape": shape, **(sizes or {})}
        made = learner(
            network(),
            LearningRule(
                Direct(**{"width": 2, **feedback}),
                plasticity(**{"rate": 0.05, **(rates or {})}),
                **(rule or {}),
            ),
            regression=given.get("regression", False),
            **(options or {}),
        )
        return made, episodes(**given)

    return make


def initialized(hidden: Any, readout: Any, **case: Any) -> Make:
    """An error-taught case whose lifetimes start from these weights."""
    options = {"initialization": Initialization(hidden, readout)}
    return flp(options=options, teaching="error", **case)


def gradient_taught(
    plasticity: type[PlasticityRule],
    network: Callable[[], nn.Sequential] = lambda: dense(3, 3, 3, 2),
    sizes: dict[str, Any] | None = None,
    rates: dict[str, Any] | None = None,
    **options: Any,
) -> Make:
    def make() -> tuple[OnlineLearner, Episode]:
        shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (3,)
        given = {"shape": shape, **(sizes or {})}
        rule = LearningRule(Backprop(), plasticity(**{"rate": 0.1, **(rates or {})}))
        regression = given.get("regression", False)
        return learner(network(), rule, regression=regression, **options), episodes(**given)

    return make


def encoded(**feedback: Any) -> tuple[OnlineLearner, Episode]:
    encoder = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh())
    return flp(options={"encoder": encoder}, network=lambda: dense(3, 3, 2), **feedback)()


def relu_net() -> nn.Sequential:
    return dense(3, 4, 3, 2, phi=nn.ReLU)


def other_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 3), nn.LeakyReLU(0.2),
        nn.Sequential(nn.Linear(3, 3), nn.Sigmoid()), nn.Linear(3, 2),
    )  # fmt: skip


CASES: dict[str, Make] = {
    f"{name}, {teaching}, {nonlinearity}, gate {gate}": flp(
        rule_class, teaching=teaching, nonlinearity=nonlinearity, gate=gate
    )
    for (name, rule_class), teaching, nonlinearity, gate in product(
        PLASTICITY.items(), ("label", "error"), ("relu", "linear"), ("none", "derivative")
    )
}
CASES |= {
    f"{name}, regression, {nonlinearity}, readout {readout}": flp(
        rule_class, teaching="error", nonlinearity=nonlinearity, readout=readout,
        sizes={"regression": True},
    )
    for (name, rule_class), nonlinearity, readout in product(
        PLASTICITY.items(), ("relu", "linear"), ("clamped", "feedback")
    )
}  # fmt: skip
CASES |= {
    f"rates per {per}, {scale}": flp(
        rates={"per": per, "scale": scale, "limit": 0.2}, teaching="error", nonlinearity="linear"
    )
    for per, scale in (
        *product(("synapse", "neuron", "feature", "layer"), ("raw",)),
        *product(("synapse", "shared"), ("log", "bounded")),
        ("shared", "raw"),
    )
}
CASES |= {
    f"{name}, {made}": flp(rule_class, network=network, teaching="error", nonlinearity="linear")
    for (name, rule_class), (made, network) in product(
        PLASTICITY.items(),
        {"relu net": relu_net, "convolutions": convolutional, "other layers": other_layers}.items(),
    )
}
CASES |= {
    "two feedback layers, relu": flp(depth=2, width=4, teaching="error"),
    "two feedback layers, linear": flp(depth=2, nonlinearity="linear"),
    "frozen strength": flp(strength=1.0, learn_strength=False),
    "random feedback": flp(feedback="random", teaching="error"),
    "no feedback": flp(feedback="none", teaching="error"),
    "no hidden feedback, readout by feedback": flp(
        feedback="none", readout="feedback", teaching="error", sizes={"regression": True}
    ),
    "readout by feedback of the label": flp(readout="feedback"),
    "hidden sites hear the magnitude": flp(hidden_seed="magnitude", teaching="error"),
    "hidden multiplier": flp(rule={"hidden_multiplier": 5.0}),
    "plain sum, batch of three": flp(rule={"reduction": "sum"}, sizes={"batch": 3}),
    "one example a step": flp(sizes={"batch": 1, "tasks": 1}),
    "negative rates": flp(rates={"rate": -0.05}, teaching="error"),
    "frozen rates": flp(rates={"learn": False}),
    "implicit step, negative rates": flp(StableOja, rates={"rate": -0.05}, teaching="error"),
    "no biases": flp(network=lambda: dense(3, 3, 2, bias=False), teaching="error"),
    "readout only": flp(options={"plastic": 1}),
    "last two": flp(options={"plastic": 2}, teaching="error"),
    "first and last": flp(options={"plastic": ["0", "4"]}, teaching="error"),
    "an encoder": lambda: encoded(teaching="error"),
    "redrawn": initialized("redrawn", "redrawn"),
    "zeroed hidden layers": initialized("zeroed", "learned"),
    "all of the support in one step, ten passes": flp(
        options={"batch_learning": True, "passes": 10}, sizes={"steps": 2}, teaching="error"
    ),
    "zeroed readout": initialized("learned", "zeroed"),
    "rows redrawn": initialized(
        "learned", "rows", network=lambda: dense(3, 3, 4), sizes={"outputs": 2}
    ),
    "convolutions, label, gated": flp(network=convolutional, gate="derivative"),
    "convolutions, second one only": flp(network=convolutional, options={"plastic": ["4", "7"]}),
    "MAML": gradient_taught(Delta),
    "MAML, relu": gradient_taught(Delta, relu_net),
    "MAML, regression": gradient_taught(Delta, sizes={"regression": True}),
    "MAML, convolutions": gradient_taught(Delta, convolutional),
    "MAML, other layers": gradient_taught(Delta, other_layers),
    "MAML, ten passes, one batch": gradient_taught(Delta, sizes={"steps": 2}, passes=10,
                                                   batch_learning=True),
    "OML": gradient_taught(Delta, plastic=2, initialization=Initialization("learned", "rows")),
    "OML, first site in the middle": gradient_taught(Delta, plastic=["0", "4"]),
    "MAML, shared log rate": gradient_taught(Delta, rates={"per": "shared", "scale": "log"}),
    "Hebb taught by the gradient": gradient_taught(Hebb),
    "Oja taught by the gradient": gradient_taught(Oja),
    "implicit Oja taught by the gradient": gradient_taught(StableOja, convolutional),
}  # fmt: skip


@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_the_meta_gradient_through_ten_steps_is_exact(make: Make) -> None:
    made, episode = make()
    names = list(learned(made))
    values = [value.detach().clone().requires_grad_() for value in learned(made).values()]

    def meta_loss(*parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        loss: Tensor = torch.func.functional_call(made, named, (episode,)).loss
        return loss

    # Tighter than gradcheck's own tolerances.
    assert torch.autograd.gradcheck(meta_loss, values, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        flp(teaching="error", nonlinearity="linear", detach_error=True),
        lambda: (
            learner(dense(3, 3, 2), LearningRule(Backprop(second_order=False), Delta(rate=0.3))),
            episodes(),
        ),
    ],
    ids=["a detached error", "first order"],
)
def test_a_cut_meta_gradient_is_not_the_meta_losss(make: Make) -> None:
    made, episode = make()
    name, value = next(iter(learned(made).items()))

    def meta_loss(parameter: Tensor) -> Tensor:
        loss: Tensor = torch.func.functional_call(made, {name: parameter}, (episode,)).loss
        return loss

    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(meta_loss, value.detach().clone().requires_grad_())
