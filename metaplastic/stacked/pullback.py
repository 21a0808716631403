"""Vector-Jacobian products of layers without plastic weights, to carry signals back.

Those of common layers are written out: they are faster than autograd, compile, and can be
recomputed under checkpointing. Any other layer is differentiated by autograd.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.ELU, nn.SiLU, nn.Identity
)  # fmt: skip


def per_example(layer: nn.Module, x: Tensor) -> Tensor:
    """The output of a layer without a tasks axis: `tasks batch *features` -> the same."""
    if isinstance(layer, POINTWISE):
        return layer(x)  # type: ignore[no-any-return]
    # Contiguous, because torch 2.13 on a CPU crashes in the backward pass of a GroupNorm whose
    # input lies in memory as a convolution by unfolding leaves it, channels last.
    out: Tensor = layer(x.flatten(0, 1).contiguous())
    return out.reshape(*x.shape[:2], *out.shape[1:])


def pull_layer(layer: nn.Module, x: Tensor, out: Tensor, signal: Tensor) -> Tensor:
    """`J^T signal`, J the Jacobian of the layer at x; differentiable in all its arguments."""
    match layer:
        case nn.ReLU():
            return signal * (out > 0)
        case nn.LeakyReLU():
            return torch.where(x > 0, signal, signal * layer.negative_slope)
        case nn.Tanh():
            return signal * (1 - out.square())
        case nn.Sigmoid():
            return signal * out * (1 - out)
        case nn.Softplus():
            return signal * torch.sigmoid(layer.beta * x)
        case nn.Identity():
            return signal
        case nn.Flatten():
            return signal.reshape_as(x)
        case nn.GroupNorm():
            return _pull_norm(layer, (x.shape[0] * x.shape[1], layer.num_groups, -1), x, signal)
        case nn.LayerNorm():
            return _pull_norm(layer, (*x.shape[: -len(layer.normalized_shape)], -1), x, signal)
        case nn.MaxPool2d():
            return _pull_pool(layer, x, signal)
    return _by_autograd(layer, x, signal)


def _pull_norm(
    layer: nn.GroupNorm | nn.LayerNorm, grouped: tuple[int, ...], x: Tensor, signal: Tensor
) -> Tensor:
    """With z = (x - mean) / std over each group: `(s - mean(s) - z mean(s z)) / std`."""
    if layer.weight is not None:
        channels = x.dim() - 3 if isinstance(layer, nn.GroupNorm) else 0
        signal = signal * layer.weight.view(*layer.weight.shape, *[1] * channels)
    centered = x.reshape(grouped) - x.reshape(grouped).mean(-1, keepdim=True)
    scale = (centered.square().mean(-1, keepdim=True) + layer.eps).rsqrt()
    z, s = centered * scale, signal.reshape(grouped)
    pulled = s - s.mean(-1, keepdim=True) - z * (s * z).mean(-1, keepdim=True)
    return (pulled * scale).reshape_as(x)


def _pull_pool(layer: nn.MaxPool2d, x: Tensor, signal: Tensor) -> Tensor:
    """Every signal goes to the maximal unit of its window."""
    images = x.flatten(0, 1)
    window: dict[str, Any] = {
        name: getattr(layer, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    }
    _, winner = F.max_pool2d_with_indices(images.detach(), **window)
    silent = signal.new_zeros(images.flatten(2).shape)
    return silent.scatter_add(2, winner.flatten(2), signal.flatten(0, 1).flatten(2)).view_as(x)


def _by_autograd(layer: nn.Module, x: Tensor, signal: Tensor) -> Tensor:
    # Two ways: `torch.compile` differentiates `autograd.grad` to first order only, silently, and
    # functional transforms refuse to run under checkpointing.
    if torch.compiler.is_compiling():
        pullback = torch.func.vjp(lambda value: per_example(layer, value), x)[1]
        return pullback(signal)[0]  # type: ignore[no-any-return]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        (pulled,) = torch.autograd.grad(per_example(layer, leaf), leaf, signal, create_graph=again)
    return pulled
