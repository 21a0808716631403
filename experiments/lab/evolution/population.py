"""Lifetimes of a whole population of rules, on one architecture, in one loop.

The same mathematics as the inner step, for `rule_of`'s family of rules and the layers of
`random_network` alone; `tests/experiments/lab/evolution` compares them. Only the noise of the
mirror is drawn in another way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.lab.evolution.adaptation import Adaptation, LifeState, Numbers, columns
from experiments.lab.evolution.noise_mirror import mirrored
from experiments.lab.evolution.passes import Tape, pushes
from experiments.lab.evolution.rows import rows_of
from experiments.lab.transfer.batched import Lifetimes, MakeNetwork


class Population:
    """Rules that live the same lifetimes, from the same first weights.

    Args:
        rules: how many.
        rows_of_noise: of the mirror; None for backprop in its place.
        feedback: of the first step, `lifetimes numbers`, in the place of mirrored weights.
    """

    def __init__(
        self,
        make: MakeNetwork,
        lifetimes: Lifetimes,
        rules: int,
        *,
        rows_of_noise: int | None,
        feedback: Tensor | None = None,
    ) -> None:
        networks = [make(seed) for seed in lifetimes.seeds]
        self.rows = rows_of(networks[0])  # type: ignore[arg-type]
        self.rules, self.lives, self.seeds = rules, len(networks), lifetimes.seeds
        self.noise = rows_of_noise
        first = torch.stack(
            [torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks]
        )
        if feedback is None and rows_of_noise is not None:
            feedback = mirrored(first, self.rows, rows_of_noise, self.seeds, 0)
        flat, back = (None if t is None else t.repeat(rules, 1) for t in (first, feedback))
        assert flat is not None
        self.first = LifeState(flat, back, torch.zeros_like(flat), torch.zeros_like(flat))
        self.x, self.y, self.query_x, self.query_y = (
            part.repeat(rules, *[1] * (part.dim() - 1))
            for part in (lifetimes.x, lifetimes.y, lifetimes.query_x, lifetimes.query_y)
        )

    @property
    def steps(self) -> int:
        """Examples of a lifetime."""
        return self.x.shape[1]

    def adaptation(self, numbers: Numbers) -> Adaptation:
        """Plasticity with these numbers, each `rules`."""
        return Adaptation(numbers, self.lives, self.rows, self.first.flat)

    def step(
        self, state: LifeState, adapt: Adaptation, number: int, *, differentiable: bool = False
    ) -> LifeState:
        """The state after the example of this number, from 0.

        Args:
            differentiable: whether the state has a graph, back to the numbers and the state before.
        """
        rows = self.rows
        asleep = adapt.sleeping(number)
        if asleep is not None and state.back is not None and self.noise is not None:
            back = state.back.clone()
            back[asleep] = mirrored(state.flat[asleep], rows, self.noise, self.seeds, number)
            state = state._replace(back=back)
        feedback = None if state.back is None else rows.split(state.back)
        x, y = self.x[:, number, None], self.y[:, number]

        def loss(parts: list[Tensor], tape: Tape | None = None) -> Tensor:
            logits = rows.run(parts, feedback, x, tape)
            return F.cross_entropy(logits.flatten(0, 1), y, reduction="sum")

        if differentiable:
            push = torch.cat(pushes(loss, rows.split(state.flat)), 1)
            return adapt.step(state, push, number + 1)
        parts = [part.detach().requires_grad_() for part in rows.split(state.flat)]
        push = -torch.cat(torch.autograd.grad(loss(parts), parts), 1)
        with torch.no_grad():
            return adapt.step(state, push, number + 1)

    def logits(self, state: LifeState) -> Tensor:
        """Of the queries: `rules * lifetimes queries outputs`."""
        return self.rows.run(self.rows.split(state.flat), None, self.query_x)

    def query_loss(self, state: LifeState) -> Tensor:
        """Cross-entropy, `rules lifetimes`."""
        logits = self.logits(state)
        each = F.cross_entropy(logits.flatten(0, 1), self.query_y.flatten(), reduction="none")
        return each.view(len(logits), -1).mean(1).view(self.rules, self.lives)

    @torch.no_grad()
    def accuracy(self, state: LifeState) -> Tensor:
        """Of the queries, `rules lifetimes`; an output that is not finite is wrong."""
        logits = self.logits(state)
        right = (logits.argmax(-1) == self.query_y) & logits.isfinite().all(-1)
        return right.double().mean(1).view(self.rules, self.lives)


def accuracies(
    population: Sequence[Mapping[str, float]],
    make: MakeNetwork,
    lifetimes: Lifetimes,
    marks: Sequence[int],
    *,
    rows_of_noise: int | None,
) -> Tensor:
    """`rules lifetimes marks`: the accuracy of each rule after each of these numbers of examples.

    Args:
        rows_of_noise: of the mirror; None for backprop in its place.
    """
    all_rules = Population(make, lifetimes, len(population), rows_of_noise=rows_of_noise)
    adapt, state, answers = all_rules.adaptation(columns(population)), all_rules.first, []
    for number in range(marks[-1] + 1):
        if number in marks:
            answers.append(all_rules.accuracy(state))
        if number < marks[-1]:
            state = all_rules.step(state, adapt, number)
    return torch.stack(answers, 2)
