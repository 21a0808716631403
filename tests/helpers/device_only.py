"""A mode that fails where the host takes part in the work of a device, on a machine without one.

Tensors of device `meta` have a shape and no values. So a value that is read fails, and so does a
tensor of the host that enters an operation, or is copied to the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HostError(AssertionError):
    """The host takes part."""


class DeviceOnly(TorchDispatchMode):
    """Within it no operation is of `meta` and of the host, and none reads a value of `meta`."""

    READS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::item")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = list(tensors((args, kwargs)))
        devices = {tensor.device.type for tensor in given}
        if "meta" in devices and func._schema.name in self.READS:
            raise HostError(f"{func} reads a value of the device.")
        if len(devices) > 1:
            raise HostError(f"{func} is given tensors of {sorted(devices)}.")
        found = func(*args, **kwargs)
        after = {tensor.device.type for tensor in tensors(found)}
        if given and after and after != devices:
            raise HostError(f"{func} copies from {sorted(devices)} to {sorted(after)}.")
        return found

    def __enter__(self) -> Any:
        self.made = NoNumbersOfHost()
        self.made.__enter__()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        self.made.__exit__(kind, error, traceback)


class NoNumbersOfHost(TorchFunctionMode):
    """Within it no tensor of `meta` is made of numbers of Python, which would have to be copied."""

    MADE = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in self.MADE and found.device.type == "meta":
            of = args[-1] if func is Tensor.new_tensor else args[0]
            if not isinstance(of, Tensor):
                raise HostError(f"{func} copies numbers to the device.")
        return found


def tensors(of: Any) -> Iterator[Tensor]:
    for leaf in tree_leaves(of):
        if isinstance(leaf, Tensor):
            yield leaf
