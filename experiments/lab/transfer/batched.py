"""Many lifetimes of one architecture at a time: the inner step under `vmap`.

Each lifetime has a network with weights of its own. Everything in the network learns, norms and
biases too, as in a `PlasticModule`, of which this is the same step (`tests/online/test_one_step.py`
and `tests/experiments/lab/test_batched.py`), several times faster than one lifetime after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaplastic import CrossEntropy, LearningRule
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.state import State, initial_state
from metaplastic.inner.step import step
from metaplastic.inner.teacher import ObjectiveTeacher
from metaplastic.sites.survey import find_sites

Written = Callable[[PlasticNetwork, dict[str, Tensor], dict[str, Tensor]], dict[str, Tensor]]
MakeNetwork = Callable[[int], nn.Module]
"""A network with the weights that a seed determines."""


@dataclass(frozen=True)
class Lifetimes:
    """Streams of single examples, and queries: `lifetimes steps *input`, `lifetimes queries ...`.

    `seeds` determine initial weights, feedback and noise, one a lifetime.
    """

    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor
    seeds: list[int]
    outputs: int


@torch.no_grad()
@sdpa_kernel(SDPBackend.MATH)  # other implementations of attention warn where tasks are batched
def accuracies(
    rule: LearningRule,
    make: MakeNetwork,
    lifetimes: Lifetimes,
    marks: Sequence[int],
    *,
    written: Written | None = None,
    seen: Callable[[State, PlasticNetwork], None] | None = None,
) -> Tensor:
    """Accuracy on the queries after each of these numbers of examples: `lifetimes marks`.

    An output that is not finite is wrong.

    Args:
        rule: not attached to any network yet.
        marks: in order, none beyond the number of steps.
        written: what becomes of a state, all of which would be exact, given the one before it.
        seen: is shown the state at each mark.
    """
    networks = [make(seed) for seed in lifetimes.seeds]
    like = networks[0]
    found = find_sites(like, lifetimes.x[0, :1])
    of_sites = {name for site in found.names for name in found.parameters[site]} | set(found.biases)
    others = [name for name, _ in like.named_parameters() if name not in of_sites]
    teacher = ObjectiveTeacher(CrossEntropy(lifetimes.outputs))
    network = PlasticNetwork(like, found, teacher, others=others)
    rule.attach(network.shapes, lifetimes.outputs)
    rates = rule.coefficients(network.shapes, 1)
    weights, _ = stack_module_state(networks)
    seeds = torch.tensor(lifetimes.seeds, dtype=torch.int64)

    def first(seed: Tensor, own: dict[str, Tensor]) -> dict[str, Tensor]:
        return initial_state(rule, network, seed, own).flat()

    def predict(flat: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = functional_call(like, State.of_flat(flat).weights, (x,))
        return out

    flat = torch.vmap(first)(seeds, {name: w.detach() for name, w in weights.items()})
    answers = []
    for number in range(lifetimes.x.shape[1] + 1):
        if number in marks:
            logits = torch.vmap(predict)(flat, lifetimes.query_x)
            right = (logits.argmax(-1) == lifetimes.query_y) & logits.isfinite().all(-1)
            answers.append(right.double().mean(1))
            if seen is not None:
                seen(State.of_flat(flat), network)
        if number == marks[-1]:
            break

        def onwards(
            flat: dict[str, Tensor], x: Tensor, y: Tensor, number: int = number
        ) -> dict[str, Tensor]:
            state = State.of_flat(flat)
            after, _ = step(rule, network, state, x, y, number=number, rates=rates)
            return after.flat()

        x, y = lifetimes.x[:, number, None], lifetimes.y[:, number, None]
        after = torch.vmap(onwards, randomness="different")(flat, x, y)
        flat = after if written is None else written(network, flat, after)
    return torch.stack(answers, 1)
