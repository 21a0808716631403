"""A bound on the memory of tensors made from a file, which may describe a network of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

LEAST = 256  # bytes of a tensor, which is an object as well


class TooLargeError(ValueError):
    """What a file describes takes far more memory than the file."""


class BoundedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which new tensors may take `limit` bytes in all.

    A size is checked before the tensor is made. Temporaries count as well, so that `limit` should
    be several times what is expected.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit, self.made = limit, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        size = args[0] if args else None
        if isinstance(size, (list, tuple)) and all(isinstance(n, int) for n in size):
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self.made += max(LEAST, prod(size) * dtype.itemsize)
        elif func in COUNTED_BY_LENGTH and args:
            self.made += max(int(abs(n)) for n in args[:2]) * 8
        if self.made > self.limit:
            raise TooLargeError(
                f"it describes tensors of {self.made:,} bytes or more, where its file suffices for "
                f"{self.limit:,}."
            )
        return func(*args, **kwargs)


_ATEN = torch.ops.aten
COUNTED_BY_LENGTH = (
    _ATEN.arange.default, _ATEN.arange.start, _ATEN.arange.start_step, _ATEN.eye.default,
    _ATEN.randperm.default,
)  # fmt: skip
