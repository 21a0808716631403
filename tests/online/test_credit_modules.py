"""Any module: graphs, norms, ties, paddings; the cheap form, the exact form and autograd."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaplastic import angles, credit, gradients, rules
from tests.helpers.credit_models import MODELS, Own, assert_gradients, backprop, made

SEQUENTIAL = [name for name, kind in rules().items() if kind.route != "inverse"]


@pytest.mark.parametrize("name", MODELS)
def test_with_its_own_weights_every_module_gets_its_gradient(name: str) -> None:
    model, x, y = made(name)
    expected = backprop(model, x, y)
    credit(Own(), model, example=x).backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-12)


@pytest.mark.parametrize("rule", SEQUENTIAL)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "parametrized"])
def test_the_cheap_form_and_the_exact_one_agree(name: str, rule: str) -> None:
    model, x, y = made(name)
    by_rule = credit(rule, model, example=x)
    loss, expected = gradients(by_rule, model, x, y, F.mse_loss)
    assert loss == by_rule.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-12)


def test_statistics_of_a_batch_norm_move_once_a_batch_and_angles_leave_them() -> None:
    model, x, y = made("residual, batch norm")
    twin = copy.deepcopy(model)
    twin(x)
    by_rule = credit("fa", model, example=x)
    gradients(by_rule, model, x, y, F.mse_loss)
    angles(by_rule, model, x, y, F.mse_loss)
    assert int(model.norm.num_batches_tracked) == 0  # type: ignore[union-attr,arg-type]
    by_rule.backward(model, x, y, F.mse_loss)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True))


def test_tied_weights_and_modules_called_twice_share_their_feedback() -> None:
    model, x, _ = made("twice and tied")
    by_rule = credit("fa", model, example=x)
    assert by_rule.sites == {"a": "a", "b": "a", "c": "c"}
    assert by_rule.feedback("b") is by_rule.feedback("a")


def test_dropout_drops_the_same_units_in_the_exact_form() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 50), nn.Dropout(0.5), nn.Linear(50, 3)).double()
    x, y = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    by_rule = credit("fa", model, example=x)
    torch.manual_seed(7)
    _, expected = gradients(by_rule, model, x, y, F.mse_loss)
    torch.manual_seed(7)
    by_rule.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-14)


def test_parts_that_are_left_out_get_what_the_rerouted_errors_give_them() -> None:
    model, x, y = made("residual, group norm")
    by_rule = credit("fa", model, example=x, leave=["one", "two"])
    assert list(by_rule.sites) == ["stem", "head"]
    _, expected = gradients(by_rule, model, x, y, F.mse_loss)
    by_rule.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-12)
