"""What learners cost: counts beside those worked out by hand, and beside PyTorch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.lab.networks.transfer_networks import network
from experiments.lab.transfer.costs import by_optimizer, by_rule, cost
from experiments.lab.transfer.counter import Work, WorkCounter
from metaplastic import LearningRule, from_pretrained
from metaplastic.support.describe import build, describe, own_classes

INPUTS, HIDDEN, OUTPUTS = 6, 4, 3
SYNAPSES = INPUTS * HIDDEN + HIDDEN * OUTPUTS


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(INPUTS, HIDDEN, bias=False), nn.ReLU(),
        nn.Linear(HIDDEN, OUTPUTS, bias=False),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rule() -> LearningRule:
    return from_pretrained("aligned").rule


def test_a_step_in_a_small_dense_network_as_by_hand(rule: LearningRule) -> None:
    # Forward and outer products meet every synapse; no error goes back to the input.
    by_hand = 2 * SYNAPSES + HIDDEN * OUTPUTS
    sgd, adam = by_optimizer(torch.optim.SGD), by_optimizer(torch.optim.Adam)
    for start in (sgd, adam, by_rule(rule)):
        found = cost(start, dense(), (1, 2, 3))
        assert found.step.multiply_adds == by_hand
    assert cost(sgd, dense(), (1, 2, 3)).start == Work(0, 0)
    two_traces = cost(adam, dense(), (1, 2, 3)).start  # written as zeros, and a count for each
    assert two_traces.multiply_adds == 0
    assert two_traces.bytes == pytest.approx(2 * 4 * SYNAPSES, abs=2 * 8)


def test_a_mirror_phase_as_by_hand(rule: LearningRule) -> None:
    rows, sites = 2048, 2
    wakes: LearningRule = build(describe(rule), own_classes(rule))
    wakes.alignment.at_start = 0  # type: ignore[assignment]
    wakes.alignment.options["at_start"] = 0
    asleep, awake = (cost(by_rule(one), dense(), (1, 2, 3)) for one in (rule, wakes))
    # Every row of noise goes through the weights, and meets the output in an outer product.
    extra = asleep.start.multiply_adds - awake.start.multiply_adds
    assert extra == 2 * rows * SYNAPSES
    assert (asleep.mirror_steps, asleep.noise_inputs) == (1, rows * sites)
    assert (awake.mirror_steps, awake.noise_inputs) == (0, 0)
    assert asleep.step == awake.step
    assert asleep.of(10) == asleep.start + awake.step.times(10)


def test_counting_changes_nothing_that_is_learned(rule: LearningRule) -> None:
    counted, plain = dense(), dense()
    plain.load_state_dict(counted.state_dict())
    x, y = torch.full((1, 1, 2, 3), 0.5), torch.zeros(1, dtype=torch.int64)
    cost(by_rule(rule), counted, (1, 2, 3))
    step, _ = by_rule(copy.deepcopy(rule))(plain, x)
    for _ in range(2):
        step(x, y)
    for one, other in zip(counted.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def counted_bytes(work: object, *given: Tensor) -> int:
    with WorkCounter() as counter:
        work(*given)  # type: ignore[operator]
    return counter.work.bytes


def test_bytes_of_operations_as_by_hand() -> None:
    a, b, column = torch.ones(3, 4), torch.ones(3, 4), torch.ones(3, 1)
    whole, small = 12 * 4, 3 * 4
    assert counted_bytes(lambda: a + b) == 3 * whole
    assert counted_bytes(lambda: a * a) == 2 * whole
    assert counted_bytes(lambda: a.add_(b, alpha=0.5)) == 3 * whole
    assert counted_bytes(lambda: a.copy_(b)) == 2 * whole
    assert counted_bytes(lambda: a.zero_()) == whole
    assert counted_bytes(lambda: a.t().reshape(2, 6).clone()) == 4 * whole  # the reshape copies
    assert counted_bytes(lambda: a.view(4, 3).t()[1:]) == 0
    assert counted_bytes(lambda: torch.empty(5)) == 0
    assert counted_bytes(lambda: column.expand(3, 4) + a) == small + 2 * whole
    assert counted_bytes(lambda: torch.mm(a, b.t())) == 2 * whole + 9 * 4
    assert counted_bytes(lambda: torch.add(a, b, out=torch.empty(3, 4))) == 3 * whole
    index = torch.tensor([0, 2])
    assert counted_bytes(lambda: torch.ones(1000)[index]) == 1000 * 4 + 2 * 8 + 2 * (2 * 4)
    assert counted_bytes(lambda: torch._foreach_add_([a, b], [b, a])) == 4 * whole


@pytest.mark.parametrize("name", ["deep", "conv", "residual", "transformer"])
@pytest.mark.parametrize("learner", ["rule", "backprop"])
def test_products_are_as_many_as_pytorch_counts(
    name: str, learner: str, rule: LearningRule
) -> None:
    shape = (1, 8, 8)
    start = by_rule(rule) if learner == "rule" else by_optimizer(torch.optim.SGD)
    x, y = torch.full((1, *shape), 0.5), torch.zeros(1, dtype=torch.int64)
    found = cost(start, network(name, shape, 3, 0), shape)
    model = network(name, shape, 3, 0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        step, _ = start(model, x)
        step(x, y)
        with FlopCounterMode(display=False) as theirs:
            step(x, y)
    assert 2 * found.step.multiply_adds == theirs.get_total_flops()


def test_a_convolution_by_groups_has_the_products_of_its_groups() -> None:
    x, layer = torch.ones(1, 6, 5, 5, requires_grad=True), nn.Conv2d(6, 12, 3, groups=3, bias=False)
    with WorkCounter() as counter:
        layer(x).sum().backward()
    forward = 12 * 3 * 3 * (6 // 3) * 9  # outputs times the filter's places
    assert counter.work.multiply_adds == 3 * forward


def test_a_product_that_is_not_counted_is_refused() -> None:
    q = torch.ones(1, 1, 4, 8)
    with WorkCounter(), pytest.raises(NotImplementedError, match="are not counted"):
        torch.ops.aten._scaled_dot_product_efficient_attention(
            q.to("meta"), q.to("meta"), q.to("meta"), None, False
        )
