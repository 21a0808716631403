"""Changes that are kept as outer products: the same lifetimes and meta-gradients, to rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Initialization,
    LearningRule,
    MeanSquaredError,
    OnlineLearner,
    Unroll,
)
from metaplastic.inner import meta_loss
from metaplastic.inner.kept_as_products import kept_as_products
from metaplastic.stacked.low_rank import LowRank

TASKS, STEPS, BATCH, QUERIES, INPUTS = 3, 2, 2, 4, 24
FEW = STEPS * BATCH


def network(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(INPUTS, 32, bias=bias), nn.Tanh(), nn.Linear(32, 24, bias=bias), nn.Tanh(),
        nn.Linear(24, 3, bias=bias),
    ).double()  # fmt: skip


def learner(per: str = "shared", first_order: bool = False, **options: Any) -> OnlineLearner:
    torch.manual_seed(0)
    rule = LearningRule(Backprop(second_order=not first_order), Delta(rate=0.3, per=per))
    objective = options.pop("objective", None) or CrossEntropy(3)
    made = options.pop("network", network)()
    return OnlineLearner(made, rule, objective, **options).double()


def data(real: bool = False) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)

    def targets(*shape: int) -> Tensor:
        if real:
            return torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
        return torch.randint(3, shape, generator=generator)

    x = torch.randn(TASKS, STEPS, BATCH, INPUTS, generator=generator, dtype=torch.float64)
    query = torch.randn(TASKS, QUERIES, INPUTS, generator=generator, dtype=torch.float64)
    return x, targets(TASKS, STEPS, BATCH), query, targets(TASKS, QUERIES), torch.arange(TASKS)


def meta_gradient(made: OnlineLearner, given: tuple[Tensor, ...]) -> list[Tensor]:
    x, y, query_x, query_y, seed = given
    x, query_x = (  # what is below the first plastic layer
        made.encode(t.flatten(0, -2)).unflatten(0, t.shape[:-1]) for t in (x, query_x)
    )
    result = meta_loss.loss_of_lifetimes(made, x, y, query_x, query_y, seed)
    parameters = [p for p in made.parameters() if p.requires_grad]
    found = torch.autograd.grad(result.loss, parameters, allow_unused=True)
    return [result.loss, result.prediction, *(slope for slope in found if slope is not None)]


CASES: dict[str, Callable[[], OnlineLearner]] = {
    "one rate": learner,
    "a rate per layer": lambda: learner("layer"),
    "a rate per neuron": lambda: learner("neuron"),
    "a rate per feature": lambda: learner("feature"),
    "first order": lambda: learner(first_order=True),
    "no biases": lambda: learner(network=lambda: network(bias=False)),
    "two passes": lambda: learner(passes=2),
    "in one batch": lambda: learner(batch_learning=True),
    "the last two layers": lambda: learner(plastic=2),
    "a readout redrawn": lambda: learner(initialization=Initialization(readout="redrawn")),
    "squared error": lambda: learner(objective=MeanSquaredError(3)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_meta_gradient_is_that_of_whole_weights(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, given = CASES[case](), data(real=case == "squared error")
    kept = kept_as_products(made, FEW)
    names = ["0.weight", "2.weight"] if case != "the last two layers" else ["2.weight"]
    assert list(kept) == names  # the readout has too few units
    as_products = meta_gradient(made, given)
    monkeypatch.setattr(meta_loss, "kept_as_products", lambda *_: {})
    whole = meta_gradient(made, given)
    assert len(whole) > 5
    for one, other in zip(as_products, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_a_weight_is_run_and_pulled_through_as_the_matrix_that_it_is(
    generator: torch.Generator,
) -> None:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shared, x, signal = normal(5, 4), normal(2, 3, 4), normal(2, 3, 5)
    weight, whole = LowRank(shared), shared.expand(2, 5, 4)
    for rate in (normal(1, 1), normal(1, 4), normal(5, 1)):
        torch.testing.assert_close(weight.run(x), x @ whole.mT)
        torch.testing.assert_close(weight.pull(signal), signal @ whole)
        s, pre = normal(2, 6, 5), normal(2, 6, 4)
        weight, whole = weight.plus(s, pre, rate), whole + rate * (s.mT @ pre)
    torch.testing.assert_close(weight.run(x), x @ whole.mT)


@pytest.mark.parametrize(
    "made",
    [
        lambda: learner("synapse"),
        lambda: learner(initialization=Initialization("redrawn", "redrawn")),
        lambda: learner(unroll=Unroll(checkpoint_every=1)),
        lambda: learner(unroll=Unroll(truncate=1)),
        lambda: learner(unroll=Unroll(compile=True)),
        lambda: learner(input_shape=(INPUTS,)),
        lambda: learner(passes=9),  # then the examples are too many
    ],
)
def test_where_it_cannot_be_or_does_not_pay_weights_are_whole(
    made: Callable[[], OnlineLearner],
) -> None:
    assert kept_as_products(made(), FEW) == {}
