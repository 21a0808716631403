"""Batch normalization with one example at a time: which statistics a network learns with."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.sites.activity import Followed
from metaplastic.sites.products import Handler, Products
from metaplastic.support.choices import check_choice

Norms = Literal["stored", "slow", "own"]
SLOW = 0.01  # the share of a running statistic that one step replaces


@cache
def norm_handlers(norms: Norms) -> dict[Any, Handler]:
    """What `F.batch_norm` does in train mode.

    Args:
        norms: `stored`, by the running statistics, which stay; `slow`, by the running statistics,
            which move by a hundredth of the way to the minibatch's in every step; `own`, by the
            minibatch's own, as in ordinary training.
    """
    check_choice("norms", norms, Norms)
    if norms == "own":
        return {}

    def batch_norm(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
        given = dict(zip((*names, "eps"), args, strict=False)) | kwargs
        mean, var = given.get("running_mean"), given.get("running_var")
        if not given.get("training") or mean is None or var is None:
            return _run(mode, func, args, kwargs)
        x = given.pop("input")
        given |= {"training": False}
        used = [given.pop("running_mean"), given.pop("running_var")]
        if norms == "slow":  # autograd keeps what they are now
            used = [statistic.clone() for statistic in used]
        out = _run(mode, F.batch_norm, (x, *used), given)
        if norms == "slow":
            _move(mean, var, x.detach())
        return out

    return {F.batch_norm: batch_norm}


def _run(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Its output, recorded as it was computed for a rule that reads activities."""
    out = func(*args, **kwargs)
    if isinstance(mode, Followed):
        mode.made(func, args, kwargs, out)
    return out


@torch.no_grad()
def _move(mean: Tensor, var: Tensor, x: Tensor) -> None:
    """Running statistics a little of the way to those of this minibatch."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    now = x.mean(axes, dtype=mean.dtype)
    # The spread round the running mean: one example alone has none round its own.
    spread = (x - mean.view(1, -1, *[1] * (x.dim() - 2))).square().mean(axes, dtype=var.dtype)
    mean.lerp_(now, SLOW)
    var.lerp_(spread, SLOW)
