"""Credit assignment by each rule, against formulas written out and against backpropagation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaplastic
from metaplastic import CreditRule, angles, cite, credit, rules
from metaplastic.online.credit_angles import angle

SEQUENTIAL = [name for name, kind in rules().items() if kind.route != "inverse"]


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return nn.Sequential(*layers).double()


def batch(n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 7, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def grads(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def by_backprop(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model = copy.deepcopy(model)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    return grads(model)


class Own(CreditRule):
    """Feedback that is the weight at the start."""

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return weight.clone()


def test_with_the_forward_weights_as_feedback_it_is_backpropagation() -> None:
    model, (x, y) = chain(), batch()
    loss = credit(Own(), model, example=x).backward(model, x, y, F.cross_entropy)
    assert loss == F.cross_entropy(model(x), y)
    for name, found in by_backprop(model, x, y).items():
        assert torch.equal(grads(model)[name], found)


def test_feedback_alignment_is_its_formula() -> None:
    model, (x, y) = chain(), batch()
    made = credit("feedback_alignment", model, example=x, scale=0.7)
    made.backward(model, x, y, F.cross_entropy)
    h1 = model[:2](x)
    h2 = model[:4](x)
    error = (model(x).softmax(1) - F.one_hot(y, 3)) / len(x)
    d2 = (error @ made.feedback("4")) * (1 - h2**2)
    d1 = (d2 @ made.feedback("2")) * (1 - h1**2)
    for site, signal, pre in (("4", error, h2), ("2", d2, h1), ("0", d1, x)):
        assert torch.allclose(grads(model)[site + ".weight"], signal.T @ pre, atol=1e-14)
        assert torch.allclose(grads(model)[site + ".bias"], signal.sum(0), atol=1e-14)


def test_direct_feedback_alignment_is_its_formula() -> None:
    model, (x, y) = chain(), batch()
    made = credit("dfa", model, example=x)
    made.backward(model, x, y, F.cross_entropy)
    h1, h2 = model[:2](x), model[:4](x)
    error = (model(x).softmax(1) - F.one_hot(y, 3)) / len(x)
    for site, above, h, pre in (("2", "4", h2, h1), ("0", "2", h1, x)):
        signal = (error @ made.feedback(above)) * (1 - h**2)
        assert torch.allclose(grads(model)[site + ".weight"], signal.T @ pre, atol=1e-14)
        assert made.feedback(above).abs().max() <= h.shape[1] ** -0.5


@pytest.mark.parametrize("name", ["usf", "frsf", "brsf"])
def test_sign_rules_agree_with_every_sign_and_with_the_norm_where_declared(name: str) -> None:
    model, (x, y) = chain(), batch()
    for strict in ("none", "feedback"):
        made = credit(name, model, example=x, strict=strict)
        made.backward(model, x, y, F.cross_entropy)
        weight, back = model[2].weight, made.through("2", model)
        assert torch.equal(back.sign(), weight.sign())
        if strict == "feedback":
            assert torch.isclose(back.norm(), weight.norm())


def test_sizes_of_sign_rules_are_uniform_fixed_or_drawn_each_minibatch() -> None:
    model, (x, y) = chain(), batch()
    uniform = credit("usf", model, example=x).through("2", model).abs()
    assert torch.allclose(uniform, torch.full_like(uniform, (2 / 11) ** 0.5))
    for name, same in (("frsf", True), ("brsf", False)):
        made = credit(name, model, example=x)
        before = made.through("2", model)
        made.backward(model, x, y, F.cross_entropy)
        assert torch.equal(before, made.through("2", model)) is same


def test_forward_normalization_gives_weights_their_first_norm() -> None:
    model, (x, y) = chain(), batch()
    made, norm = credit("usf", model, example=x, strict="forward"), model[2].weight.norm().item()
    with torch.no_grad():
        model[2].weight.mul_(3.0)
    made.backward(model, x, y, F.cross_entropy)
    assert model[2].weight.norm().item() == pytest.approx(norm)


def test_batch_manhattan_is_the_sign_of_this_minibatch_and_adds_to_what_was_there() -> None:
    model, (x, y) = chain(), batch()
    made = credit("frsf", model, example=x, manhattan=True)
    for times in (1, 2):
        made.backward(model, x, y, F.cross_entropy)
        assert set(model[2].weight.grad.unique().tolist()) <= {-times, 0.0, times}
    assert set(model[2].bias.grad.abs().unique().tolist()) != {2.0}  # only synapses, not biases


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_kolen_pollack_shrinks_the_difference_by_its_decay_a_step(optimizer: Any) -> None:
    model, (x, y) = chain(), batch()
    made = credit("kp", model, example=x, decay=0.05)
    opt = optimizer(model.parameters(), lr=0.01, weight_decay=5.0)
    before = model[2].weight - made.feedback("2")
    for _ in range(6):
        opt.zero_grad()
        made.backward(model, x, y, F.cross_entropy)
        gap = made.feedback("2").clone()
        weight = model[2].weight.detach().clone()
        opt.step()
    assert torch.allclose(weight - gap, before * 0.95**5, rtol=1e-6)


def test_kolen_pollack_waits_while_gradients_are_added_up() -> None:
    model, (x, y) = chain(), batch()
    made = credit("kp", model, example=x, decay=0.5)
    before = made.feedback("2").clone()
    for _ in range(3):
        made.backward(model, x, y, F.cross_entropy)
    assert torch.equal(made.feedback("2"), before)


def test_product_feedback_follows_the_gradient_at_its_own_units() -> None:
    model, (x, y) = chain(), batch()
    made = credit("pfa", model, example=x, decay=0.1, expansion=4)
    opt = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=0.5)
    fixed, learned = made.feedback("2")[:, :5].clone(), made.feedback("2")[:, 5:].clone()
    made.backward(model, x, y, F.cross_entropy)
    gradient = model[2].weight.grad.clone()
    opt.step()
    made.backward(model, x, y, F.cross_entropy)
    expected = 0.9 * learned - 0.2 * fixed @ gradient
    assert torch.equal(made.feedback("2")[:, :5], fixed)
    assert torch.allclose(made.feedback("2")[:, 5:], expected, atol=1e-12)
    assert torch.allclose(made.through("2", model), fixed.T @ expected, atol=1e-12)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_no_rule_touches_the_model_its_keys_or_its_outputs(name: str) -> None:
    model, (x, y) = chain(), batch()
    before, keys, out = type(model), list(model.state_dict()), model(x)
    made = credit(name, model, example=x)
    made.backward(model, x, y, F.cross_entropy)
    made.detach()
    assert type(model) is before
    assert list(model.state_dict()) == keys
    assert torch.equal(model(x), out)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not list(made.parameters())


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_feedback_is_in_the_state_and_two_credits_of_one_seed_are_one(name: str) -> None:
    model, (x, y) = chain(), batch()
    first, same, other = (credit(name, model, example=x, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), same.buffers(), strict=True))
    other.load_state_dict(first.state_dict())
    twin = copy.deepcopy(model)
    torch.manual_seed(0)
    first.backward(model, x, y, F.cross_entropy)
    torch.manual_seed(0)
    other.backward(twin, x, y, F.cross_entropy)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), other.buffers(), strict=True))
    assert all(torch.equal(grads(model)[n], g) for n, g in grads(twin).items())


def test_angles_tell_the_rule_from_backpropagation_and_change_nothing() -> None:
    model, (x, y) = chain(), batch()
    made = credit("fa", model, example=x)
    made.backward(model, x, y, F.cross_entropy)
    before = grads(model)
    seen = angles(made, model, x, y, F.cross_entropy)
    assert all(torch.equal(before[n], g) for n, g in grads(model).items())
    exact = by_backprop(model, x, y)
    assert (seen["4"].delta, seen["0"].weight, seen["0"].local) == (0, None, None)
    # A bias's gradient is the sum of signals, so one example shows the angle of the signals.
    model.zero_grad()
    made.backward(model, x[:1], y[:1], F.cross_entropy)
    one = angles(made, model, x[:1], y[:1], F.cross_entropy)
    exact = by_backprop(model, x[:1], y[:1])
    assert one["0"].delta == pytest.approx(angle(grads(model)["0.bias"], exact["0.bias"]))
    assert seen["2"].weight == pytest.approx(angle(model[2].weight, made.feedback("2")))
    backprop = angles(credit("bp", model, example=x), model, x, y, F.cross_entropy)
    assert all(site.delta == 0 and site.local in (0, None) for site in backprop.values())


def test_local_angles_compare_what_the_same_signal_sends() -> None:
    model, (x, y) = chain(), batch()
    made = credit("fa", model, example=x)
    made.backward(model, x, y, F.cross_entropy)
    error = model(x).softmax(1) - F.one_hot(y, 3)
    seen = angles(made, model, x, y, F.cross_entropy)["4"].local
    assert seen == pytest.approx(angle(error @ made.feedback("4"), error @ model[4].weight))


def test_every_rule_can_be_cited_and_tells_what_it_is() -> None:
    for name, kind in rules().items():
        assert cite(name).startswith("@")
        assert all((kind.formula, kind.local, kind.use, kind.cost, vars(kind)["__doc__"]))


def test_unknown_names_and_options_get_a_sentence() -> None:
    model, (x, _) = chain(), batch()
    with pytest.raises(ValueError, match="Did you mean symmetric_alignment"):
        credit("symetric_alignment", model, example=x)
    with pytest.raises(ValueError, match=r"Options of 'fa': scale, noise"):
        credit("fa", model, example=x, rate=1.0)
    with pytest.raises(ValueError, match=r"scale is -1\.0; it must be a finite number above 0"):
        credit("fa", model, example=x, scale=-1.0)
    made = credit("fa", model, example=x)
    with pytest.raises(ValueError, match="one number"):
        made.backward(model, x, x, lambda out, y: out)
    with pytest.raises(ValueError, match="has no feedback weights"):
        credit("bp", model, example=x).feedback("0")
    assert metaplastic.credit is credit
