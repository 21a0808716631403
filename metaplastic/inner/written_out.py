"""The written-out executor: inner steps in which every layer has a `tasks` axis.

It runs plain `nn.Sequential`s and rules without alignment and traces; `inner.step` runs any network
and rule, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.inner.blocks import blocks_of
from metaplastic.inner.compiled.steps import compiled_steps, steps_at_once
from metaplastic.inner.initialization import Initialization, initialize
from metaplastic.inner.rows import adapt_by_row, runs_by_row
from metaplastic.inner.unroll import Given, Unroll, unroll
from metaplastic.objective import Objective
from metaplastic.plasticity.outer_product import add_outer_product
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.stacked.low_rank import LowRank
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack


class WrittenOut:
    """The executor of an `OnlineLearner` whose network is a plain `nn.Sequential`.

    Raises:
        ValueError: for another network, or a rule with alignment or traces.
    """

    compiles_steps = True  # a few at a time

    def __init__(
        self,
        network: nn.Module,
        rule: LearningRule,
        objective: Objective,
        plastic: Sequence[str] | str | int | None,
    ) -> None:
        if not isinstance(network, nn.Sequential) or not rule.written_out:
            parts = " x ".join(rule.parts)
            what = f"a {type(network).__name__}" if rule.written_out else f"run by {parts}"
            raise ValueError(
                f"The network is {what}, which the generic executor runs; give input_shape=, the "
                "shape of one input to the network, such as input_shape=(3, 32, 32)."
            )
        self.stack, self.objective = Stack(network), objective
        self.sites: Sequence[Site] = self.stack.choose(plastic)
        self.first = self.sites[0].layer

    @property
    def plastic_weights(self) -> list[str]:
        """The parameters that a lifetime changes."""
        return [
            f"{site.name}.{kind}"
            for site in self.sites
            for kind, _ in site.module.named_parameters()
        ]

    def slow_weights(self) -> dict[str, Tensor]:
        """The sites' weights that a lifetime does not change, without a tasks axis."""
        plastic = {site.name for site in self.sites}
        return {
            f"{name}.{kind}": weight
            for name, site in self.stack.sites.items()
            for kind, weight in site.module.named_parameters()
            if name not in plastic
        }

    def below(self, x: Tensor) -> Tensor:
        """The layers before the first plastic site, which are frozen: `n ...` -> `n ...`."""
        if self.first == 0:
            return x
        return self.stack.run(x[None], self.slow_weights(), stop=self.first).output[0]

    def start(
        self, rule: LearningRule, how: Initialization, support_y: Tensor, seed: Tensor
    ) -> FastWeights:
        """The plastic weights at the start of the lifetimes with these seeds, `tasks ...`."""
        sampled = rule.pathway.initialize_lifetimes(self.sites, seed)
        return {**initialize(how, self.sites, support_y, seed), **sampled}

    def adapt(
        self,
        rule: LearningRule,
        x: Tensor,
        y: Tensor,
        fast: FastWeights,
        how: Unroll,
        passes: int,
    ) -> FastWeights:
        """The fast weights after the examples `tasks steps batch ...`, in order."""
        coefficients = rule.coefficients(self.sites, x.shape[2])
        if len(self.sites) == 1:
            site = self.sites[0]
            is_last = site.layer == len(self.stack.layers) - 1
            batch = x.shape[2]
            in_blocks = blocks_of(rule, site, is_last, self.objective, coefficients, how, batch)
            if in_blocks is not None:
                for _ in range(passes):
                    fast = in_blocks(fast, x, y)
                return fast
        if runs_by_row(rule, self.sites, self.objective, how, x.shape[2]):
            readout = self.sites[0]
            rate = coefficients[readout.name + ".weight"]
            for _ in range(passes):
                fast = adapt_by_row(readout, rule.plasticity, rate, fast, x, y)
            return fast
        precomputed = rule.pathway.precompute(self.sites, self.objective, y, x)
        given = {"x": x, "target": y, **precomputed}
        fixed = (
            self.stack, self.sites, self.first, self.objective, coefficients, self.slow_weights(),
        )  # fmt: skip
        run: Callable[..., FastWeights] = partial(run_steps, rule)
        at_once = None
        if how.compile:
            at_once = steps_at_once(len(self.sites))
            run, fast = compiled_steps(run_steps, rule, fixed, fast, given, how, passes, at_once)

        def onwards(weights: FastWeights, given: Given) -> FastWeights:
            return run(*fixed, weights, given)

        return unroll(onwards, fast, given, how, passes=passes, at_once=at_once)

    def predict(self, fast: FastWeights, x: Tensor) -> Tensor:
        """`tasks queries *features` -> `tasks queries outputs`."""
        return self.stack.run(x, {**self.slow_weights(), **fast}, self.first).output


