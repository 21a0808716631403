"""A function of tensors as the list of the operations that it runs, traced once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch.func import functionalize

from metaplastic.traced.simplify import simplified


class CannotTraceError(ValueError):
    """The function is no straight-line program, or draws random numbers; the text says which."""


def traced(
    function: Callable[[list[Tensor]], list[Tensor]],
    inputs: Sequence[Tensor],
    *,
    functional: bool = True,
) -> tuple[fx.Graph, list[Tensor]]:
    """The operations of `function(inputs)`, simplified, and the tensors that it found elsewhere.

    The graph has a placeholder for each input and, behind them, one for each such tensor, which is
    held by reference, so that a parameter may change its value. Whatever Python did in between is
    done once, here; so is the choice of what depends on shapes, strides or types.

    Args:
        functional: whether the function writes over tensors that it makes; then it may not ask
            autograd for gradients.

    Raises:
        CannotTraceError: where values of tensors decide what is run, or chance does.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # slow to import

    try:
        made = make_fx(functionalize(function) if functional else function)(list(inputs))
        if not functional:  # and what autograd wrote over is made functional behind it
            made = make_fx(functionalize(made))(list(inputs))
    except RuntimeError as error:
        if "tracing tensor" in str(error) or "data-dependent" in str(error):
            raise CannotTraceError("the value of a tensor decides what is run") from error
        raise
    constants = _lifted(made)
    for node in made.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags and _dropout(node) != 0:
            raise CannotTraceError("it draws random numbers, as dropout does in train mode")
        if node.target._schema.is_mutable:
            raise CannotTraceError(f"a tensor of its own is written over ({node.target})")
    return simplified(made.graph), constants


def _lifted(made: fx.GraphModule) -> list[Tensor]:
    """Turn what the graph reads off its module into placeholders; the tensors, in their order."""
    graph, found = made.graph, dict[int, fx.Node]()
    constants: list[Tensor] = []
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        held = getattr(made, str(node.target)).detach()
        key = id(getattr(made, str(node.target)))
        if key not in found:
            with graph.inserting_after(last):
                last = found[key] = graph.placeholder(f"constant_{len(constants)}")
            last.meta["val"] = node.meta.get("val", held)
            constants.append(held)
        node.replace_all_uses_with(found[key])
        graph.erase_node(node)
    return constants


def _dropout(node: fx.Node) -> float | None:
    """The share that an operation drops by chance; None where it has no such argument."""
    for i, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if argument.name == "dropout_p":
            given = node.args[i] if i < len(node.args) else argument.default_value
            return float(node.kwargs.get("dropout_p", given))  # type: ignore[arg-type]
    return None
