"""Any module: graphs, norms, ties, precisions, wrappers; and a sentence for what is not served."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from metaplastic import CreditRule, angles, credit, gradients, rules

SEQUENTIAL = [name for name, kind in rules().items() if kind.route != "inverse"]


class Own(CreditRule):
    """Feedback that is the weight at the start: backpropagation by another way."""

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return weight.clone()


class Residual(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.two, self.norm = nn.Conv2d(8, 8, 1, bias=False), norm(8)
        self.gain, self.head = nn.Parameter(torch.ones(1)), nn.Linear(8, 4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = x + self.gain * self.two(self.act(self.norm(self.one(x))))
        return self.head(F.max_pool2d(x, 2).mean((2, 3)))  # type: ignore[no-any-return]


class Twice(nn.Module):
    """One module called twice, two modules of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).tanh()
        return self.c(self.b(self.a(h).tanh()).tanh())  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual, batch norm": (lambda: Residual(nn.BatchNorm2d), (4, 3, 6, 6)),
    "residual, group norm": (lambda: Residual(lambda c: nn.GroupNorm(2, c)), (4, 3, 6, 6)),
    "twice and tied": (Twice, (4, 6)),
    "strides and paddings": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect"), nn.Tanh(),
            nn.Conv2d(4, 4, (3, 2), padding="same", dilation=(1, 2), groups=2), nn.Tanh(),
            nn.Conv2d(4, 6, 2, stride=(2, 1), padding=(1, 0), padding_mode="circular"), nn.Tanh(),
            nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(4),
        ),
        (4, 3, 9, 8),
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3, padding=1, stride=2), nn.ELU(),
            nn.Conv1d(4, 4, 3, groups=4), nn.ELU(), nn.Flatten(), nn.LazyLinear(4)),
        (4, 3, 11),
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4)),
        (4, 6, 5),
    ),
    "parametrized": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(),
            parametrizations.weight_norm(nn.Linear(6, 4))),
        (4, 5),
    ),
    "a site alone": (lambda: nn.Linear(5, 4), (4, 5)),
}  # fmt: skip


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make().to(dtype), torch.randn(shape, dtype=dtype)
    with torch.no_grad():
        out = copy.deepcopy(model).eval()(x) if "Lazy" in repr(model) else None
        if out is not None:
            model.eval()(x)
            model.train()
        out = copy.deepcopy(model)(x)
    return model, x, torch.randn_like(out)


def backprop(model: nn.Module, x: Any, y: Tensor) -> dict[str, Tensor]:
    model = copy.deepcopy(model)
    model.zero_grad()
    F.mse_loss(model(x), y).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_gradients(model: nn.Module, expected: dict[str, Tensor], **close: float) -> None:
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.allclose(parameter.grad, expected[name], **close), name  # type: ignore[arg-type]


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
    told = credit(rule, model, example=x)
    loss, expected = gradients(told, model, x, y, F.mse_loss)
    assert loss == told.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-12)


def test_statistics_of_a_batch_norm_move_once_a_batch_and_angles_leave_them() -> None:
    model, x, y = made("residual, batch norm")
    twin = copy.deepcopy(model)
    twin(x)
    told = credit("fa", model, example=x)
    gradients(told, model, x, y, F.mse_loss)
    angles(told, model, x, y, F.mse_loss)
    assert int(model.norm.num_batches_tracked) == 0  # type: ignore[union-attr,arg-type]
    told.backward(model, x, y, F.mse_loss)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True))


def test_tied_weights_and_modules_called_twice_share_their_feedback() -> None:
    model, x, _ = made("twice and tied")
    told = credit("fa", model, example=x)
    assert told.sites == {"a": "a", "b": "a", "c": "c"}
    assert told.feedback("b") is told.feedback("a")


def test_dropout_drops_the_same_units_in_the_exact_form() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 50), nn.Dropout(0.5), nn.Linear(50, 3)).double()
    x, y = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    told = credit("fa", model, example=x)
    torch.manual_seed(7)
    _, expected = gradients(told, model, x, y, F.mse_loss)
    torch.manual_seed(7)
    told.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-14)


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
    told = credit("fa", saved, example=x)
    told.backward(saved, x, y, F.mse_loss)
    found = {name: p.grad.clone() for name, p in saved.named_parameters()}  # type: ignore[union-attr]
    plain.zero_grad()
    same = credit("fa", plain, example=x)
    for there, here in (("0", "first"), ("1", "body.0"), ("3", "body.2")):
        same.feedback(there).copy_(told.feedback(here))
    same.backward(plain, x, y, F.mse_loss)
    assert torch.allclose(found["first.weight"], saved.first.weight.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["fa", "dfa", "usf", "sa", "aa", "ia", "kp"])
def test_autocast_in_bfloat16_comes_near_full_precision(rule: str) -> None:
    model, x, y = made("residual, group norm", torch.float32)
    told, twin = credit(rule, model, example=x), copy.deepcopy(model)
    same = copy.deepcopy(told)
    told.backward(model, x, y, F.mse_loss)
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
    told = credit("sa", model, example=x)
    told.backward(model, x, y, F.mse_loss)
    twin, same = copy.deepcopy(model), copy.deepcopy(told)
    for m, c in ((model, told), (twin, same)):
        m.zero_grad()
        c.backward(m, x, y, F.mse_loss)
    assert_gradients(model, {n: p.grad for n, p in twin.named_parameters()}, atol=0.0)  # type: ignore[misc]


def test_a_loop_of_ones_own_is_rerouted_too() -> None:
    model, x, y = made("residual, group norm")
    told, twin = credit("fa", model, example=x), copy.deepcopy(model)
    told.backward(model, x, y, F.mse_loss)
    with told.rerouted(twin):
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
    told = credit("fa", model, example=x)
    _, expected = gradients(told, model, x, torch.zeros(5, 2), F.mse_loss)
    told.backward(model, x, torch.zeros(5, 2), F.mse_loss)
    assert_gradients(model, expected, atol=1e-6)


def test_parts_that_are_left_out_get_what_the_rerouted_errors_give_them() -> None:
    model, x, y = made("residual, group norm")
    told = credit("fa", model, example=x, leave=["one", "two"])
    assert list(told.sites) == ["stem", "head"]
    _, expected = gradients(told, model, x, y, F.mse_loss)
    told.backward(model, x, y, F.mse_loss)
    assert_gradients(model, expected, atol=1e-12)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.a(x), self.b.weight)


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (lambda: nn.LSTM(4, 4), (2, 3, 4), r"'' is a LSTM: its recurrent weights"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.GRUCell(4, 4)), (2, 4), r"leave=\['1'\]"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8), (2, 3, 4), "'self_attn' is a Multihead"),
        (lambda: nn.Sequential(nn.ReLU()), (2, 4), "has no Linear, Conv1d or Conv2d"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), (2, 4), "run the model once first"),
        (Unused, (2, 4), "Sites 'b' were not called"),
        (lambda: nn.Linear(4, 2), (4,), "must be the batch"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    model: Callable[[], nn.Module], x: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        credit("fa", model(), example=torch.randn(x))


def test_names_to_leave_must_exist_and_direct_feedback_keeps_its_size() -> None:
    model, x, y = made("residual, group norm")
    with pytest.raises(ValueError, match=r"leave names \['three'\]"):
        credit("fa", model, example=x, leave=["three"])
    told = credit("dfa", model, example=x)
    with pytest.raises(ValueError, match="make a new credit"):
        told.backward(model, torch.randn(4, 3, 8, 8, dtype=torch.float64), y, F.mse_loss)
