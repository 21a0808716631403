"""One inner step in any network: a pure function of rule, network, state and example.

    state, prediction = step(rule, network, state, x, y)

It may run under `vmap` over tasks, is differentiable twice, and modifies nothing. `PlasticModule`
takes the same step in one pass of its own and writes the state back into your module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metaplastic.alignment.sleep import Sleep
from metaplastic.inner.changes import changes_of
from metaplastic.inner.feedback import followed, sleep
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.passes import Tape, first_pass, second_pass
from metaplastic.inner.site_change import Signals
from metaplastic.inner.state import State
from metaplastic.pathways.base import Clamped
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.activity import pulled
from metaplastic.sites.products import Product
from metaplastic.support.level import gain


def step(
    rule: LearningRule,
    network: PlasticNetwork,
    state: State,
    x: Any,
    y: Any,
    *,
    number: int | None = None,
    rates: Mapping[str, Tensor] | None = None,
) -> tuple[State, Tensor]:
    """One step on a minibatch: the state after it, and the prediction before it.

    Args:
        x: inputs of the network, examples first: a tensor, a tuple, or a dict of named ones.
        y: targets, as the network's teacher takes them.
        number: how many steps the lifetime has had, where the caller knows; else it is read off
            the state, for which a device must be waited for.
        rates: the rule's `coefficients`, where the caller has them already.

    Returns:
        The state, and `batch outputs` as the network predicted before it learned.
    """
    if isinstance(rule.alignment, Sleep):
        state = sleep(rule, network, state, x, number=number)
    weights = _of_first_norm(rule, network, state)
    ignores = rule.plasticity.promises("ignores_post") and not rule.pathway.clamps
    tape = first_pass(network, weights, x, follow=rule.plasticity.two_sided or not ignores)
    batch = len(tape.prediction)
    teaching = network.teacher.negative_gradient(tape.prediction, y)
    signals = None
    if rule.pathway.clamps:
        calls = [
            Clamped(p.site, p.operation, a)
            for p, a in zip(tape.products, tape.activity, strict=True)
        ]
        objective = network.teacher.objective
        if objective is None:
            raise ValueError(
                f"A {type(rule.pathway).__name__} clamps activities to an objective's label or "
                "error, but a loss function is taught; learn by an OnlineLearner."
            )
        signals = rule.pathway.clamped(network.shapes, calls, objective, tape.prediction, y)
    answer = None
    if rule.plasticity.reads_answer:
        answer = network.teacher.answer(tape.prediction, y)
    if rates is None:
        rates = rule.coefficients(network.shapes, batch)
    now = state._replace(weights=dict(weights))
    after = taught(
        rule, network, now, x, tape, teaching, rates,
        answer=answer, clamped=signals, number=number,
    )  # fmt: skip
    return after, tape.prediction


def taught(
    rule: LearningRule,
    network: PlasticNetwork,
    state: State,
    x: Any,
    tape: Tape,
    teaching: Tensor,
    rates: Mapping[str, Tensor],
    *,
    answer: Tensor | None = None,
    clamped: list[Tensor] | None = None,
    number: int | None = None,
) -> State:
    """The state after a step whose first pass is on the tape.

    Args:
        state: before it, with the weights of the pass.
        teaching: at the prediction, in the direction in which it should go.
        answer: the prediction as an activity, for a rule that reads it.
        clamped: the signals, where they are not carried back.
        number: as for `step`.
    """
    weights, batch = state.weights, len(tape.prediction)
    pushes: dict[str, Tensor] = {}
    if clamped is not None:
        signals = clamped
    else:
        signals, pushes = second_pass(
            network, weights, state.feedback, rule.pathway, x, tape, teaching
        )
    if rule.pathway.level:
        signals = [leveled(p, s, teaching) for p, s in zip(tape.products, signals, strict=True)]
    products: Sequence[Product] = tape.products
    if not rule.pathway.second_order:
        signals = [signal.detach() for signal in signals]
        products = [replace(product, x=product.x.detach()) for product in products]
    activity = tape.activity
    if answer is not None:
        activity = [
            answer.reshape(a.shape) if i in tape.answers else a for i, a in enumerate(activity)
        ]
    back: list[Tensor] = []
    if rule.plasticity.two_sided:
        own = {site: network.weight(site, weights) for site in network.plastic}
        ways = tape.ways_back
        back = presynaptic(
            rule, network, own, state.feedback, tape.products, ways, signals, teaching
        )
        back = back if rule.pathway.second_order else [received.detach() for received in back]
    seen = Signals(products, signals, activity, back, pushes, batch)
    done = changes_of(rule, network, weights, state.traces, state.step + 1, rates, seen)
    after = {
        name: weights[name] + done.weights[name] if name in done.weights else weights[name]
        for name in weights
    }
    feedback = followed(rule, network, state, weights, after, tape.products, number)
    traces = {**state.traces, **done.traces}
    return State(after, feedback, traces, state.step + 1, state.seed)


def _of_first_norm(
    rule: LearningRule, network: PlasticNetwork, state: State
) -> Mapping[str, Tensor]:
    """The weights, rescaled to their first norms if the pathway declares `keeps_norm`."""
    if not rule.pathway.keeps_norm:
        return state.weights
    found = dict(state.weights)
    for site in network.plastic:
        name = network.parameter(site)
        if name in found:
            found[name] = found[name] * (state.traces[f"norm of {site}"] / found[name].norm())
    return found


def leveled(product: Product, signal: Tensor, teaching: Tensor) -> Tensor:
    """The signal, rescaled to the length of the output's error."""
    return signal * leveling(product, signal, teaching)


def leveling(product: Product, signal: Tensor, teaching: Tensor) -> Tensor:
    """What rescales a signal to the length of the output's error: one number."""
    units = product.operation.units_last(signal)
    rows, error = units.reshape(1, -1, units.shape[-1]), _rows_of(teaching)
    return gain(rows, error).squeeze()


def _rows_of(teaching: Tensor) -> Tensor:
    units = teaching.movedim(1, -1) if teaching.dim() > 3 else teaching
    return units.reshape(1, -1, units.shape[-1])


def presynaptic(
    rule: LearningRule,
    network: PlasticNetwork,
    weights: Mapping[str, Tensor],
    feedback: Mapping[str, Tensor],
    products: Sequence[Product],
    ways_back: Sequence[Sequence[Any]],
    signals: Sequence[Tensor],
    teaching: Tensor,
) -> list[Tensor]:
    """The signal at the presynaptic units of each product, shaped as its input.

    Through the nonlinearity that the input comes from. The first site's inputs have none; there it
    is weighted by `1 - exp(-10 |x|)`, so that silent inputs receive nothing (Shervani-Tabar &
    Rosenbaum 2023, eq. 24).
    """
    first, found = products[0].site, []
    for product, signal, way in zip(products, signals, ways_back, strict=True):
        site, x = product.site, product.x
        if rule.pathway.direct:
            shape = network.shape_of[site]
            like = product.examples_first(x)
            arrived = rule.pathway.sent(teaching, feedback[site], shape, like)
            arrived = product.examples_first(arrived)
        else:
            carrier = rule.pathway.carrier(weights[site], feedback.get(site, weights[site]))
            arrived = product.carry(signal, carrier, x)
        for func, given, rest, named in way:
            arrived = pulled(func, given, rest, named, arrived)
        arrived = arrived.reshape(x.shape)
        found.append(arrived * -torch.expm1(-10 * x.abs()) if site == first else arrived)
    return found
