"""Large matrix products by oneDNN, where that is faster than what PyTorch calls by itself.

PyTorch's products of float32 matrices are MKL's, which keeps to AVX2 on processors that are not
Intel's. oneDNN, which PyTorch has as well, uses AVX-512, with vectors twice as wide, on any. A call
of it costs more, so small products stay.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
LARGE = 2_000_000  # multiply-adds, from which what is won is more than what a call costs
_OPERATIONS = torch.library.Library("metaplastic", "DEF")  # type: ignore[no-untyped-call]
_OPERATIONS.define("product(Tensor left, Tensor right, Tensor? bias=None) -> Tensor")  # type: ignore[no-untyped-call]


@torch.library.impl(_OPERATIONS, "product", "CPU")
def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """`left @ right + bias` of `a b` and `b c`, or of `1 a b` and `1 b c`; the bias is `c`."""
    if left.dim() == 3:
        return product(left[0], right[0], bias)[None]
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")
    return found


@torch.library.impl(_OPERATIONS, "product", "Meta")
def _shape(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    return left.new_empty((*left.shape[:-1], right.shape[-1]))


def best(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` of two matrices, by the faster of the two."""
    return product(left, right) if faster(left, right) else left @ right


def add(target: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """Add `scale left @ right` to a matrix, in place, by the faster of the two."""
    if faster(left, right):
        target.add_(product(left, right), alpha=scale)
    else:
        target.addmm_(left, right, alpha=scale)


def faster(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN multiplies matrices of these shapes, types and devices in less time."""
    one = left.dim() == 2 or left.shape[0] == right.shape[0] == 1
    return (
        one
        and left.dtype is right.dtype is torch.float32
        and left.device.type == right.device.type == "cpu"
        and left.shape[-2] * left.shape[-1] * right.shape[-1] >= LARGE
        and held_back()
    )


@cache
def held_back() -> bool:
    """Whether MKL leaves half of this processor idle: one with AVX-512, and not Intel's."""
    backends = torch.backends
    if not backends.mkl.is_available() or not backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _processor()


def _processor() -> str:
    """What the system says of it; "" where it says nothing there."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def use(graph: fx.Graph) -> None:
    """Turn the large products of a graph into oneDNN's, in place, where they are faster."""
    for node in list(graph.nodes):
        if node.target in (aten.mm.default, aten.bmm.default):
            left, right = node.args
        elif node.target is aten.addmm.default and not node.kwargs:
            left, right = node.args[1:]
        else:
            continue
        values = [_value(one) for one in (left, right)]
        if not all(isinstance(value, Tensor) for value in values) or not faster(*values):
            continue
        found: tuple[Any, ...] = (left, right)
        if node.target is aten.addmm.default:
            added = _value(node.args[0])
            if not isinstance(added, Tensor) or added.dtype is not torch.float32:
                continue
            if added.dim() != 1:
                _apart(graph, node, left, right)
                continue
            found = (left, right, node.args[0])
        node.target, node.args = torch.ops.metaplastic.product.default, found


def _apart(graph: fx.Graph, node: fx.Node, left: fx.Node, right: fx.Node) -> None:
    """Turn a product that is added to a matrix into two operations."""
    with graph.inserting_before(node):
        made = graph.call_function(torch.ops.metaplastic.product.default, (left, right))
    made.meta = dict(node.meta)
    node.target, node.args = aten.add.Tensor, (node.args[0], made)


def _value(node: Any) -> Any:
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def options() -> dict[str, Any]:
    """An option of PyTorch's compiler by which it uses them; PyTorch 2.6 takes no notice of it."""
    if not held_back():
        return {}
    from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

    class Products(CustomGraphPass):
        def __call__(self, graph: fx.Graph) -> None:
            use(graph)

        def uuid(self) -> Any:
            return get_hash_for_files((__file__,))

    return {"post_grad_custom_post_pass": Products()}
