"""One lifetime of one task, written with functional transforms: what `vmap` makes a meta-batch of.

Shares nothing with the library's inner step: forward passes are the network's own, run by
`functional_call`; gradients come from `torch.func.grad`; a convolution's Hebbian product from
`torch.nn.grad`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.grad import conv2d_weight

Weights = dict[str, Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]


def sgd_lifetime(
    network: nn.Sequential,
    weights: Weights,
    rates: Weights,
    objective: Objective,
    support: tuple[Tensor, Tensor],
    query: tuple[Tensor, Tensor],
    passes: int = 1,
) -> tuple[Tensor, Tensor]:
    """Plain SGD on the weights that have a rate; the query loss and prediction after it."""

    def loss(plastic: Weights, x: Tensor, y: Tensor) -> Tensor:
        return objective(functional_call(network, {**weights, **plastic}, (x,)), y)

    plastic = {name: weights[name] for name in rates}
    for _ in range(passes):
        for x, y in zip(*support, strict=True):
            slope = grad(loss)(plastic, x, y)
            plastic = {name: w - rates[name] * slope[name] for name, w in plastic.items()}
    prediction = functional_call(network, {**weights, **plastic}, (query[0],))
    return objective(prediction, query[1]), prediction


def flp_lifetime(
    network: nn.Sequential,
    weights: Weights,
    rates: Weights,
    feedback: Weights,
    objective: Objective,
    support: tuple[Tensor, Tensor],
    query: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Error-taught FLP with Oja's rule, tanh after every hidden site, on Linears and Conv2ds.

    `rates` are by site; `feedback` holds `B.site`, `c.site` and `b.site` (strength) of hidden ones.
    """
    plastic = {name + ".weight": weights[name + ".weight"] for name in rates}
    for x, y in zip(*support, strict=True):
        pre, own, h, site = {}, {}, x, ""
        for name, layer in network.named_children():
            if name in rates:
                pre[name], site = h, name
            here = {
                kind: ({**weights, **plastic})[f"{name}.{kind}"]
                for kind, _ in layer.named_parameters()
            }
            h = functional_call(layer, here, (h,))
            if site and (name == site or isinstance(layer, nn.Tanh | nn.GroupNorm)):
                own[site] = h
        error = F.one_hot(y, h.shape[-1]).to(h.dtype) - h.softmax(-1)
        for name in rates:
            p = error
            if f"B.{name}" in feedback:
                drive = F.relu(error @ feedback[f"B.{name}"].T + feedback[f"c.{name}"])
                drive = drive.reshape(*drive.shape, *[1] * (own[name].dim() - 2))
                p = feedback[f"b.{name}"] * drive + (1 - feedback[f"b.{name}"]) * own[name]
            plastic[name + ".weight"] = _oja(
                network.get_submodule(name), plastic[name + ".weight"], rates[name], pre[name], p
            )
    prediction = functional_call(network, {**weights, **plastic}, (query[0],))
    return objective(prediction, query[1]), prediction


def _oja(site: nn.Module, weight: Tensor, rate: Tensor, pre: Tensor, p: Tensor) -> Tensor:
    """The mean over examples and positions of `p x^T - p^2 W`."""
    if isinstance(site, nn.Conv2d):
        growth = conv2d_weight(pre, weight.shape, p, site.stride, site.padding)
        rows, power = p.numel() // p.shape[1], p.square().sum((0, 2, 3))
    else:
        growth, rows, power = p.T @ pre, p.shape[0], p.square().sum(0)
    forgetting = power.view(-1, *[1] * (weight.dim() - 1)) * weight
    return weight + rate.reshape(weight.shape) / rows * (growth - forgetting)
