"""The terms of a polynomial rule: products of a postsynaptic and a presynaptic factor.

The first ten are F0 to F9 of Shervani-Tabar & Rosenbaum (2023); see `polynomial`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class LocalQuantities(NamedTuple):
    """The local quantities of one step: `tasks post pre`, then `tasks rows pre` or `... post`."""

    weight: Tensor
    pre: Tensor
    post: Tensor
    signal: Tensor
    back: Tensor

    @property
    def agreement(self) -> Tensor:
        """`y' W b` of each row: `tasks rows 1`."""
        return (self.post * torch.bmm(self.back, self.weight.mT)).sum(-1, keepdim=True)

    @property
    def guess(self) -> Tensor:
        """`x' W' s` of each row: `tasks rows 1`."""
        return (self.pre * torch.bmm(self.signal, self.weight)).sum(-1, keepdim=True)


POST: dict[str, Callable[[LocalQuantities], Tensor]] = {
    "one": lambda z: torch.ones_like(z.post),
    "signal": lambda z: z.signal,
    "post": lambda z: z.post,
    "signal^2": lambda z: z.signal.square(),
    "post^2": lambda z: z.post.square(),
    "signal post": lambda z: z.signal * z.post,
    "signal total": lambda z: z.signal * z.post.sum(-1, True),
    "signal agreement": lambda z: z.signal * z.agreement,
    "post agreement": lambda z: z.post * z.agreement,
    "post guess": lambda z: z.post * z.guess,
}
"""Postsynaptic factors, `tasks rows post`."""
DEGREE: dict[str, int] = {
    "one": 0, "signal": 0, "post": 1, "signal^2": 0, "post^2": 2, "signal post": 1,
    "signal total": 1,
}  # fmt: skip
"""How often `post` stands in each factor that needs no weight."""


class Term(NamedTuple):
    """A term as a sum of products `(sign, postsynaptic factor, presynaptic factor)`.

    The former are named in `POST`; the latter are `pre`, `back`, `reading` (W'y), and `weight` (the
    synapse itself). Products that share a factor are one product, whatever their number.
    """

    text: str
    products: tuple[tuple[int, str, str], ...]


TERMS: dict[str, Term] = {
    "signal_pre": Term("s x'", ((1, "signal", "pre"),)),
    "post_back": Term("y b'", ((1, "post", "back"),)),
    "signal_back": Term("-s b'", ((-1, "signal", "back"),)),
    "decay": Term("-W", ((-1, "one", "weight"),)),
    "back": Term("1 b'", ((1, "one", "back"),)),
    "signal_total_pre": Term("s (1'y) x'", ((1, "signal total", "pre"),)),
    "post_agreement_back": Term("-y (y'W b) b'", ((-1, "post agreement", "back"),)),
    "signal_agreement_pre": Term("-s (y'W b) x'", ((-1, "signal agreement", "pre"),)),
    "post_guess_back": Term("-y (x'W's) b'", ((-1, "post guess", "back"),)),
    "oja": Term("(y x' - y y'W)", ((1, "post", "pre"), (-1, "post", "reading"))),
    "hebb": Term("y x'", ((1, "post", "pre"),)),
    "unit_oja": Term("(y x' - y^2 W)", ((1, "post", "pre"), (-1, "post^2", "weight"))),
    "signal_oja": Term("(s x' - s^2 W)", ((1, "signal", "pre"), (-1, "signal^2", "weight"))),
    "three_factor": Term("(s y) x'", ((1, "signal post", "pre"),)),
}
POOL = tuple(TERMS)[:10]
"""F0 to F9, in their order."""
