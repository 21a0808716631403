"""Credit assignment in loops of all kinds: checkpoints, autocast, copies, a loop of one's own."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from metaplastic import Delta, LearningRule, RandomFeedback, credit, gradients
from metaplastic.alignment import Sleep
from tests.helpers.credit_models import assert_gradients, made


def test_checkpointed_parts_are_rerouted_as_well() -> None:
    class Saved(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body, self.first = body, nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = checkpoint(self.body, self.first(x), use_reentrant=False)
            return out

    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    saved, x, y = Saved(body).double(), torch.randn(3, 6).double(), torch.randn(3, 2).double()
    plain = nn.Sequential(saved.first, *body)
    by_rule = credit("fa", saved, example=x)
    by_rule.backward(saved, x, y, F.mse_loss)
    found = {name: p.grad.clone() for name, p in saved.named_parameters()}  # type: ignore[union-attr]
    plain.zero_grad()
    same = credit("fa", plain, example=x)
    for there, here in (("0", "first"), ("1", "body.0"), ("3", "body.2")):
        same.feedback(there).copy_(by_rule.feedback(here))
    same.backward(plain, x, y, F.mse_loss)
    assert torch.allclose(found["first.weight"], saved.first.weight.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["fa", "dfa", "usf", "sa", "aa", "ia", "kp"])
def test_autocast_in_bfloat16_comes_near_full_precision(rule: str) -> None:
    model, x, y = made("residual, group norm", torch.float32)
    by_rule, twin = credit(rule, model, example=x), copy.deepcopy(model)
    same = copy.deepcopy(by_rule)
    by_rule.backward(model, x, y, F.mse_loss)
    with torch.autocast("cpu", torch.bfloat16):
        same.backward(twin, x, y, F.mse_loss)
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert b.grad.dtype == torch.float32  # type: ignore[union-attr]
        near = F.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0)  # type: ignore[union-attr]
        assert near > 0.98, name
    assert all(
        buffer.dtype == torch.float32 for buffer in same.buffers() if buffer.is_floating_point()
    )


def test_a_copy_of_the_model_and_of_the_credit_go_on_alike() -> None:
    model, x, y = made("residual, group norm")
    by_rule = credit("sa", model, example=x)
    by_rule.backward(model, x, y, F.mse_loss)
    twin, same = copy.deepcopy(model), copy.deepcopy(by_rule)
    for m, c in ((model, by_rule), (twin, same)):
        m.zero_grad()
        c.backward(m, x, y, F.mse_loss)
    assert_gradients(model, {n: p.grad for n, p in twin.named_parameters()}, atol=0.0)  # type: ignore[misc]


def test_a_loop_of_ones_own_is_rerouted_too() -> None:
    model, x, y = made("residual, group norm")
    by_rule, twin = credit("fa", model, example=x), copy.deepcopy(model)
    by_rule.backward(model, x, y, F.mse_loss)
    with by_rule.rerouted(twin):
        F.mse_loss(twin(x), y).backward()
    assert_gradients(twin, {n: p.grad for n, p in model.named_parameters()}, atol=0.0)  # type: ignore[misc]
    with credit("dfa", twin, example=x).rerouted(twin):
        loss = F.mse_loss(twin(x), y)
        with pytest.raises(RuntimeError, match="call it instead"):
            loss.backward()


def test_second_derivatives_of_the_cheap_form_are_refused_not_wrong() -> None:
    model, x, y = made("twice and tied")
    with credit("fa", model, example=x).rerouted(model):
        loss = F.mse_loss(model(x), y)
        found = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    size = torch.stack([g.square().sum() for g in found]).sum()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        size.backward()


def test_several_inputs_come_as_a_tuple() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.b(self.a(x).tanh() * scale)  # type: ignore[no-any-return]

    model, x = Two(), (torch.randn(5, 3), torch.rand(5, 1))
    by_rule = credit("fa", model, example=x)
    _, expected = gradients(by_rule, model, x, torch.zeros(5, 2), F.mse_loss)
    by_rule.backward(model, x, torch.zeros(5, 2), F.mse_loss)
    assert_gradients(model, expected, atol=1e-6)


class Refusing(nn.Module):
    """A loss that fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 1

    def forward(self, prediction: Tensor, y: Tensor) -> Tensor:
        if self.failures:
            self.failures -= 1
            raise ArithmeticError("once")
        return F.mse_loss(prediction, y)


@pytest.mark.parametrize("how", ["after a failure", "gradients added up"])
def test_the_sleep_before_a_step_is_slept_once(how: str) -> None:
    model, x, y = made("residual, group norm")
    rule = LearningRule(RandomFeedback(), Delta(), Sleep(at_start=5))
    by_rule = credit(rule, model, example=x)
    at_first = {site: by_rule.feedback(site).clone() for site in by_rule.sites}
    once = copy.deepcopy(by_rule)
    once.backward(model, x, y, F.mse_loss)
    if how == "after a failure":
        with pytest.raises(ArithmeticError):
            by_rule.backward(model, x, y, Refusing())
    else:
        by_rule.backward(model, x, y, F.mse_loss)
    by_rule.backward(model, x, y, F.mse_loss)
    for site, before in at_first.items():
        assert not torch.equal(once.feedback(site), before)
        assert torch.equal(by_rule.feedback(site), once.feedback(site))
