"""Which functions of torch are products with a weight, and which only look at one from elsewhere.

Each handler is given the mode, the function and its arguments, and calls the function itself. What
is not in the table is computed as ever.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import _engine_run_backward

from metaplastic.sites import recurrent
from metaplastic.sites.attention import multi_head_attention
from metaplastic.sites.convolution import convolution
from metaplastic.sites.operations import Einsum, Linear, Operation, Right, einsum, tensordot
from metaplastic.sites.products import Handler, Products, Source
from metaplastic.sites.views import VIEWS, View

T = torch.Tensor
LINEAR, RIGHT = Linear(), Right()


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else kwargs.get(name)


def _with(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str
) -> Callable[[Tensor], Tensor]:
    """The call for another value of one argument."""

    def call(x: Tensor) -> Tensor:
        if len(args) > place:
            return func(*args[:place], x, *args[place + 1 :], **kwargs)  # type: ignore[no-any-return]
        return func(*args, **{**kwargs, name: x})  # type: ignore[no-any-return]

    return call


def _is_site(mode: Products, tensor: Any) -> bool:
    source = mode.source(tensor)
    return source is not None and source.site is not None


def linear(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A linear layer: weight `post pre`, whoever calls it."""
    weight = _argument(args, kwargs, 1, "weight")
    if not _is_site(mode, weight) or weight.dim() != 2:
        return func(*args, **kwargs)
    x, bias = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 2, "bias")
    return mode.product(LINEAR, x, weight, _with(func, args, kwargs, 0, "input"), bias)


