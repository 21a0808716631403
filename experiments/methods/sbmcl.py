"""Sequential Bayes: exact posteriors of class-conditional Gaussians on a meta-learned encoder.

SB-MCL, Lee et al. (2024, arXiv:2405.18758), in its form for classification, which is GeMCL
(Banayeeanzade et al. 2021): the encoder is meta-trained and frozen within a lifetime, and all that
a lifetime learns is the posterior over the Gaussian of each class, by Bayes' rule. The Gaussian is
of an exponential family, so the posterior after any number of examples is a sum of their sufficient
statistics, in any order: one pass is as good as all at once, and nothing is forgotten. As a rule
that is Hebbian learning at rate 1 from zero of `code, code squared, 1`.

The prior is shared by all classes and meta-learned. Its mean is zero and, with known variances,
their value one: the encoder's last layer is linear, and its weights and biases absorb both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.registry import ConfigError
from experiments.methods.flp_readout import stream
from experiments.methods.prototypes import rates
from metaplastic import (
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    OnlineLearner,
    Unroll,
    objective_for,
)
from metaplastic.stacked.readouts import Gain, Readout

__all__ = ["build", "rates", "stream"]

Variance = Literal["known", "inferred"]


class Statistics(nn.Module):
    """`n code` -> `n (code, code squared, 1, prior)`: what a class sums, and the prior to add.

    The prior goes with every input because a readout knows no parameters but its plastic weights.
    For each feature it is the number of examples that the prior mean is worth and, where variances
    are inferred, shape and rate of their gamma prior; all as logarithms.
    """

    def __init__(self, features: int, *, variance: Variance = "known") -> None:
        super().__init__()
        self.options: dict[str, Any] = {"features": features, "variance": variance}
        start = {"known": [0.3], "inferred": [0.3, 2.0, 1.0]}[variance]
        self.log_prior = nn.Parameter(torch.tensor(start).log()[:, None].repeat(1, features))

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones_like(x[..., :1])
        prior = self.log_prior.flatten().expand(*x.shape[:-1], -1)
        return torch.cat([x, x.square(), ones, prior], -1)


class PosteriorPredictive(Readout):
    """The log density of a code under each class, given the examples in its row.

    With known variances the predictive density is Gaussian, with inferred ones Student's t (Murphy
    2007, "Conjugate Bayesian analysis of the Gaussian distribution", section 3.5, in the notation
    `m, kappa, alpha, beta`). Constants that all classes have in common are left out.
    """

    def __init__(self, code: int, out_features: int, *, variance: Variance = "known") -> None:
        super().__init__(2 * code + 1 + code * (1 if variance == "known" else 3), out_features)
        self.code, self.variance = code, variance
        self.options = {"code": code, "out_features": out_features, "variance": variance}

    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        size = self.code
        x = rows[..., :size]
        first = rows.flatten(0, -2)[0, 2 * size + 1 :]  # the prior is the same in every row
        prior = first.exp().view(-1, size)
        total, squares = weight[..., :size], weight[..., size : 2 * size]
        count = weight[..., 2 * size, None]
        kappa = prior[0] + count
        mean = total / kappa
        if self.variance == "known":
            return _summed(x, mean, 1 + 1 / kappa, None)
        alpha = prior[1] + count / 2
        beta = prior[2] + (squares - total * mean).clamp_min(0) / 2
        return _summed(x, mean, beta * (kappa + 1) / (alpha * kappa), 2 * alpha)


def _summed(x: Tensor, mean: Tensor, variance: Tensor, freedom: Tensor | None) -> Tensor:
    """Log densities summed over features: `... rows code`, `... post code` -> `... rows post`."""
    if freedom is None:
        distance = _distance(x, mean, 1 / variance)
        return -(distance + variance.log().sum(-1)[..., None, :]) / 2
    scaled = (x[..., :, None, :] - mean[..., None, :, :]).square() / variance[..., None, :, :]
    nu = freedom[..., None, :, :]
    tail = -(nu + 1) / 2 * torch.log1p(scaled / nu)
    norm = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    norm = norm - (freedom * math.pi * variance).log() / 2
    return tail.sum(-1) + norm.sum(-1)[..., None, :]


def _distance(x: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """The squared distance in units of each feature, as products: no axis of rows x classes."""
    own = x.square() @ precision.mT
    return own - 2 * x @ (precision * mean).mT + (precision * mean.square()).sum(-1)[..., None, :]


def build(
    problem: Problem,
    *,
    variance: Variance = "known",
    channels: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> OnlineLearner:
    """`variance`: of a class in each feature, `known` (and 1), or `inferred` with the mean.

    `channels` and `strides` are those of the convolutions.
    """
    problem = replace(problem, channels=channels, strides=strides)
    if not problem.classification:
        raise ConfigError(
            f"sbmcl is for classification, and task {problem.spec.name!r} is regression: use a "
            "method with a linear head, such as flp_readout or oml."
        )
    *layers, readout = problem.network(hidden="linear")
    assert isinstance(readout, nn.Linear)
    code, outputs = readout.in_features, readout.out_features
    head = [
        # Distances sum over all features: of the order of 1 at first, not of their number.
        Gain(2 / math.sqrt(code)),
        Statistics(code, variance=variance),
        PosteriorPredictive(code, outputs, variance=variance),
    ]
    rule = LearningRule(
        Direct(teaching="label", strength=1.0, learn_strength=False),
        Hebb(rate=1.0, per="layer", learn=False),
        reduction="sum",
    )
    return OnlineLearner(
        nn.Sequential(*layers, *head),
        rule,
        objective_for(problem.spec),
        plastic=1,
        initialization=Initialization(readout="zeroed"),
        unroll=Unroll(both_ways=problem.many_classes),
    )
