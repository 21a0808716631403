"""How feedback follows: each primitive against autograd, and where it comes to rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import credit
from metaplastic.alignment.base import AtSite
from metaplastic.alignment.primitives import RegularizedAlignment
from metaplastic.sites.products import Product
from metaplastic.sites.survey import find_sites

PRIMITIVES = ("decay", "amp", "null", "sparse", "self_")
MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 4), (3, 5)),
    "tokens": (lambda: nn.Linear(5, 4), (3, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (3, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, dilation=2, padding=2), (2, 3, 6, 5)),
}


def product_of(module: nn.Module, x: Tensor) -> Product:
    product = find_sites(module, x).products[0].silent(0, x)
    product.x = x
    return product


def regularizer(name: str, product: Product, w: Tensor, b: Tensor, x: Tensor) -> Tensor:
    f, g = product.run(x, w), product.run(x, b)
    return {
        "decay": w.square().sum() + b.square().sum(),
        "amp": -(f * g).sum() / len(x),
        "null": product.carry(f, b, x).square().sum() / len(x),
        "sparse": (f.square().sum() + g.square().sum()) / len(x),
        "self_": -(w * b).sum(),
    }[name]


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("kind", MODULES)
def test_a_primitive_is_the_gradient_of_its_regularizer(name: str, kind: str) -> None:
    torch.manual_seed(0)
    make, shape = MODULES[kind]
    module, x = make().double(), torch.randn(shape, dtype=torch.float64)
    b = torch.randn_like(module.weight).requires_grad_()
    product, w = product_of(module, x), module.weight.detach()
    (gradient,) = torch.autograd.grad(regularizer(name, product, w, b, x), b)
    site = AtSite("", w, torch.zeros(()), w, (product,))
    rule = RegularizedAlignment(rate=1.0, **{name: 1.0})
    with torch.no_grad():
        change = rule.follow(b, site)
    assert change is not None
    assert torch.allclose(change, -gradient, atol=1e-12)


def settle(rule: RegularizedAlignment, w: Tensor, x: Tensor, steps: int) -> Tensor:
    module = nn.Linear(w.shape[1], w.shape[0], bias=False).double()
    module.weight.data = w
    b, site = torch.randn_like(w), AtSite("", w, torch.zeros(()), w, (product_of(module, x),))
    for _ in range(steps):
        b = b + rule.follow(b, site)  # type: ignore[operator]
    return b


def held() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    w = torch.randn(4, 6, dtype=torch.float64) / 3
    x = torch.randn(400, 6, dtype=torch.float64) * torch.tensor([2.0, 1.5, 1, 1, 0.5, 0.5])
    x = (x + 0.5) / 2
    return w, x, x.T @ x / len(x)


def test_feedback_rests_at_the_closed_forms() -> None:
    w, x, c = held()
    eye = torch.eye(4, dtype=torch.float64)
    for rule, steps, rest in (
        (RegularizedAlignment(decay=0.4, self_=0.6, rate=0.5), 200, 0.6 / 0.8 * w),
        (RegularizedAlignment(sparse=0.5, amp=0.8, rate=0.3), 2000, 0.8 * w),
        (RegularizedAlignment(decay=0.5, amp=0.7, rate=0.5), 200, 0.7 * w @ c),
        (RegularizedAlignment(amp=0.9, null=0.5, decay=0.3, rate=0.3), 3000,
         0.9 * torch.linalg.solve(0.6 * eye + w @ c @ w.T, w @ c)),
    ):  # fmt: skip
        assert (settle(rule, w, x, steps) - rest).abs().max() < 1e-3, rule


def test_symmetric_and_activation_alignment_mirror_and_others_do_not_on_colored_input() -> None:
    w, x, _ = held()
    sa = settle(RegularizedAlignment(decay=0.5, self_=1.0, rate=0.5), w, x, 200)
    wm = settle(RegularizedAlignment(decay=0.5, amp=1.0, rate=0.5), w, x, 200)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(sa.flatten(), w.flatten(), dim=0) > 0.999
    assert cosine(wm.flatten(), w.flatten(), dim=0) < 0.95


@pytest.mark.parametrize(
    ("amp", "null", "end"), [(0.8, 0.0, 0.0), (1.2, 0.0, None), (1.2, 0.5, 0.6325), (0.8, 0.5, 0.0)]
)
def test_the_scalar_pair_has_four_regimes(amp: float, null: float, end: float | None) -> None:
    """w' = -w + a b - n w b^2, and the same for b: the mirror's knife-edge, which null removes."""
    module = nn.Linear(1, 1, bias=False).double()
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    rule = RegularizedAlignment(decay=0.5, amp=amp, null=null / 2, rate=0.01)
    w = torch.tensor([[0.3]], dtype=torch.float64)
    b = torch.tensor([[0.1]], dtype=torch.float64)
    for _ in range(6000):
        at_b = rule.follow(b, AtSite("", w, torch.zeros(()), w, (product_of(module, x),)))
        at_w = rule.follow(w, AtSite("", b, torch.zeros(()), b, (product_of(module, x),)))
        w, b = w + at_w, b + at_b  # type: ignore[operator]
        if w.abs() > 1e3:
            break
    if end is None:
        assert w.abs() > 1e3
    else:
        assert w.item() == pytest.approx(end, abs=1e-3)
        assert b.item() == pytest.approx(end, abs=1e-3)


@pytest.mark.parametrize("name", ["wm", "wm_kunin"])
def test_mirrors_of_noise_find_the_weight_whatever_the_input_is(name: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), torch.ones(200, 6)
    made = credit(name, model, example=x)
    for _ in range(600):
        model.zero_grad()
        made.backward(model, x, torch.zeros(200, 3), nn.functional.mse_loss)
    weight, back = model[2].weight, made.through("2", model)
    assert torch.nn.functional.cosine_similarity(weight.flatten(), back.flatten(), dim=0) > 0.97
    assert (back.norm() / weight.norm()).item() == pytest.approx(1.0, abs=0.1)


def test_coefficients_may_be_schedules_of_the_minibatch() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), torch.randn(4, 3)
    made = credit("sa", model, example=x, rate=lambda step: 0.5 if step == 1 else 0.0)
    moved = []
    for _ in range(3):
        before = made.feedback("1").clone()
        made.backward(model, x, torch.zeros(4, 2), nn.functional.mse_loss)
        moved.append(not torch.equal(before, made.feedback("1")))
    assert moved == [False, True, False]


def test_noise_moves_any_feedback_by_its_deviation() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 2)), torch.randn(4, 40)
    made = credit("fa", model, example=x, noise=0.1)
    before = made.feedback("0").clone()
    made.backward(model, x, torch.zeros(4, 2), nn.functional.mse_loss)
    assert (made.feedback("0") - before).std().item() == pytest.approx(0.1, rel=0.1)
