"""Matrices that are kept, shared or computed in their own way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from tests.zoo.entry import Entry, images, integers


def matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) * 0.4)


class Bare(nn.Module):
    """One matrix of its own, used as `how` says, between two layers."""

    def __init__(self, how: Callable[[Tensor, Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.stem, self.head, self.how = nn.Linear(6, 8), nn.Linear(8, 4), how
        self.w, self.b = matrix(*shape), matrix(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.how(self.stem(x).tanh(), self.w, self.b).tanh())


BARE: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "x @ w": (lambda x, w, b: x @ w + b, (8, 8)),
    "w @ x": (lambda x, w, b: (w @ x.mT).mT + b, (8, 8)),
    "x @ w.T": (lambda x, w, b: x @ w.T + b, (8, 8)),
    "matmul": (lambda x, w, b: torch.matmul(x, w).add(b), (8, 8)),
    "mm": (lambda x, w, b: torch.mm(x.flatten(0, 1), w).add(b).view_as(x), (8, 8)),
    "addmm": (lambda x, w, b: torch.addmm(b, x.flatten(0, 1), w).view_as(x), (8, 8)),
    "addmm of a transpose": (
        lambda x, w, b: torch.addmm(b, x.flatten(0, 1), w.t()).view_as(x), (8, 8)),
    "bmm of a view": (lambda x, w, b: torch.bmm(x, w.expand(len(x), 8, 8)) + b, (8, 8)),
    "experts by bmm": (
        lambda x, w, b: torch.bmm(x.unflatten(-1, (2, 4)).permute(2, 0, 1, 3).flatten(1, 2), w)
        .unflatten(1, (3, 5)).permute(1, 2, 0, 3).flatten(-2) + b, (2, 4, 4)),
    "einsum": (lambda x, w, b: torch.einsum("bti,io->bto", x, w) + b, (8, 8)),
    "einsum of heads": (
        lambda x, w, b: torch.einsum("hio,bti->btho", w, x).flatten(-2) + b, (2, 8, 4)),
    "einsum, each head its own": (
        lambda x, w, b: torch.einsum("bthi,hio->btho", x.unflatten(-1, (2, 4)), w).flatten(-2) + b,
        (2, 4, 4)),
    "einsum over heads": (
        lambda x, w, b: torch.einsum("bthi,hio->bto", x.unflatten(-1, (2, 4)), w) + b, (2, 4, 8)),
    "einsum with dots": (lambda x, w, b: torch.einsum("...i,oi->...o", x, w) + b, (8, 8)),
    "slices of one": (
        lambda x, w, b: F.linear(x, w[:8]) * F.linear(x, w[8:], b).sigmoid(), (16, 8)),
    "indexed by task": (lambda x, w, b: F.linear(x, w[1], b) + F.linear(x, w[0]), (2, 8, 8)),
    "there and back": (lambda x, w, b: F.linear(F.linear(x, w).tanh(), w.t()) + b, (6, 8)),
    "functional convolution": (
        lambda x, w, b: F.conv1d(x.mT, w, b, padding=1).mT, (8, 8, 3)),
    "masked": (lambda x, w, b: F.linear(x, w.tril(), b), (8, 8)),
    "standardized": (
        lambda x, w, b: F.linear(x, (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True), b),
        (8, 8)),
    "symmetric": (lambda x, w, b: F.linear(x, w + w.T, b), (8, 8)),
    "two made of one": (
        lambda x, w, b: F.linear(x, w.tanh()) * F.linear(x, w.sigmoid(), b), (8, 8)),
    "part of one that is made": (lambda x, w, b: F.linear(x, (w / w.norm())[:8], b), (10, 8)),
    "tensordot": (lambda x, w, b: torch.tensordot(x, w, 1) + b, (8, 8)),
    # No site, and named: a product written as a multiplication and a sum.
    "sum of products": (lambda x, w, b: (x[..., None, :] * w).sum(-1) + b, (8, 8)),
}  # fmt: skip
ALOOF: tuple[str, ...] = ("sum of products",)


class Recurrent(nn.Module):
    """A classifier of sequences, step by step, by a cell of torch's or a GRU by hand."""

    def __init__(self, cell: Any = None) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 5), nn.Linear(6, 4)
        if cell is None:
            self.gates, self.new = nn.Linear(11, 12), nn.Linear(11, 6)
        else:
            self.cell = cell(5, 6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        h, c = x.new_zeros(2, len(x), 6)
        for now in x.unbind(1):
            if isinstance(getattr(self, "cell", None), nn.LSTMCell):
                h, c = self.cell(now, (h, c))
            elif hasattr(self, "cell"):
                h = self.cell(now, h)
            else:
                reset, update = self.gates(torch.cat([now, h], -1)).sigmoid().chunk(2, -1)
                h = torch.lerp(self.new(torch.cat([now, reset * h], -1)).tanh(), h, update)
        return self.head(h)


def layers(how: Callable[[nn.Module], nn.Module], train: bool = True) -> nn.Module:
    net = nn.Sequential(
        how(nn.Conv2d(3, 4, 3, padding=1)), nn.Tanh(), how(nn.Conv2d(4, 4, 3)), nn.Tanh(),
        nn.Flatten(), how(nn.Linear(64, 6)), nn.Tanh(), nn.Linear(6, 4),
    )  # fmt: skip
    return net.train(train)


class Skew(nn.Module):
    """A parametrization of one's own."""

    def forward(self, w: Tensor) -> Tensor:
        return w.tanh() * 0.5


def pruned(module: nn.Module) -> nn.Module:
    return prune.l1_unstructured(module, "weight", amount=0.3)


class Adapter(nn.Module):
    """A frozen layer with a low-rank one beside it (LoRA); `merged` adds the matrices first."""

    def __init__(self, base: nn.Linear, merged: bool) -> None:
        super().__init__()
        self.base, self.merged = base.requires_grad_(False), merged
        self.a, self.b = matrix(2, base.in_features), matrix(base.out_features, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return F.linear(x, self.base.weight + 0.5 * self.b @ self.a, self.base.bias)
        return self.base(x) + 0.5 * F.linear(F.linear(x, self.a), self.b)


def adapted(merged: bool) -> nn.Module:
    one, two = Adapter(nn.Linear(6, 8), merged), Adapter(nn.Linear(8, 8), merged)
    return nn.Sequential(one, nn.Tanh(), two, nn.Tanh(), nn.Linear(8, 4))


class Tied(nn.Module):
    """One layer used at every depth, and one matrix both to embed and to read out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.norm = nn.Embedding(9, 6), nn.Linear(6, 6), nn.LayerNorm(6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for _ in range(3):
            x = x + self.mix(self.norm(x)).relu()
        return F.linear(x, self.embed.weight)


def settled() -> nn.Module:
    """Spectral norms in training, whose largest factor has been found: a look moves them no more.

    Before that, a weight is another at every look, and so would be its copy.
    """
    net = layers(partial(parametrizations.spectral_norm, n_power_iterations=30)).double()
    for layer in net:
        for _ in range(40 if hasattr(layer, "parametrizations") else 0):
            _ = layer.weight
    return net


X, Y = images(3, 5, 6), integers(4, 3, 5)
IDS, PICTURES, KINDS = integers(9, 3, 4), images(3, 3, 6, 6), integers(4, 3)
old = nn.utils
NORMS: dict[str, Callable[[], nn.Module]] = {
    "weight_norm by hooks": lambda: layers(old.weight_norm),
    "weight_norm": lambda: layers(parametrizations.weight_norm),
    "spectral_norm by hooks": lambda: layers(old.spectral_norm, train=False),
    "spectral_norm": lambda: layers(parametrizations.spectral_norm, train=False),
    "spectral_norm in training": settled,
    "own parametrization": lambda: layers(
        lambda m: parametrize.register_parametrization(m, "weight", Skew())
    ),
    "pruned": lambda: layers(pruned),
}
ENTRIES = [
    *(Entry(f"own matrix, {n}", partial(Bare, how, *shape), Y, (X,),
        aloof=frozenset({"w"} if n in ALOOF else ()))
        for n, (how, shape) in BARE.items()),
    *(Entry(f"layers, {name}", build, KINDS, (PICTURES,), quiet=(FutureWarning,))
        for name, build in NORMS.items()),
    Entry("GRU by hand", Recurrent, KINDS, (IDS,)),
    *(Entry(f"step by step, {c.__name__}", partial(Recurrent, c), KINDS, (IDS,))
        for c in (nn.GRUCell, nn.LSTMCell, nn.RNNCell)),
    Entry("adapter by hand", partial(adapted, False), Y, (X,)),
    Entry("adapter by hand, merged", partial(adapted, True), Y, (X,)),
    Entry("tied by hand", Tied, IDS.roll(-1, 1), (IDS,)),
]  # fmt: skip
