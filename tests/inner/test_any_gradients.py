"""Meta-gradients of any network, with alignment, sleep and traces, to finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments.lab.exact.networks import CLASSES, NETWORKS
from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    LearningRule,
    OnlineLearner,
    Polynomial,
    RandomDirect,
    RandomFeedback,
)
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment, ProductAlignment
from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.alignment.primitives import RegularizedAlignment
from metaplastic.alignment.sleep import Sleep
from metaplastic.inner.generic import AnyNetwork
from metaplastic.inner.state import State
from metaplastic.inner.step import step
from metaplastic.pathways.product import ProductFeedback
from metaplastic.pathways.signs import SignSymmetricFeedback
from metaplastic.plasticity.adaptive import Adaptive
from tests.helpers.lifetimes import episodes, learned

Rule = Callable[[], LearningRule]


def learned_feedback() -> RandomFeedback:
    return RandomFeedback(weights="learned", spread="xavier")


def regularized(**options: object) -> RegularizedAlignment:
    return RegularizedAlignment(
        decay=0.5, amp=0.6, null=0.3, sparse=0.2, self_=0.4, rate=0.05, learn=True, **options
    )  # type: ignore[arg-type]


RULES: dict[str, Rule] = {
    "sleep, mirror, Kolen-Pollack, traces": lambda: LearningRule(
        learned_feedback(),
        Adaptive(rate=0.02, mean=0.7, square=0.8, small=0.05, decay=10.0, learn_traces=True),
        Sleep(
            awake=KolenPollackAlignment(decay=0.05, gain=0.8, learn=True),
            asleep=MirrorAlignment(
                rate=0.1, decay=0.05, deviation=0.9, examples=2, learn=True, per="layer"
            ),
            at_start=3, every=4, steps=2,
        ),
    ),
    "mirror at every step": lambda: LearningRule(
        learned_feedback(), Delta(rate=0.1), MirrorAlignment(rate=0.1, learn=True, noise=0.01)
    ),
    "Kolen-Pollack per synapse": lambda: LearningRule(
        learned_feedback(), Delta(rate=0.1, per="neuron"),
        KolenPollackAlignment(decay=0.05, gain=0.8, learn=True, per="synapse"),
    ),
    "regularizers on activity": lambda: LearningRule(
        learned_feedback(), Delta(rate=0.1), regularized(per="neuron")
    ),
    "regularizers on noise": lambda: LearningRule(
        learned_feedback(), Delta(rate=0.1), regularized(inputs="noise", deviation=0.8)
    ),
    "two matrices": lambda: LearningRule(
        ProductFeedback(expansion=2), Delta(rate=0.1), ProductAlignment(decay=0.05, learn=True)
    ),
    "signs, norms kept": lambda: LearningRule(
        SignSymmetricFeedback(sizes="random", strict="forward"), Delta(rate=0.1)
    ),
    "signs, norms of feedback": lambda: LearningRule(
        SignSymmetricFeedback(sizes="random", strict="feedback"), Delta(rate=0.1)
    ),
    "polynomial": lambda: LearningRule(
        RandomFeedback(weights="learned", level=True),
        Polynomial(first={"signal_pre": 0.05, "post_back": 0.03, "oja": 0.02}, normalized=True),
    ),
    "polynomial, direct": lambda: LearningRule(
        RandomDirect(level=True), Polynomial(first={"signal_pre": 0.05, "post_guess_back": 0.02})
    ),
}  # fmt: skip


def case(rule: str, network: str, steps: int = 10) -> tuple[OnlineLearner, Callable[..., Tensor]]:
    """A learner, and its meta-loss as a function of all that it may learn."""
    tiny = NETWORKS[network]
    made = OnlineLearner(
        tiny.make(torch.float64), RULES[rule](), CrossEntropy(CLASSES), input_shape=tiny.shape
    ).double()
    episode = episodes(outputs=CLASSES, shape=tiny.shape, tasks=2, steps=steps, batch=1)
    names = list(learned(made))

    def meta_loss(*values: Tensor) -> Tensor:
        swapped = dict(zip(names, values, strict=True))
        found: Tensor = torch.func.functional_call(made, swapped, (episode,)).loss
        return found

    return made, meta_loss


@pytest.mark.parametrize("network", ["mlp", "residual", "attention"])
@pytest.mark.parametrize("rule", RULES)
def test_every_meta_gradient_is_exact(rule: str, network: str) -> None:
    made, meta_loss = case(rule, network)
    values = learned(made)
    kinds = [
        [name for name, value in values.items() if any(value is p for p in group)]
        for group in made.parameter_groups().values()
    ]

    def of_kinds(*vectors: Tensor) -> Tensor:
        now = dict(values)
        for kind, vector in zip(kinds, vectors, strict=True):
            parts = vector.split([values[name].numel() for name in kind])
            now |= {n: part.view_as(values[n]) for n, part in zip(kind, parts, strict=True)}
        return meta_loss(*now.values())

    leaves = [
        torch.cat([values[name].detach().flatten() for name in kind]).requires_grad_()
        for kind in kinds
    ]
    assert torch.autograd.gradcheck(of_kinds, leaves, fast_mode=True, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_each_coefficient_has_its_own_exact_gradient(rule: str) -> None:
    made, meta_loss = case(rule, "own matrices")
    values = learned(made)
    few = [name for name, value in values.items() if value.numel() <= 8 and "network" not in name]
    leaves = [values[name].detach().clone().requires_grad_() for name in few]

    def of_few(*given: Tensor) -> Tensor:
        now = {name: value.detach() for name, value in values.items()}
        return meta_loss(*(now | dict(zip(few, given, strict=True))).values())

    if not few:
        assert not list(made.rule.alignment.parameters())
        return
    found = torch.autograd.grad(of_few(*leaves), leaves, allow_unused=True, materialize_grads=True)
    silent = {n for n, slope in zip(few, found, strict=True) if not bool(slope.any())}
    # Nothing goes back through the first site, and activity has a deviation of its own.
    assert all("first" in n or ("deviation" in n and "activity" in rule) for n in silent)
    assert torch.autograd.gradcheck(of_few, leaves, atol=1e-8)


@pytest.mark.parametrize("network", ["mlp", "residual", "attention"])
def test_feedback_that_is_fixed_gets_none_and_what_is_learned_gets_some(network: str) -> None:
    made, meta_loss = case("Kolen-Pollack per synapse", network)
    groups = made.parameter_groups()
    assert {"weights", "feedback", "plasticity", "alignment"} <= groups.keys()
    made_loss = meta_loss(*learned(made).values())
    made_loss.backward()  # type: ignore[no-untyped-call]
    for name, group in groups.items():
        assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in group), name


@pytest.mark.parametrize("network", ["mlp", "attention"])
def test_a_step_is_differentiable_twice(network: str) -> None:
    made, _ = case("Kolen-Pollack per synapse", network)
    executor = made.executor
    assert isinstance(executor, AnyNetwork)
    tiny = NETWORKS[network]
    x = torch.randn(1, *tiny.shape, dtype=torch.float64)
    y = torch.tensor([1])
    with torch.no_grad():
        fast = made.initialize(y[None, None], torch.tensor([3]))
    flat = {name: value[0] for name, value in fast.items()}
    names = [name for name, value in flat.items() if value.is_floating_point()]

    def after(*values: Tensor) -> Tensor:
        state = State.of_flat({**flat, **dict(zip(names, values, strict=True))})
        for _ in range(2):
            state, answer = step(made.rule, executor.network, state, x, y)
        parts = [*state.weights.values(), *state.feedback.values(), answer]
        return torch.stack([part.square().sum() for part in parts]).sum()

    leaves = [flat[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(after, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(after, leaves, fast_mode=True)


@pytest.mark.parametrize("network", ["mlp", "residual"])
def test_the_first_order_is_another_gradient(network: str) -> None:
    gradients = []
    for second in (True, False):
        tiny = NETWORKS[network]
        rule = LearningRule(Backprop(second_order=second), Delta(rate=0.1, per="shared"))
        made = OnlineLearner(
            tiny.make(torch.float64), rule, CrossEntropy(CLASSES), input_shape=tiny.shape
        ).double()
        loss = made(episodes(outputs=CLASSES, shape=tiny.shape, steps=5)).loss
        gradients.append(torch.autograd.grad(loss, list(made.network.parameters()))[0])
    assert not torch.allclose(*gradients, rtol=1e-3)
