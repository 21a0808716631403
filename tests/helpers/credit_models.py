"""Modules of all kinds for the tests of credit assignment, and their gradients by autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from metaplastic import CreditRule


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
