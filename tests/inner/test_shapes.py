"""The shapes that the public functions promise, checked by jaxtyping on arguments and results.

The library cannot import jaxtyping, so its promises are written here, around its functions; the
axes of one call have one size each.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Hebb,
    LearningRule,
    Oja,
    OnlineLearner,
    PlasticModule,
)
from metaplastic.objective import MeanSquaredError
from metaplastic.plasticity import Manhattan
from tests.helpers.fuzzing import fuzzed

jaxtyping = pytest.importorskip("jaxtyping", reason="the dev extra is not installed")
sizes = st.integers(1, 5)


def require_shapes(*promised: tuple[Tensor, str]) -> None:
    """Every tensor is of its axes; an axis has one size throughout, that where it came first."""
    with jaxtyping.jaxtyped("context"):
        for value, axes in promised:
            assert isinstance(value, jaxtyping.Shaped[Tensor, axes]), (axes, value.shape)


def network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


@fuzzed(15)
@given(
    inputs=sizes, hidden=sizes, outputs=sizes, tasks=sizes, steps=sizes, batch=sizes, queries=sizes
)
def test_a_learner_of_any_size(
    inputs: int, hidden: int, outputs: int, tasks: int, steps: int, batch: int, queries: int
) -> None:
    objective = MeanSquaredError(outputs)
    for shape in (None, (inputs,)):  # both executors
        rule = LearningRule(Backprop(), Delta(rate=0.01, per="shared"))
        learner = OnlineLearner(
            network(inputs, hidden, outputs), rule, objective, input_shape=shape
        )
        x, y = torch.randn(tasks, steps, batch, inputs), torch.randn(tasks, steps, batch, outputs)
        query = torch.randn(tasks, queries, inputs)
        fast = learner.initialize(y, torch.arange(tasks))
        after = learner.adapt(x, y, fast)
        require_shapes(
            (x, "tasks steps batch inputs"),
            (y, "tasks steps batch outputs"),
            (query, "tasks queries inputs"),
            (learner.predict(after, query), "tasks queries outputs"),
        )
        assert after.keys() == fast.keys()
        for name, value in fast.items():
            axes = " ".join(f"axis{number}" for number in range(value.ndim))
            require_shapes((value, axes), (after[name], axes))


@fuzzed(30)
@given(pre=sizes, post=sizes, rows=sizes, rule=st.sampled_from([Delta, Hebb, Oja, Manhattan]))
def test_a_change_has_the_shape_of_its_weight(pre: int, post: int, rows: int, rule: Any) -> None:
    weight, x = torch.randn(2, post, pre), torch.randn(2, rows, pre)
    activity, signal = torch.randn(2, rows, post), torch.randn(2, rows, post)
    change = rule(rate=0.1, per="shared").delta(weight, x, activity, signal, torch.tensor(0.1))
    require_shapes(
        (weight, "groups post pre"), (x, "groups rows pre"), (activity, "groups rows post"),
        (signal, "groups rows post"), (change, "groups post pre"),
    )  # fmt: skip


@fuzzed(15)
@given(inputs=sizes, hidden=sizes, outputs=sizes, batch=sizes)
def test_a_module_of_any_size(inputs: int, hidden: int, outputs: int, batch: int) -> None:
    rule = LearningRule(Backprop(), Delta(rate=0.01, per="shared"))
    x, y = torch.randn(batch, inputs), torch.randn(batch, outputs)
    net = PlasticModule(network(inputs, hidden, outputs), rule, example=x[:1])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    output = net(x)
    loss = net.learn(y)
    require_shapes((x, "batch inputs"), (y, "batch outputs"), (output, "batch outputs"), (loss, ""))
    for name, value in net.state_dict().items():
        assert value.shape == before[name].shape


def test_the_check_sees_a_wrong_shape() -> None:
    with pytest.raises(AssertionError, match="rows post"):
        require_shapes((torch.randn(4, 3), "rows post"), (torch.randn(5, 3), "rows post"))
