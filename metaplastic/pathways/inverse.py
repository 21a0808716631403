"""Target propagation: every site has a target, the inverse of the layers above at the output's.

The target of a layer is the inverse of the layer above it at that layer's target: exact inverses,
so sites are square and nonlinearities invertible. With full targets this is target propagation,
whose updates are not gradients. Targets that are a small step gamma from the activity, weighted by
the squared derivative, give backprop's gradient if the weights are orthogonal, their inverse being
their transpose (GAIT-prop: Ahmad, van Gerven & Ambrogioni 2020, arXiv:2006.06438). Powers of gamma
soon fall below floating-point precision, so in deep chains each example's step is rescaled by the
length of its error (Dalm, Ahmad, Ambrogioni & van Gerven 2021, arXiv:2102.11598).
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

    where D is the derivative of the nonlinearity, and the target of the layer below is the inverse
    of `h + a (t - h)`.

    Args:
        gamma: the step towards a target that is propagated, as a share; None for 1.
        adaptive: per example and layer, `gamma * sqrt(units) / |t - h|` instead: the step has the
            root mean square gamma at any depth. Errors are divided by the share.
        adjusted: whether the step is multiplied by D^2; nothing without a gamma.
        orthogonality: weight of the penalty on square sites, the sum of squares of `W W^T - I`.
        diagonal: False leaves the diagonal out of it: rows become orthogonal, of any length
            (2006.06438); with it they become orthonormal (2102.11598).
        reduction: that of the loss over the batch, `mean` or `sum`. An example's output target
            differs from the output by the gradient of its own loss, in any batch.

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
            raise ValueError(f"gamma is {self.gamma}; give a positive step such as 1e-3, or None.")
        if self.gamma is None and self.adaptive:
            raise ValueError("adaptive rescales gamma, which is None; give a gamma such as 1e-7.")
        if not self.orthogonality >= 0:
            raise ValueError(f"orthogonality is {self.orthogonality}; give 0 or a positive weight.")

    def backward(self, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction) -> Tensor:
        """Add this rule's gradients to `.grad` of every weight and bias.

        Like `loss_fn(chain(x), y).backward()`, in its scale, and with the penalty's exact gradient.

        Returns:
            The loss without the penalty, detached.
        """
        loss, found = self._site_errors(chain, x, y, loss_fn)
        for stage, pre, error in found:
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
        """The error at each site's output, in the place of the gradient: name -> `batch post`."""
        found = self._site_errors(chain, x, y, loss_fn)[1]
        return {stage.name: error for stage, _, error in found}

    @torch.no_grad()
    def _site_errors(
        self, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction
    ) -> tuple[Tensor, list[_SiteError]]:
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
        errors = []
        for stage, (pre, post) in zip(reversed(stages), reversed(seen), strict=True):
            # The target of auxiliary units is their activity, so their error is 0.
            away = torch.cat([target, post[:, target.shape[1] :]], dim=1) - post
            derivative = torch.ones_like(post).where(post > 0, stage.slope)
            errors.append(_SiteError(stage, pre, -scale * derivative * away))
            if stage is stages[0]:
                break
            share = self._share(away)
            adjusted = self.adjusted and self.gamma is not None
            step = share * derivative.square() if adjusted else share
            target = stage.undo(post + step * away)
            scale = scale / share
        return loss, errors[::-1]

    def _share(self, away: Tensor) -> Tensor:
        """Each example's step as a share of `t - h`: `batch units` -> `batch 1`."""
        gamma = 1.0 if self.gamma is None else self.gamma
        if not self.adaptive:
            return torch.full_like(away[:, :1], gamma)
        length = away.norm(dim=1, keepdim=True).clamp_min(NO_ERROR)
        share: Tensor = gamma * math.sqrt(away.shape[1]) / length
        return share

    def _penalty_gradient(self, weight: Tensor) -> Tensor:
        """`4 (W W^T - I) W`, or without the diagonal of the difference."""
        excess = weight @ weight.mT
        if self.diagonal:
            excess.diagonal().sub_(1)
        else:
            excess.diagonal().zero_()
        return 4 * excess @ weight


class InversePathway(FeedbackPathway):
    """Targets through inverses on a chain: gradients for an optimizer, and no signals at sites."""

    def __init__(self, how: Inverse) -> None:
        super().__init__()
        self.how, self.options = how, {"how": how}


class _SiteError(NamedTuple):
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
