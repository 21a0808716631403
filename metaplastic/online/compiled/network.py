"""A model whose forward pass was recorded as a graph of functions, and its step as one function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.passes import first_pass
from metaplastic.inner.state import State
from metaplastic.inner.step import taught
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.products import Products


class RecordedNetwork(PlasticNetwork):
    """A model in the form of a graph, of which parameters and buffers are inputs."""

    graph: fx.GraphModule
    roles: list[tuple[str, Any]]  # of the graph's inputs: what each is, and which
    prediction: int  # which of the outputs is learned from
    own: dict[str, Tensor]  # the buffers that it reads
    copies: dict[str, Tensor]  # the last copies of them

    def begin(self, graph: fx.GraphModule, args: Sequence[Tensor]) -> list[Tensor]:
        """Take a graph and what it was first run with; the arguments that are its inputs."""
        parameters = {id(p): name for name, p in self.module.named_parameters()}
        buffers = {id(buffer): name for name, buffer in self.module.named_buffers()}
        self.graph, self.roles, self.own = graph, [], {}
        inputs: list[Tensor] = []
        for arg in args:
            if id(arg) in parameters:
                self.roles.append(("parameter", parameters[id(arg)]))
            elif id(arg) in buffers:
                self.roles.append(("buffer", buffers[id(arg)]))
                self.own[buffers[id(arg)]] = arg
            else:
                self.roles.append(("input", len(inputs)))
                inputs.append(arg)
        return inputs

    def run(
        self, values: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Any, mode: Products
    ) -> Any:
        """The outputs of the graph."""
        held: dict[str, Any] = {"parameter": values, "buffer": buffers, "input": x}
        with mode:
            return self.graph(*[held[kind][which] for kind, which in self.roles])

    def plain(self, values: Mapping[str, Tensor], x: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the graph, leaving buffers as they are."""
        copies = self.copied_buffers()
        mode = self.mode(Products, lambda p: p.call(p.x), values, copies, self.handlers)
        return list(self.run(values, copies, x, mode))

    def predicted(self, output: Any) -> Tensor:
        """The output that is learned from."""
        found: Tensor = output[self.prediction]
        return found

    def copied_buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers that the graph reads."""
        self.copies = {name: buffer.clone() for name, buffer in self.own.items()}
        return self.copies


def whole_step(
    rule: LearningRule,
    network: RecordedNetwork,
    state: State,
    x: list[Tensor],
    buffers: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    teaching: Tensor,
    answer: Tensor,
) -> tuple[list[Tensor], dict[str, Tensor], State]:
    """One step: the outputs, the buffers after the pass, and the state after the step."""
    network.own = dict(buffers)
    follows = rule.plasticity.two_sided or not rule.plasticity.promises("ignores_post")
    tape = first_pass(network, state.weights, x, follow=follows)
    moved = network.copies
    reads = rule.plasticity.reads_answer
    after = taught(rule, network, state, x, tape, teaching, rates, answer=answer if reads else None)
    return list(tape.output), moved, after


def fresh(like: Tensor) -> Tensor:
    """A tensor of this shape in the usual memory layout."""
    return torch.zeros(like.shape, dtype=like.dtype, device=like.device)


def state_of(given: dict[str, Tensor]) -> State:
    """The state of a lifetime, from the named inputs of a step."""
    return State(
        part_of(given, "parameter "), part_of(given, "feedback "), part_of(given, "trace "),
        given["step"], given["seed"],
    )  # fmt: skip


def part_of(given: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The inputs whose name begins so, by the rest of it."""
    return {n.removeprefix(prefix): v for n, v in given.items() if n.startswith(prefix)}
