"""One step as one graph: `torch.compile(fullgraph=True)` gives the eager numbers to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from experiments.lab.exact.networks import CLASSES, NETWORKS
from metaplastic import CrossEntropy, Delta, LearningRule, OnlineLearner, RandomFeedback
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.inner.generic import AnyNetwork
from metaplastic.inner.state import State
from metaplastic.inner.step import step
from metaplastic.plasticity.adaptive import Adaptive
from tests.helpers.lifetimes import learned

# A compiler looks whether its arguments have a gradient, and here they are no leaves.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
Rule = Callable[[], LearningRule]
Flat = dict[str, Tensor]


def feedback() -> RandomFeedback:
    return RandomFeedback(weights="redrawn", spread="xavier")


RULES: dict[str, Rule] = {
    "feedback alignment, Kolen-Pollack": lambda: LearningRule(
        feedback(), Delta(rate=0.1, per="shared"), KolenPollackAlignment(decay=0.01, learn=True)
    ),
    "traces, mirror, noise": lambda: LearningRule(
        feedback(), Adaptive(rate=0.01, small=0.01), MirrorAlignment(learn=True, noise=0.01)
    ),
}


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compared(rule: str, network: str, backend: str) -> None:
    """A step of three lifetimes side by side, and its meta-gradient, with and without a graph."""
    tiny = NETWORKS[network]
    made = OnlineLearner(
        tiny.make(torch.float64), RULES[rule](), CrossEntropy(CLASSES), input_shape=tiny.shape
    ).double()
    executor = made.executor
    assert isinstance(executor, AnyNetwork)
    plastic = executor.network
    x = torch.randn(3, 2, *tiny.shape, dtype=torch.float64)
    y = torch.tensor([[0, 2], [1, 1], [0, 1]])

    def one(flat: Flat, x: Tensor, y: Tensor) -> tuple[Flat, Tensor]:
        state, answer = step(made.rule, plastic, State.of_flat(flat), x, y)
        return state.flat(), answer

    def many(flat: Flat, x: Tensor, y: Tensor) -> tuple[Flat, Tensor]:
        found: tuple[Flat, Tensor] = torch.vmap(one, randomness="different")(flat, x, y)
        return found

    first = made.initialize(y[:, None], torch.arange(3))
    expected, answer = many(first, x, y)
    compiled = torch.compile(many, fullgraph=True, backend=backend)
    found, same = compiled(first, x, y)
    assert torch.equal(answer, same)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    slopes = [meta_gradient(made, state) for state in (expected, found)]
    for one_slope, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one_slope, other, rtol=1e-13, atol=1e-15)
    assert any(bool(slope.any()) for slope in slopes[0])


def meta_gradient(made: OnlineLearner, state: Flat) -> tuple[Tensor, ...]:
    real = [value for value in state.values() if value.is_floating_point()]
    loss = torch.stack([value.square().sum() for value in real]).sum()
    return torch.autograd.grad(
        loss, list(learned(made).values()), allow_unused=True, materialize_grads=True,
        retain_graph=True,
    )  # fmt: skip


def test_a_step_is_one_graph_and_so_is_its_meta_gradient() -> None:
    compared("feedback alignment, Kolen-Pollack", "mlp", "aot_eager")


@pytest.mark.parametrize("network", ["residual", "attention", "own matrices"])
def test_a_step_of_any_network_is_traced_as_a_whole(network: str) -> None:
    compared("feedback alignment, Kolen-Pollack", network, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_any_network_is_one_graph(rule: str, network: str) -> None:
    compared(rule, network, "aot_eager")
