"""Operations: a product of an input with a weight, as three linear maps and as a matrix over rows.

Whatever the layer, `run` computes the product, `carry` its transpose in the input (a signal on the
output, brought to the input through a weight), and `outer` its transpose in the weight (the outer
product of signal and input, summed over examples and positions). A plasticity rule sees the same
product as a matrix `groups post pre` that meets rows: `pre_rows`, `post_rows`, `matrix`.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Operation(ABC):
    """One kind of product. All methods are differentiable twice and may run under `vmap`."""

    @abstractmethod
    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight x`, without a bias."""

    @abstractmethod
    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """`weight^T signal`, shaped as the input `like`."""

    @abstractmethod
    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        """`signal x^T`, summed over examples and positions, shaped as the weight `like`."""

    @abstractmethod
    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as `groups post pre`."""

    @abstractmethod
    def unmatrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        """The inverse of `matrix`, shaped as the weight `like`."""

    @abstractmethod
    def pre_rows(self, x: Tensor, weight: Tensor) -> Tensor:
        """The input as `groups rows pre`."""

    @abstractmethod
    def post_rows(self, z: Tensor, weight: Tensor) -> Tensor:
        """The output, or a signal on it, as `groups rows post`."""

    @property
    def per_unit(self) -> bool:
        """Whether a row of the output side holds one number for each unit, as its activity does."""
        return True

    def units_last(self, z: Tensor) -> Tensor:
        """The output, or a signal on it, with its units as the last axis; a bias has their size."""
        return z

    def units_back(self, z: Tensor) -> Tensor:
        """The inverse of `units_last`."""
        return z


@dataclass(frozen=True)
class Linear(Operation):
    """`x W^T` with W `post pre`, as `F.linear`."""

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        return signal @ weight

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        if signal.dim() == 2:
            return signal.mT @ x
        return signal.reshape(-1, signal.shape[-1]).mT @ x.reshape(-1, x.shape[-1])

    def matrix(self, weight: Tensor) -> Tensor:
        return weight[None]

    def unmatrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        return matrix[0]

    def pre_rows(self, x: Tensor, weight: Tensor) -> Tensor:
        return x.reshape(1, -1, x.shape[-1])

    def post_rows(self, z: Tensor, weight: Tensor) -> Tensor:
        return z.reshape(1, -1, z.shape[-1])


@dataclass(frozen=True)
class Right(Linear):
    """`x W` with W `pre post`, as `x @ w` and `addmm`."""

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        return signal @ weight.mT

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1]).mT @ signal.reshape(-1, signal.shape[-1])

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.mT[None]

    def unmatrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        return matrix[0].mT


@dataclass(frozen=True)
class Einsum(Operation):
    """`einsum("x,w->z")` of two operands, each label once in each.

    Labels of w and z alone are units behind the synapse, of x and w alone before it, of all three
    groups, of x and z alone rows.
    """

    x: str
    w: str
    z: str

    @property
    def _groups(self) -> str:
        return "".join(label for label in self.w if label in self.x and label in self.z)

    @property
    def _post(self) -> str:
        return "".join(label for label in self.w if label not in self.x)

    @property
    def _pre(self) -> str:
        return "".join(label for label in self.w if label not in self.z)

    @property
    def _rows(self) -> str:
        return "".join(label for label in self.z if label not in self.w)

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.einsum(f"{self.x},{self.w}->{self.z}", x, weight)

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        return torch.einsum(f"{self.z},{self.w}->{self.x}", signal, weight)

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        return torch.einsum(f"{self.z},{self.x}->{self.w}", signal, x)

    def matrix(self, weight: Tensor) -> Tensor:
        return self._gathered(weight, self.w, self._post, self._pre)

    def unmatrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        order = self._groups + self._post + self._pre
        sizes = dict(zip(self.w, like.shape, strict=True))
        return torch.einsum(f"{order}->{self.w}", matrix.reshape([sizes[n] for n in order]))

    def pre_rows(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._gathered(x, self.x, self._rows, self._pre)

    def post_rows(self, z: Tensor, weight: Tensor) -> Tensor:
        return self._gathered(z, self.z, self._rows, self._post)

    def units_last(self, z: Tensor) -> Tensor:
        ordered = torch.einsum(f"{self.z}->{self._rows}{self._groups}{self._post}", z)
        return ordered.reshape(*ordered.shape[: len(self._rows)], -1)

    def units_back(self, z: Tensor) -> Tensor:
        if self._groups or len(self._post) > 1:
            raise ValueError(
                f"The units of einsum {self.x},{self.w}->{self.z} lie along several axes, for "
                "which this rule is not written; use a Linear."
            )
        return torch.einsum(f"{self._rows}{self._post}->{self.z}", z)

    def _gathered(self, tensor: Tensor, labels: str, first: str, second: str) -> Tensor:
        sizes = dict(zip(labels, tensor.shape, strict=True))
        ordered = torch.einsum(f"{labels}->{self._groups}{first}{second}", tensor)
        shape = [torch.Size([sizes[n] for n in part]).numel() for part in (self._groups, first)]
        return ordered.reshape(*shape, -1)


def einsum(equation: str, weight_first: bool, x_axes: int) -> Einsum | None:
    """The operation of an equation of two operands; None for one that is no such product.

    Args:
        x_axes: how many the input has, for an equation with dots.
    """
    left, arrow, z = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if len(operands) != 2 or not arrow:
        return None
    w, x = operands if weight_first else operands[::-1]
    if "..." in x and "..." not in w:
        free = [letter for letter in string.ascii_letters if letter not in equation]
        dots = "".join(free[: x_axes - len(x.replace("...", ""))])
        x, z = x.replace("...", dots), z.replace("...", dots)
    if "." in x + w + z:
        return None
    once = all(len(set(labels)) == len(labels) for labels in (x, w, z))
    known = all(label in x + w for label in z) and all(label in w + z for label in x)
    found = Einsum(x, w, z)
    lone = any(label not in x and label not in z for label in w)
    return found if once and known and not lone and found._pre and found._post else None


def tensordot(x_axes: int, w_axes: int, dims: Any, weight_first: bool) -> Einsum | None:
    """The operation of `torch.tensordot(x, w, dims)`, or of `(w, x, dims)`."""
    first, second = (w_axes, x_axes) if weight_first else (x_axes, w_axes)
    if isinstance(dims, int):
        dims = (list(range(first - dims, first)), list(range(dims)))
    letters = string.ascii_letters
    a, b = list(letters[:first]), list(letters[first : first + second])
    for i, j in zip(*dims, strict=True):
        b[j] = a[i]
    summed = {a[i] for i in dims[0]}
    z = "".join(label for label in [*a, *b] if label not in summed)
    w, x = (a, b) if weight_first else (b, a)
    found = Einsum("".join(x), "".join(w), z)
    return found if found._pre and found._post else None