def run_steps(
    rule: LearningRule,
    stack: Stack,
    sites: Sequence[Site],
    start: int,
    objective: Objective,
    coefficients: Mapping[str, Tensor],
    slow: Mapping[str, Tensor],
    fast: FastWeights,
    given: Mapping[str, Tensor],
) -> FastWeights:
    """Steps in order along the first axis of the tensors in `given`: `steps tasks ...`."""
    if torch.compiler.is_compiling():
        # Rates for each task: their gradients are then accumulated over steps in place, synapse
        # by synapse, and summed over tasks once, not in every step.
        tasks = given["x"].shape[1]
        coefficients = {name: c.expand(tasks, *c.shape) for name, c in coefficients.items()}
    for now in zip(*(tensor.unbind(0) for tensor in given.values()), strict=True):
        this = dict(zip(given, now, strict=True))
        fast = step(rule, stack, sites, start, objective, coefficients, slow, fast, this)
    return fast


def step(
    rule: LearningRule,
    stack: Stack,
    sites: Sequence[Site],
    start: int,
    objective: Objective,
    coefficients: Mapping[str, Tensor],
    slow: Mapping[str, Tensor],
    fast: FastWeights,
    given: Mapping[str, Tensor],
) -> FastWeights:
    """The fast weights after one step on `given`: `x`, `tasks batch *features`, and `target`.

    Pure: nothing is modified, and everything is differentiable unless the pathway is first order.
    `slow` are the weights that do not change, without a tasks axis.
    """
    weights: dict[str, Any] = {**slow, **fast}
    tape = stack.run(given["x"], weights, start)
    signals = rule.pathway.signals(stack, tape, weights, sites, objective, given)
    received: Mapping[str, Tensor] = {}
    if rule.plasticity.two_sided:
        received = rule.pathway.presynaptic(stack, tape, weights, sites, signals)
    changed: dict[str, Any] = dict(fast)
    for site in sites:
        name, signal, pre = site.name + ".weight", signals[site.name], tape.pre[site.name]
        if not rule.pathway.second_order:
            signal, pre = signal.detach(), pre.detach()
        weight, bias = weights[name], site.name + ".bias"
        rates = {kind: coefficients[kind] for kind in (name, bias) if kind in coefficients}
        if rule.plasticity.averages_positions and (rows := tape.positions(site)) > 1:
            rates = {kind: rate / rows for kind, rate in rates.items()}
        post = site.rows_of_units(tape.values[site.activity])
        if rule.plasticity.reads_answer and site.activity == len(stack.layers):
            target = given["target"]
            post = objective.label(post, target) - objective.error(post, target)
        rate = rates[name]
        if isinstance(weight, LowRank):
            changed[name] = weight.plus(signal, pre, rate)
        else:
            matrix = site.matrix(weight)
            if rule.plasticity.two_sided:
                back = received[site.name]
                back = back if rule.pathway.second_order else back.detach()
                change = rule.plasticity.two_sided_delta(matrix, pre, post, signal, back, rate)
                after = matrix + change
            elif rule.plasticity.promises("outer"):
                after = add_outer_product(matrix, pre, signal, rate)
            else:
                after = matrix + rule.plasticity.delta(matrix, pre, post, signal, rate)
            changed[name] = after.view_as(weight)
        if bias in rates:
            changed[bias] = weights[bias] + rates[bias] * signal.sum(1)
    return changed
