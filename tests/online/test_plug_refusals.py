"""What a network cannot learn from is refused in a sentence, before any weight has changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    CreditRule,
    Delta,
    Direct,
    LearningRule,
    Oja,
    OnlineLearner,
    PlasticModule,
    credit,
    from_pretrained,
)


def mlp(outputs: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


TARGETS: dict[str, tuple[int, Any, str]] = {
    "no axis of outputs": (1, torch.zeros(6), r"shape \(6,\), but .* shape \(6, 1\)"),
    "one output for five": (5, torch.zeros(6, 1), r"shape \(6, 1\), but .* shape \(6, 5\)"),
    "real labels": (5, torch.zeros(6), r"float32 of shape \(6,\).* whole numbers"),
    "too few labels": (5, torch.zeros(5).long(), r"int64 of shape \(5,\).* \(6, 5\)"),
    "whole numbers for each output": (5, torch.zeros(6, 5).long(), r"\(6, 5\);.*y\.float"),
    "labels above the outputs": (5, torch.full((6,), 5), "go from 5 to 5, but there are 5 outputs"),
    "labels below 0": (5, torch.full((6,), -3), "go from -3 to -3"),
    "labels of one output": (1, torch.tensor([0, 1] * 3), "go from 0 to 1, but there are 1"),
    "a list": (5, [0] * 6, r"a list;.*torch\.as_tensor"),
    "complex numbers": (5, torch.zeros(6, 5, dtype=torch.complex64), "complex64;.*real numbers"),
}


@pytest.mark.parametrize(("outputs", "y", "sentence"), TARGETS.values(), ids=TARGETS.keys())
def test_a_target_that_does_not_fit_is_refused_and_another_may_be_given(
    outputs: int, y: Any, sentence: str
) -> None:
    x, model = torch.randn(6, 4), mlp(outputs)
    net = PlasticModule(model, "fa", example=x)
    net(x)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        net.learn(y)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    net.learn(torch.zeros(6, outputs))
    assert not torch.equal(before["0.weight"], model[0].weight)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.bool])
def test_labels_may_be_whole_numbers_of_any_kind(kind: torch.dtype) -> None:
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    models = [mlp(), mlp()]
    for model, labels in zip(models, (y, y.to(kind)), strict=True):
        net = PlasticModule(model, "fa", example=x)
        net(x)
        net.learn(labels)
    assert torch.equal(models[0][0].weight, models[1][0].weight)


def test_every_position_of_an_image_may_have_a_label() -> None:
    x = torch.randn(2, 3, 4, 4)
    net = PlasticModule(nn.Conv2d(3, 5, 1), "bp", example=x)
    net(x)
    assert net.learn(torch.full((2, 4, 4), 4)).isfinite()


def far(x: Tensor) -> Tensor:
    return torch.full_like(x, torch.inf)


SPOILT: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "an input": (lambda x: x * torch.nan, "the loss is not finite.*no weight was changed"),
    "an input that the loss does not see": (far, "the change of site '0' is not finite"),
}


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa"])
@pytest.mark.parametrize("plasticity", [None, Oja(rate=0.1)])
@pytest.mark.parametrize(("spoil", "sentence"), SPOILT.values(), ids=SPOILT.keys())
def test_one_bad_image_changes_no_weight_and_the_next_is_learned_from(
    spoil: Callable[[Tensor], Tensor], sentence: str, plasticity: Any, rule: str
) -> None:
    x, y, model = torch.randn(6, 4), torch.zeros(6).long(), mlp()
    with torch.no_grad():
        model[0].weight.abs_()  # so that what is infinite stays so, and is no nan after the tanh
    net = PlasticModule(model, rule, example=x, plasticity=plasticity)
    before = copy.deepcopy(model.state_dict())
    net(spoil(x))
    with pytest.raises(FloatingPointError, match=sentence):
        net.learn(y)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    net(x)
    net.learn(y)
    assert not torch.equal(before["0.weight"], model[0].weight)
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_a_target_and_a_loss_of_ones_own_that_are_not_finite_are_refused() -> None:
    x, model = torch.randn(6, 4), mlp()
    before = copy.deepcopy(model.state_dict())
    own: Any = lambda answer, y: (answer - y).square().sum().log()  # noqa: E731
    for loss_fn in (None, own):
        net = PlasticModule(model, "fa", example=x, loss_fn=loss_fn)
        net(x)
        with pytest.raises(FloatingPointError, match="the loss is not finite"):
            net.learn(torch.full((6, 5), torch.inf))
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_a_bias_is_checked_too() -> None:
    class Still(Delta):
        """Moves nothing but biases."""

        def delta(self, weight: Tensor, *others: Tensor, **more: Tensor) -> Tensor:
            return torch.zeros_like(weight)

    x, model = torch.randn(6, 4), mlp()
    net = PlasticModule(model, "bp", example=x, plasticity=Still(rate=1e38, per="shared"))
    net(x)
    with pytest.raises(FloatingPointError, match="the change of site '0'"):
        net.learn(torch.full((6, 5), 1e9))
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_changes_of_half_numbers_are_not_too_many_to_be_added_up() -> None:
    x = torch.full((1, 512), 10.0).half()
    model = nn.Linear(512, 512, bias=False).half()
    net = PlasticModule(model, "bp", example=x, rate=1.0)
    before = net(x)
    net.learn(before - 1)
    assert not torch.equal(net(x), before)


def images() -> Tensor:
    return torch.randn(2, 4)


def shipped_learner() -> OnlineLearner:
    return from_pretrained("omniglot_relative")


DOORS: dict[str, tuple[Callable[[], object], str]] = {
    "a learner into a network": (
        lambda: PlasticModule(mlp(), shipped_learner(), example=images()),  # type: ignore[arg-type]
        r"whole OnlineLearner.*from_pretrained\(folder\)\.rule",
    ),
    "a learned rule into credit": (
        lambda: credit(LearningRule(Direct(), Oja(rate=0.1)), mlp(), example=images()),
        "pathway is a Direct, which has the sizes",
    ),
    "a learner into credit": (
        lambda: credit(shipped_learner(), mlp(), example=images()),  # type: ignore[arg-type]
        "of class OnlineLearner.*must be a name",
    ),
    "a class": (
        lambda: credit(CreditRule, mlp(), example=images()),  # type: ignore[arg-type]
        r"the class CreditRule; make one, CreditRule\(\)",
    ),
    "a learner's name": (
        lambda: PlasticModule(mlp(), "omniglot_relative", example=images()),
        r"'omniglot_relative' is a shipped learner.*from_pretrained\('omniglot_relative'\)\.rule",
    ),
    "nearly a learner's name": (
        lambda: credit("omniglot_relativ", mlp(), example=images()),
        "no rule named 'omniglot_relativ'; 'omniglot_relative' is a shipped learner",
    ),
    "nearly a rule's name": (
        lambda: credit("mirror_regularzer", mlp(), example=images()),
        r"Did you mean mirror_regularizer\?",
    ),
}


@pytest.mark.parametrize(("attempt", "sentence"), DOORS.values(), ids=DOORS.keys())
def test_the_wrong_entry_point_names_the_right_one(
    attempt: Callable[[], object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf"), "big", True])
def test_a_rate_that_is_no_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match=f"rate is {rate!r}; it must be a finite number .* 0"):
        PlasticModule(mlp(), "fa", example=images(), rate=rate)
    assert PlasticModule(mlp(), "fa", example=images()).plasticity.initial == 0.01
    assert PlasticModule(mlp(), "fa", example=images(), rate=0).plasticity.initial == 0


def test_a_rate_beside_rates_that_it_would_not_change_is_refused() -> None:
    rule = shipped_learner().rule
    with pytest.raises(ValueError, match=r"rate is 5\.0, but the Polynomial .* net\.rate_scale"):
        PlasticModule(mlp(), rule, example=images(), rate=5.0)
    with pytest.raises(ValueError, match=r"rate is 0\.1, but the Oja .* leave rate out"):
        PlasticModule(mlp(), "fa", example=images(), rate=0.1, plasticity=Oja(rate=0.1))
