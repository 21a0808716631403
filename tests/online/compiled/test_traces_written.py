"""A compiled step gives a trace the memory that it made, where nobody else can see that memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metaplastic import LearningRule, PlasticModule
from metaplastic.pathways import RandomFeedback
from metaplastic.plasticity.adaptive import Adaptive
from metaplastic.plasticity.base import PlasticityRule, Traces
from metaplastic.plasticity.outer_product import outer_product
from tests.helpers.compiled import pair, small, x_of


class Remembering(PlasticityRule):
    """Goes back to the weight of two steps before, which its traces show as it was."""

    traces = ("last", "before")

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * outer_product(signal, pre)

    def delta_with_traces(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor,
        traces: Traces, step: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        back = 0.1 * (weight - traces["before"])
        return rate * (outer_product(signal, pre) - back), {
            "last": weight.view_as(weight),
            "before": traces["last"],
        }

    def along(
        self, push: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return rate * push, {"last": push, "before": traces["last"]}


def both(plasticity: PlasticityRule) -> list[PlasticModule]:
    return pair(small(), LearningRule(RandomFeedback(), plasticity), seed=1, example=x_of(1))


def lives(net: PlasticModule, steps: int, *, spoil: bool = False) -> list[Tensor]:
    made = torch.Generator().manual_seed(2)
    for _ in range(steps):
        x = torch.randn(4, 6, generator=made, dtype=torch.float64)
        out = net(x)
        net.learn(torch.randint(3, (4,), generator=made))
        if spoil:  # what was handed out and handed in is the caller's
            out.zero_()
            x.zero_()
    return [value.clone() for value in net.state_dict().values()]


@pytest.mark.parametrize("spoil", [False, True])
@pytest.mark.parametrize(
    "plasticity",
    [Remembering(rate=0.1, per="shared"), Adaptive(rate=0.01, per="shared")],
    ids=["a trace that shows the weight", "two traces"],
)
def test_traces_are_those_of_uncompiled_steps(plasticity: PlasticityRule, spoil: bool) -> None:
    plain, compiled = both(plasticity)
    for one, other in zip(lives(plain, 6), lives(compiled, 6, spoil=spoil), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert compiled.is_compiled


def test_traces_get_the_memory_in_which_a_step_made_them() -> None:
    net = both(Adaptive(rate=0.01, per="shared"))[1]
    lives(net, 2)
    trace = net.memory.get_buffer("mean|0|weight")
    place = trace.data_ptr()
    lives(net, 1)
    assert net.memory.get_buffer("mean|0|weight") is trace
    assert trace.data_ptr() != place


def test_shared_traces_stay_shared() -> None:
    net = both(Adaptive(rate=0.01, per="shared"))[1]
    lives(net, 2)
    trace = net.memory.get_buffer("mean|0|weight").share_memory_()
    before = trace.clone()
    lives(net, 1)
    assert trace.is_shared()
    assert not torch.equal(trace, before)
