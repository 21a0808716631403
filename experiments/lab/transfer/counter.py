"""The work of operations as PyTorch runs them: multiply-adds of products, and bytes moved.

Every operation is counted on its way to the kernels, those of autograd and of optimizers too. An
operation moves each tensor that it reads once and each that it writes once; a view moves nothing.
So the bytes are those of operations one after another without a cache between them, an upper bound
for what compiled code moves. Positions in the padding of a convolution count as others do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_ATEN = torch.ops.aten
OVERWRITTEN = (_ATEN.copy_, _ATEN.fill_, _ATEN.zero_)  # their first tensor is not read
ALLOCATIONS = (_ATEN.empty, _ATEN.empty_like, _ATEN.empty_strided, _ATEN.new_empty)
SHAPED_LIKE = (  # nothing of their first tensor is read
    _ATEN.zeros_like, _ATEN.ones_like, _ATEN.full_like, _ATEN.rand_like, _ATEN.randn_like,
    _ATEN.new_zeros, _ATEN.new_ones, _ATEN.new_full,
)  # fmt: skip
LOOK_UPS = (_ATEN.index, _ATEN.index_select, _ATEN.gather)  # read as much as they write


@dataclass(frozen=True)
class Work:
    """Multiply-adds of matrix products and convolutions, and bytes read and written."""

    multiply_adds: int
    bytes: int

    def __add__(self, other: Work) -> Work:
        return Work(self.multiply_adds + other.multiply_adds, self.bytes + other.bytes)

    def __sub__(self, other: Work) -> Work:
        return Work(self.multiply_adds - other.multiply_adds, self.bytes - other.bytes)

    def times(self, count: int) -> Work:
        """The work of so many of these."""
        return Work(self.multiply_adds * count, self.bytes * count)


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context whose `work` is that of all operations within it, of this thread.

    Raises:
        NotImplementedError: for a product that PyTorch knows the work of and this counter does not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work(0, 0)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        kind = func._overloadpacket
        if kind in flop_registry and kind not in PRODUCTS:
            raise NotImplementedError(f"The multiply-adds of {func} are not counted.")
        if not any(tensor.is_meta for tensor in tensors((args, found))):  # which is shapes alone
            count = PRODUCTS[kind](args, found) if kind in PRODUCTS else 0
            self.work += Work(count, bytes_moved(func, args, kwargs, found))
        return found


def bytes_moved(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], found: Any) -> int:
    """Bytes that an operation reads and writes, from its schema, arguments and results."""
    kind = func._overloadpacket
    if kind in ALLOCATIONS:
        return 0
    names = [argument.name for argument in func._schema.arguments]
    values = {**dict(zip(names, args, strict=False)), **kwargs}
    read: list[Tensor] = []
    written: list[Tensor] = []
    for number, argument in enumerate(func._schema.arguments):
        own = tensors(values.get(argument.name))
        changed = argument.alias_info is not None and argument.alias_info.is_write
        if changed:
            written += own
        if not (changed and (argument.kwarg_only or (kind in OVERWRITTEN and not number))):
            read += own
    if kind in SHAPED_LIKE:
        read = []
    held = {_storage(tensor) for tensor in (*read, *written)}
    results = tensors(found)
    written += [tensor for tensor in results if _storage(tensor) not in held]
    if results and not written:
        return 0  # a view
    if kind in LOOK_UPS:
        return sum(_size(tensor) for tensor in (*read[1:], *written, *written))
    once = {_place(tensor): tensor for tensor in read}
    return sum(_size(tensor) for tensor in (*once.values(), *written))


def tensors(of: Any) -> list[Tensor]:
    """The tensors in an argument or a result."""
    return [leaf for leaf in tree_leaves(of) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return _storage(tensor), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _size(tensor: Tensor) -> int:
    """Bytes of the elements that lie at places of their own."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    own = prod(size for size, stride in sizes if stride or not size)
    return own * tensor.element_size()


def _convolution(x: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> int:
    """One for each place of the filter: by groups, a filter has the channels of its group."""
    return (x if transposed else out).numel() * weight[0].numel()


def _convolution_forward(args: Sequence[Any], found: Tensor) -> int:
    return _convolution(args[0], args[1], found, args[6])


def _convolution_backward(args: Sequence[Any], found: Sequence[Tensor | None]) -> int:
    """For the input and for the weight as many each as forward."""
    out, x, weight = args[:3]
    return _convolution(x, weight, out, args[7]) * sum(part is not None for part in found[:2])


def _matrices(first: int) -> Callable[[Sequence[Any], Tensor], int]:
    """Of a product of the argument of this number and the next, each element of the result."""
    return lambda args, found: found.numel() * args[first].shape[-1]


PRODUCTS: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    _ATEN.mm: _matrices(0), _ATEN.bmm: _matrices(0), _ATEN.mv: _matrices(0),
    _ATEN.addmm: _matrices(1), _ATEN.baddbmm: _matrices(1), _ATEN.addmv: _matrices(1),
    _ATEN.dot: _matrices(0), _ATEN.addr: lambda args, found: found.numel(),
    _ATEN.addmm_: _matrices(1), _ATEN.baddbmm_: _matrices(1), _ATEN.addmv_: _matrices(1),
    _ATEN.addr_: lambda args, found: found.numel(),
    _ATEN.convolution: _convolution_forward, _ATEN.convolution_backward: _convolution_backward,
}  # fmt: skip
