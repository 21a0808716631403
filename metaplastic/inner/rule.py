"""A learning rule: a feedback pathway and a plasticity rule, and one inner step of the two.

Scaling, stated once: teaching is per example, a plasticity rule sums over rows, and the rule
divides by the batch size (`reduction="mean"`); `"sum"` is the plain sum of the FLP code. At a
convolution Hebbian rules are averaged over positions, gradients are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.coincidence import grown
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack
from metaplastic.support.choices import check_choice

Reduction = Literal["mean", "sum"]


class LearningRule(nn.Module):
    """How news reaches the plastic sites (`feedback`) and what they do about it (`plasticity`).

    Args:
        hidden_multiplier: multiplies the change of every plastic site but the last one; the FLP
            code's classifier uses 100.
        reduction: `mean` or `sum` over the examples of a step.
        rests_in_training: in train mode a lifetime leaves the weights as they were born. What is
            then learned is a representation for weights that do not change: ordinary pretraining,
            to which the rule is added at test.

    `pace`, 1 at first, multiplies every rate and may be set at any time: to try a rule's rates at
    test. It is no part of a rule file.

    Raises:
        ValueError: for another reduction, and from `attach` if a learner has this rule already.
    """

    def __init__(
        self,
        feedback: FeedbackPathway,
        plasticity: PlasticityRule,
        *,
        hidden_multiplier: float = 1.0,
        reduction: Reduction = "mean",
        rests_in_training: bool = False,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, Reduction)
        self.feedback, self.plasticity = feedback, plasticity
        self.hidden_multiplier, self.reduction = hidden_multiplier, reduction
        self.rests_in_training, self.pace, self.attached = rests_in_training, 1.0, False
        self.options: dict[str, Any] = {
            "feedback": feedback, "plasticity": plasticity,
            "hidden_multiplier": hidden_multiplier, "reduction": reduction,
            "rests_in_training": rests_in_training,
        }  # fmt: skip

    def attach(self, sites: Sequence[Site], outputs: int) -> None:
        """Make the meta-parameters for these plastic sites. A rule serves one learner."""
        if self.attached:
            raise ValueError(
                "This rule already belongs to a learner, whose feedback and rates it holds; "
                "make a new LearningRule for each learner."
            )
        self.attached = True
        self.feedback.attach(sites, outputs)
        self.plasticity.attach(sites)

    def coefficients(self, sites: Sequence[Site], batch: int) -> dict[str, Tensor]:
        """Rates with every constant factor in them; the same for all steps of a lifetime."""
        scale = self.pace / batch if self.reduction == "mean" else self.pace
        found = {}
        for site in sites:
            factor = scale * (self.hidden_multiplier if site is not sites[-1] else 1.0)
            found[site.name + ".weight"] = self.plasticity.rate(site) * factor
            if self.plasticity.moves_bias and site.module.bias is not None:
                found[site.name + ".bias"] = self.plasticity.bias_rate(site) * factor
        return found

    def live(
        self,
        stack: Stack,
        sites: Sequence[Site],
        start: int,
        objective: Objective,
        coefficients: Mapping[str, Tensor],
        slow: Mapping[str, Tensor],
        fast: FastWeights,
        given: Mapping[str, Tensor],
    ) -> FastWeights:
        """One step after the other along the first axis of what is `given`: `steps tasks ...`."""
        if torch.compiler.is_compiling():
            # Rates for each task: their gradients then add up over steps in place, synapse by
            # synapse, and are summed over tasks once, not in every step.
            tasks = given["x"].shape[1]
            coefficients = {name: c.expand(tasks, *c.shape) for name, c in coefficients.items()}
        for now in zip(*(tensor.unbind(0) for tensor in given.values()), strict=True):
            step = dict(zip(given, now, strict=True))
            fast = self.step(stack, sites, start, objective, coefficients, slow, fast, step)
        return fast

    def step(
        self,
        stack: Stack,
        sites: Sequence[Site],
        start: int,
        objective: Objective,
        coefficients: Mapping[str, Tensor],
        slow: Mapping[str, Tensor],
        fast: FastWeights,
        given: Mapping[str, Tensor],
    ) -> FastWeights:
        """One online step on what is `given` (`x`, `tasks batch *features`, and its `target`).

        Returns the fast weights after it. Pure: nothing is modified, and everything is
        differentiable unless the pathway is first order. `slow` are the weights that do not
        change, without a tasks axis.
        """
        weights = {**slow, **fast}
        tape = stack.run(given["x"], weights, start)
        signals = self.feedback.signals(stack, tape, weights, sites, objective, given)
        heard: Mapping[str, Tensor] = {}
        if self.plasticity.two_sided:
            heard = self.feedback.presynaptic(stack, tape, weights, sites, signals)
        changed = dict(fast)
        for site in sites:
            name, signal, pre = site.name + ".weight", signals[site.name], tape.pre[site.name]
            if not self.feedback.second_order:
                signal, pre = signal.detach(), pre.detach()
            weight, bias = weights[name], site.name + ".bias"
            rates = {kind: coefficients[kind] for kind in (name, bias) if kind in coefficients}
            if self.plasticity.averages_positions and (rows := tape.positions(site)) > 1:
                rates = {kind: rate / rows for kind, rate in rates.items()}
            post = site.rows_of_units(tape.values[site.activity])
            if self.plasticity.reads_answer and site.activity == len(stack.layers):
                target = given["target"]
                post = objective.label(post, target) - objective.error(post, target)
            matrix, rate = site.matrix(weight), rates[name]
            if self.plasticity.two_sided:
                back = heard[site.name] if self.feedback.second_order else heard[site.name].detach()
                after = matrix + self.plasticity.two_sided_delta(
                    matrix, pre, post, signal, back, rate
                )
            elif self.plasticity.promises("outer"):
                after = grown(matrix, pre, signal, rate)
            else:
                after = matrix + self.plasticity.delta(matrix, pre, post, signal, rate)
            changed[name] = after.view_as(weight)
            if bias in rates:
                changed[bias] = weights[bias] + rates[bias] * signal.sum(1)
        return changed
