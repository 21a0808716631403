"""A plastic head of 256 x 256 synapses: an unroll in plain torch against ours, compiled.

8 lifetimes of 25 one-example steps by Oja's rule with a rate per synapse, then the meta-gradient
in first weights, rates and, where the head is driven by feedback, feedback weights. Two readings:
label-taught feedback with strength 1/2, so that every step needs the forward pass and all the
meta-gradient's paths exist; and the readout clamped to the label, as in few-shot classification.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved, versus
from metaplastic import CrossEntropy, Direct, Episode, LearningRule, Oja, OnlineLearner, Unroll

TASKS, STEPS, UNITS, QUERIES, RATE = 8, 25, 256, 25, 1e-3
GOAL = 8


def lifetimes() -> Episode:
    x, y = torch.rand(TASKS, STEPS, 1, UNITS), torch.randint(UNITS, (TASKS, STEPS, 1))
    query_x, query_y = torch.rand(TASKS, QUERIES, UNITS), torch.randint(UNITS, (TASKS, QUERIES))
    return Episode(x, y, y, query_x, query_y, query_y, torch.arange(TASKS))


def plain(episodes: Episode, learner: OnlineLearner, driven: bool) -> Callable[[], list[Tensor]]:
    """The same lifetime as anyone would write it, tasks in one batch, on its own parameters."""
    names = [name for name, p in learner.named_parameters() if p.requires_grad]
    copies = [learner.get_parameter(name).detach().clone().requires_grad_() for name in names]
    given = dict(zip(names, copies, strict=True))
    rate = given["rule.plasticity.rates.0"]
    targets = F.one_hot(episodes.support_y, UNITS).to(rate.dtype)

    def meta_gradient() -> list[Tensor]:
        weight = given["network.0.weight"].expand(TASKS, UNITS, UNITS)
        for step in range(STEPS):
            x, post = episodes.support_x[:, step], targets[:, step]
            if driven:
                drive = F.linear(
                    post,
                    given["rule.pathway.pathways.0.0.weight"],
                    given["rule.pathway.pathways.0.0.bias"],
                ).relu()
                strength = given["rule.pathway.strengths.0"]
                post = strength * drive + (1 - strength) * torch.bmm(x, weight.mT)
            forgetting = post.square().sum(1)[:, :, None] * weight
            weight = weight + rate * (torch.bmm(post.mT, x) - forgetting)
        prediction = torch.bmm(episodes.query_x, weight.mT)
        loss = F.cross_entropy(prediction.flatten(0, 1), episodes.query_y.flatten())
        return list(torch.autograd.grad(loss, copies))

    return meta_gradient


def ours(episodes: Episode, learner: OnlineLearner, how: Unroll) -> Callable[[], list[Tensor]]:
    parameters = [p for p in learner.parameters() if p.requires_grad]

    def meta_gradient() -> list[Tensor]:
        learner.unroll = how
        return list(torch.autograd.grad(learner(episodes).loss, parameters))

    return meta_gradient


def measure(repeat: int, seed: int) -> list[Finding]:
    episodes, findings = lifetimes(), []
    for driven, name in ((True, "driven with strength 1/2"), (False, "clamped to the label")):
        feedback = Direct(teaching="label", readout="feedback" if driven else "clamped")
        network = nn.Sequential(nn.Linear(UNITS, UNITS, bias=False))
        learner = OnlineLearner(
            network, LearningRule(feedback, Oja(rate=RATE)), CrossEntropy(UNITS)
        )
        candidates = {
            "plain autograd": plain(episodes, learner, driven),
            "ours, compiled": ours(episodes, learner, Unroll(compile=True)),
        }
        first, second = (work() for work in candidates.values())
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))
        times = interleaved(candidates, repeat)
        what = f"plastic head 256x256, {name}"
        findings.append(versus(what, times, "plain autograd", "ours, compiled", GOAL))
    return findings