def _convolution(dimensions: int, transposed: bool) -> Handler:
    names: tuple[str, ...] = ("input", "weight", "bias", "stride", "padding")
    names += ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")

    def handler(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        weight = _argument(args, kwargs, 1, "weight")
        if not _is_site(mode, weight):
            return func(*args, **kwargs)
        given = dict(zip(names, args, strict=False)) | kwargs
        x = given["input"]
        if x.dim() == dimensions + 1:
            raise ValueError(
                f"Site {mode.source(weight).site!r} was given one example of shape "  # type: ignore[union-attr]
                f"{tuple(x.shape)} without a batch axis; the first axis must be the batch: use "
                "x[None]."
            )
        operation = convolution(dimensions, transposed, weight, given)
        call = _with(func, args, kwargs, 0, "input")
        return mode.product(operation, x, weight, call, given.get("bias"))

    return handler


def matmul(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A matrix product (`@`, `matmul`, `mm`, `bmm`) with a weight on either side."""
    first, second = args[0], _argument(args, kwargs, 1, "other")
    if second is None:
        second = kwargs.get("mat2")
    # A product of two weights makes a weight: that is `derived`, not a site's.
    operation: Operation | None = None
    if _is_site(mode, second) and mode.source(first) is None:
        operation = _right(first, second)
        if operation is not None:
            call = _with(func, args, kwargs, 0, "input")
            return mode.product(operation, first, second, call)
    if _is_site(mode, first) and mode.source(second) is None:
        operation = _left(first, second)
        if operation is not None:
            return mode.product(operation, second, first, lambda x: func(first, x))
    return func(*args, **kwargs)


def _right(x: Tensor, w: Tensor) -> Operation | None:
    if w.dim() == 2:
        return RIGHT
    groups = w.dim() - 2
    extra = x.dim() - w.dim()
    if groups < 1 or extra < 0 or x.shape[extra : extra + groups] != w.shape[:groups]:
        return None
    letters = string.ascii_lowercase
    shared, more = letters[:groups], letters[groups : groups + extra]
    return Einsum(f"{more}{shared}ux", f"{shared}xz", f"{more}{shared}uz")


def _left(w: Tensor, x: Tensor) -> Operation | None:
    if w.dim() != 2:
        return None
    if x.dim() == 1:
        return Einsum("x", "zx", "z")
    more = string.ascii_lowercase[: x.dim() - 2]
    return Einsum(f"{more}xu", "zx", f"{more}zu")


def addmm(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A bias plus a product with a weight on the right, as in layers of GPT-2."""
    bias, x = args[0], _argument(args, kwargs, 1, "mat1")
    weight = _argument(args, kwargs, 2, "mat2")
    scaled = kwargs.get("alpha", 1) != 1 or kwargs.get("beta", 1) != 1
    if scaled or not _is_site(mode, weight) or mode.source(x) is not None:
        return func(*args, **kwargs)
    operation = _right(x, weight)
    if operation is None:
        return func(*args, **kwargs)
    return mode.product(operation, x, weight, _with(func, args, kwargs, 1, "mat1"), bias)


def einsums(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An `einsum` of two operands, one of them a weight."""
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    if isinstance(equation, str) and len(operands) == 2:
        for first in (True, False):
            weight, x = operands if first else operands[::-1]
            if _is_site(mode, weight) and mode.source(x) is None:
                operation = einsum(equation, first, x.dim())
                if operation is not None:

                    def call(x: Tensor, weight: Tensor = weight, first: bool = first) -> Tensor:
                        pair = (weight, x) if first else (x, weight)
                        return func(equation, *pair)  # type: ignore[no-any-return]

                    return mode.product(operation, x, weight, call)
    return func(*args, **kwargs)


def tensordots(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A `tensordot` with a weight on either side."""
    a, b = args[0], _argument(args, kwargs, 1, "b")
    dims = _argument(args, kwargs, 2, "dims")
    dims = 2 if dims is None else dims
    for first in (True, False):
        weight, x = (a, b) if first else (b, a)
        if _is_site(mode, weight) and mode.source(x) is None and not isinstance(dims, Tensor):
            operation = tensordot(x.dim(), weight.dim(), dims, first)
            if operation is not None:

                def call(x: Tensor, weight: Tensor = weight, first: bool = first) -> Tensor:
                    return func(*((weight, x) if first else (x, weight)), dims)  # type: ignore[no-any-return]

                return mode.product(operation, x, weight, call)
    return func(*args, **kwargs)


def view(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A view of a weight, which is remembered as a view of it."""
    source = mode.source(args[0]) if args else None
    out = func(*args, **kwargs)
    if source is None:
        return out
    if isinstance(out, Tensor):
        mode.keep(out, _viewed(source, View(VIEWS[func], args[1:], kwargs)))
        return out
    for i, part in enumerate(out):
        mode.keep(part, _viewed(source, View(VIEWS[func], args[1:], kwargs, i)))
    return out


def _viewed(source: Source, step: View) -> Source:
    return source._replace(views=(*source.views, step))


def backward(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A backward pass within the mode: what is checkpointed is computed again within it, too."""
    names = ("gradient", "retain_graph", "create_graph", "inputs")
    given = dict(zip(names, args[1:], strict=False)) | kwargs
    lacks = given.get("gradient") is None and args[0].numel() != 1
    if lacks or given.get("inputs") is not None:  # which it refuses, or which is another call
        return func(*args, **kwargs)  # type: ignore[no-any-return]
    again = bool(given.get("create_graph", False))
    keep = given.get("retain_graph")
    seed = given.get("gradient")
    seed = torch.ones_like(args[0]) if seed is None else seed
    with mode:
        # The engine itself: the functions that call it leave every mode before they do.
        _engine_run_backward(
            (args[0],), (seed,), again if keep is None else keep, again, (),
            allow_unreachable=True, accumulate_grad=True,
        )  # fmt: skip


def attention(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Packed attention, by the products that it is made of."""
    before, query = mode.batch_axis, _argument(args, kwargs, 0, "query")
    mode.batch_axis = int(query.dim() == 3)
    try:
        with mode:  # its products, in the open
            core = F.scaled_dot_product_attention  # written out by the passes that need it
            return multi_head_attention(*args, **{**kwargs, "core": core})
    finally:
        mode.batch_axis = before


def _written_out(twin: Callable[..., Any]) -> Handler:
    def handler(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with mode:
            return twin(*args, **kwargs)

    return handler


PRODUCTS: dict[Any, Handler] = {
    F.linear: linear,
    F.conv1d: _convolution(1, False), F.conv2d: _convolution(2, False),
    F.conv3d: _convolution(3, False), F.conv_transpose1d: _convolution(1, True),
    F.conv_transpose2d: _convolution(2, True), F.conv_transpose3d: _convolution(3, True),
    torch.matmul: matmul, T.matmul: matmul, T.__matmul__: matmul, torch.mm: matmul, T.mm: matmul,
    torch.bmm: matmul, T.bmm: matmul, torch.addmm: addmm, T.addmm: addmm, torch.baddbmm: addmm,
    T.baddbmm: addmm, torch.einsum: einsums, torch.tensordot: tensordots,
}  # fmt: skip
OPAQUE: dict[Any, Handler] = {
    F.multi_head_attention_forward: attention,
    torch.gru_cell: _written_out(recurrent.gru_cell),
    torch.lstm_cell: _written_out(recurrent.lstm_cell),
    torch.rnn_tanh_cell: _written_out(recurrent.rnn_tanh_cell),
    torch.rnn_relu_cell: _written_out(recurrent.rnn_relu_cell),
}
HANDLERS: dict[Any, Handler] = {
    **PRODUCTS, **OPAQUE, **dict.fromkeys(VIEWS, view), T.backward: backward
}  # fmt: skip
