"""Target propagation: every site is told what it should have said, by undoing those above it.

The target of a layer is the layer above it, inverted, at that layer's target: exact inverses, so
sites are square and nonlinearities invertible. Going the whole way is target propagation, whose
changes are not gradients. Going a small part of it, weighted by the squared derivative, gives
backprop's gradient wherever the weights are orthogonal, their inverse being their transpose
(GAIT-prop: Ahmad, van Gerven & Ambrogioni 2020, arXiv:2006.06438). A part gamma of a part gamma
soon falls below the precision of a number, so in deep chains each example's part is set anew by
the length of its error (Dalm, Ahmad, Ambrogioni & van Gerven 2021, arXiv:2102.11598).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from metaplastic.pathways.base import FeedbackPathway
from metaplastic.pathways.invertible import Stage, flattened, stages_of
from metaplastic.support.choices import check_choice

LossFunction = Callable[[Tensor, Any], Tensor]
Reduction = Literal["mean", "sum"]
NO_ERROR = 1e-150  # the length of an error that counts as none: keeps 0 / 0 out of adaptive gammas


@dataclass(frozen=True)
class Inverse:
    """Gradients from targets through inverse weights, on a chain (see `invertible`).

        Inverse(gamma=None)                  target propagation: the plain inverse of the target
        Inverse(adjusted=False)              incremental target propagation: `a = gamma`
        Inverse()                            GAIT-prop: `a = gamma D^2`
        Inverse(gamma=1e-7, adaptive=True)   rescaled GAIT-prop, for deep chains

    where D is the derivative of the nonlinearity, and the layer below is told the inverse of
    `h + a (t - h)`.

    Args:
        gamma: what part of the way to a target is passed down; None, all of it.
        adaptive: per example and layer, `gamma * sqrt(units) / |t - h|` instead: what is passed
            down has the root mean square gamma at any depth. Errors are divided by the part that
            was taken.
        adjusted: whether the part is multiplied by D^2; nothing without a gamma.
        orthogonality: weight of the penalty on square sites, the sum of squares of `W W^T - I`.
        diagonal: False leaves the diagonal out of it: rows become orthogonal, of any length
            (2006.06438); with it they become orthonormal (2102.11598).
        reduction: what the loss does over the batch, `mean` or `sum`. It sets how far an example's
            output target is from the output: the gradient of its own loss, in any batch.

    Raises:
        ValueError: for a gamma or orthogonality that is not positive, or an adaptive None.
    """

    gamma: float | None = 1e-3
    adaptive: bool = False
    adjusted: bool = True
    orthogonality: float = 0.0
    diagonal: bool = True
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, Reduction)
        if self.gamma is not None and not self.gamma > 0:
            raise ValueError(f"gamma is {self.gamma}; give a positive part such as 1e-3, or None.")
        if self.gamma is None and self.adaptive:
            raise ValueError("adaptive rescales gamma, which is None; give a gamma such as 1e-7.")
        if not self.orthogonality >= 0:
            raise ValueError(f"orthogonality is {self.orthogonality}; give 0 or a positive weight.")

    def backward(self, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction) -> Tensor:
        """Add to `.grad` of every weight and bias what this rule takes for the gradient.

        Like `loss_fn(chain(x), y).backward()`, in its scale, and with the penalty's exact gradient.

        Returns:
            The loss without the penalty, detached.
        """
        loss, heard = self._hear(chain, x, y, loss_fn)
        for stage, pre, error in heard:
            weight, bias = stage.site.weight, stage.site.bias
            gradient = error.mT @ pre
            if self.orthogonality and stage.square:
                gradient += self.orthogonality * self._penalty_gradient(weight.detach())
            _accumulate(weight, gradient)
            if bias is not None:
                _accumulate(bias, error.sum(0))
        return loss

    def errors(
        self, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction
    ) -> dict[str, Tensor]:
        """What stands for the loss's gradient at each site's output: `batch post` by site name."""
        return {stage.name: error for stage, _, error in self._hear(chain, x, y, loss_fn)[1]}

    @torch.no_grad()
    def _hear(
        self, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction
    ) -> tuple[Tensor, list[_Heard]]:
        """The loss, and each site with its input and error, `batch pre` and `batch post`."""
        stages = stages_of(chain)
        passed, seen = flattened(chain, x), []
        for stage in stages:
            pre = passed
            for layer in (stage.site, *stage.pointwise):
                passed = layer(passed)
            seen.append((pre, passed))
            if stage.first is not None:
                passed = stage.first(passed)
        loss, gradient = _output_gradient(passed, y, loss_fn)

        examples = max(len(passed), 1) if self.reduction == "mean" else 1
        target = passed - examples * gradient
        scale = torch.full_like(target[:, :1], 1 / examples)
        heard = []
        for stage, (pre, post) in zip(reversed(stages), reversed(seen), strict=True):
            # Auxiliary units are told what they said, so nothing is learned from them.
            away = torch.cat([target, post[:, target.shape[1] :]], dim=1) - post
            derivative = torch.ones_like(post).where(post > 0, stage.slope)
            heard.append(_Heard(stage, pre, -scale * derivative * away))
            if stage is stages[0]:
                break
            part = self._part(away)
            adjusted = self.adjusted and self.gamma is not None
            step = part * derivative.square() if adjusted else part
            target = stage.undo(post + step * away)
            scale = scale / part
        return loss, heard[::-1]

    def _part(self, away: Tensor) -> Tensor:
        """How much of the way to the target each example goes: `batch units` -> `batch 1`."""
        gamma = 1.0 if self.gamma is None else self.gamma
        if not self.adaptive:
            return torch.full_like(away[:, :1], gamma)
        length = away.norm(dim=1, keepdim=True).clamp_min(NO_ERROR)
        part: Tensor = gamma * math.sqrt(away.shape[1]) / length
        return part

    def _penalty_gradient(self, weight: Tensor) -> Tensor:
        """`4 (W W^T - I) W`, or without the diagonal of what is in parentheses."""
        excess = weight @ weight.mT
        if self.diagonal:
            excess.diagonal().sub_(1)
        else:
            excess.diagonal().zero_()
        return 4 * excess @ weight


class InversePathway(FeedbackPathway):
    """Targets through inverses, on a chain: there is no signal at a site, only a gradient."""

    def __init__(self, how: Inverse) -> None:
        super().__init__()
        self.how, self.options = how, {"how": how}


class _Heard(NamedTuple):
    stage: Stage
    pre: Tensor
    error: Tensor


def _output_gradient(output: Tensor, y: Any, loss_fn: LossFunction) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient at the output, `batch outputs`."""
    with torch.enable_grad():
        leaf = output.detach().requires_grad_()
        loss = loss_fn(leaf, y)
    if loss.numel() != 1:
        raise ValueError(
            f"The loss has shape {tuple(loss.shape)}, but must be one number; take its mean or sum."
        )
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient


def _accumulate(parameter: Tensor, gradient: Tensor) -> None:
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
