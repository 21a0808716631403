"""A weight of each task as one that all share, and the outer products that were added to it."""

from __future__ import annotations

import torch
from torch import Tensor


class LowRank:
    """`shared + sum over rows of left^T right`, of which the sum alone differs from task to task.

    A lifetime of few examples changes a weight by few outer products. Kept as such, the weights of
    all tasks are run as one product of many rows and the changes as small ones, and no weight is
    made for a task.

    Args:
        shared: `post pre`.
        left, right: `tasks rows post` and `tasks rows pre`; None before the first change.
    """

    def __init__(
        self, shared: Tensor, left: Tensor | None = None, right: Tensor | None = None
    ) -> None:
        self.shared, self.left, self.right = shared, left, right

    def run(self, x: Tensor) -> Tensor:
        """`tasks rows pre` -> `tasks rows post`, as `x W^T`."""
        return _product(x, self.shared.mT, self.right, self.left)

    def pull(self, signal: Tensor) -> Tensor:
        """`tasks rows post` -> `tasks rows pre`, as `signal W`."""
        return _product(signal, self.shared, self.left, self.right)

    def plus(self, signal: Tensor, pre: Tensor, rate: Tensor) -> LowRank:
        """With `rate * sum over rows of signal^T pre` added.

        Args:
            rate: `1 pre`, `post 1` or `1 1`.
        """
        if rate.shape[-2] == 1 and rate.shape[-1] > 1:
            pre = pre * rate
        else:
            signal = signal * rate.mT
        if self.left is None or self.right is None:
            return LowRank(self.shared, signal, pre)
        left, right = torch.cat([self.left, signal], 1), torch.cat([self.right, pre], 1)
        return LowRank(self.shared, left, right)


def _product(x: Tensor, shared: Tensor, inner: Tensor | None, outer: Tensor | None) -> Tensor:
    """`x shared + (x inner^T) outer`."""
    found = torch.mm(x.flatten(0, 1), shared).unflatten(0, x.shape[:2])  # type: ignore[no-untyped-call]
    if inner is None or outer is None:
        return found  # type: ignore[no-any-return]
    return torch.baddbmm(found, torch.bmm(x, inner.mT), outer)
