"""The pass and the step of one model for one form of its inputs, as straight-line programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from metaplastic.online.compiled.in_place import InPlace
from metaplastic.online.compiled.network import (
    RecordedNetwork,
    fresh,
    part_of,
    state_of,
    whole_step,
)
from metaplastic.online.compiled.writes import Writes
from metaplastic.online.credit import Credit
from metaplastic.online.losses import refuse
from metaplastic.online.memory import Memory, network_of
from metaplastic.online.norms import Norms, norm_handlers
from metaplastic.online.plan import Plan
from metaplastic.traced.cut import Run, cut, needed
from metaplastic.traced.machine_code import machine_code
from metaplastic.traced.trace import CannotTraceError, traced


class Form:
    """One form of inputs: called as its graph is, then learned from."""

    def __init__(
        self, graph: fx.GraphModule, credit: Credit, memory: Memory, plan: Plan, model: nn.Module,
        norms: Norms, machine_code: bool,
    ) -> None:  # fmt: skip
        self.credit, self.memory, self.plan, self.graph = credit, memory, plan, graph
        self.network = network_of(credit, model, RecordedNetwork)
        self.network.handlers = norm_handlers(norms)
        self.ready, self.machine_code = False, machine_code
        self.short: Run | None = None
        self.x: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def __call__(self, *args: Tensor) -> list[Tensor]:
        """The outputs of the model, from the arguments of its graph."""
        if not self.ready:
            self.x = [x.detach() for x in self.network.begin(self.graph, args)]
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self.outputs = self.network.plain(dict(self.plan.named), self.x)
            return self.outputs
        self.x = [args[i].detach() for i in self.places]
        return self._begin()

    def _begin(self) -> list[Tensor]:
        for name, x in zip(self.x_names, self.x, strict=True):
            self.inputs[name] = x
        values = self.inputs
        found, self.kept = self.halves.begin([values[name] for name in self.early])
        returned = len(found) - len(self.moved)
        for buffer, moved in zip(self.moved, found[returned:], strict=True):
            buffer.copy_(moved)
        self.outputs = found[:returned]
        watched = {id(value) for value in self.kept}
        seen = [*self.x, *(output for output in self.outputs if id(output) in watched)]
        self.versions = [(tensor, tensor._version) for tensor in seen]
        return self.outputs

    @torch.no_grad()
    def trace(self, prediction: Tensor) -> None:
        """Make the programs, once it is known which output is learned from, and run the first.

        Raises:
            CannotTraceError: where there is no straight-line program.
        """
        where = [i for i, output in enumerate(self.outputs) if output is prediction]
        if not where:
            raise CannotTraceError("what is learned from is no output of the model's graph")
        self.network.prediction = where[0]
        inputs = self._inputs(prediction)
        names = list(inputs)

        def joint(flat: list[Tensor]) -> list[Tensor]:
            given = dict(zip(names, flat, strict=True))
            outputs, buffers, after = whole_step(
                self.credit.rule, self.network, state_of(given),
                [given[n] for n in self.x_names], part_of(given, "buffer "),
                part_of(given, "rate "),
                given["teaching"], given["answer"],
            )  # fmt: skip
            changed = {  # feedback reads weights, and so is written before them
                **{f"feedback {n}": v for n, v in after.feedback.items()},
                **{f"parameter {n}": v for n, v in after.weights.items()},
                **{f"trace {n}": v for n, v in after.traces.items()},
            }
            self.changed, self.buffers = list(changed), list(buffers)
            return [*outputs, *buffers.values(), *changed.values()]

        with torch.random.fork_rng(devices=[]):
            graph, constants = traced(joint, list(inputs.values()))
        self._cut(graph, inputs, constants)
        if self.machine_code:
            self._make_machine_code()
        self.ready = True
        self._begin()

    def _make_machine_code(self) -> None:
        halves, early = self.halves, [self.inputs[name] for name in self.early]
        first = machine_code(halves.first, early)
        given = [*first(*early)[halves.outputs :], *(self.inputs[name] for name in self.late)]
        halves.first = first
        if self.in_place.targets:
            short = machine_code(halves.other(self.in_place.ends), given)
            if self.in_place.make(self.bound, short(*given)[len(self.in_place.sizes) :]):
                self.short = short
                return
        halves.second = machine_code(halves.second, given)

    def _inputs(self, prediction: Tensor) -> dict[str, Tensor]:
        """Every input of the joint function, by name."""
        credit, memory, network = self.credit, self.memory, self.network
        self.x_names = [f"x {i}" for i in range(len(self.x))]
        self.places = [i for i, (kind, _) in enumerate(network.roles) if kind == "input"]
        rates = self.plan.rates(credit, network, len(prediction))
        held = {} if credit.held is None else {n: credit.held.of(n) for n in credit.held.names}
        zero = torch.zeros_like(memory.step)
        seed = zero if credit.held is None else credit.held.seed
        return {
            **dict(zip(self.x_names, self.x, strict=True)),
            **{f"buffer {name}": buffer for name, buffer in network.own.items()},
            **{f"parameter {name}": p.detach() for name, p in self.plan.named.items()},
            **{f"feedback {name}": value for name, value in held.items()},
            **{f"trace {name}": value for name, value in memory.traces(credit).items()},
            "step": memory.step, "seed": seed,
            **{f"rate {name}": rate for name, rate in rates.items()},
            "teaching": fresh(prediction), "answer": fresh(prediction),
        }  # fmt: skip

    def _cut(self, graph: fx.Graph, inputs: dict[str, Tensor], constants: list[Tensor]) -> None:
        """The graph in two, with what is written in place at its end."""
        every = {**inputs, **{f"constant {i}": c for i, c in enumerate(constants)}}
        nodes = dict(zip(every, (n for n in graph.nodes if n.op == "placeholder"), strict=True))
        (returned,) = next(n for n in graph.nodes if n.op == "output").args
        outputs = list(returned[: len(self.outputs)])
        moved = returned[len(outputs) :][: len(self.buffers)]
        after = returned[len(outputs) + len(moved) :]
        pairs = [
            (name, node) for name, node in zip(self.buffers, moved, strict=True)
            if node is not nodes[f"buffer {name}"]
        ]  # fmt: skip
        self.moved = [inputs[f"buffer {name}"] for name, _ in pairs]
        named = {nodes[name]: node for name, node in zip(self.changed, after, strict=True)}
        learned = [*self.network.learned, *self.network.others]
        checked = {
            nodes[f"parameter {n}"]: self.network.site_of.get(n, n.removesuffix(".bias"))
            for n in learned
        }
        self.rate_nodes = {n.removeprefix("rate "): nodes[n] for n in every if n[:5] == "rate "}
        traces = [node for name, node in nodes.items() if name.startswith("trace ")]
        self.writes = Writes(
            named, checked, list(self.rate_nodes.values()),
            replaced=traces, shown=needed([*outputs, *moved]), sizes=self.machine_code,
        )  # fmt: skip
        self.in_place = InPlace(
            graph, named if self.machine_code else {}, checked, traces,
            list(self.rate_nodes.values()), nodes["step"],
        )  # fmt: skip
        self.bound = {node: every[name] for name, node in nodes.items()}
        self.rates: object = None
        # A statistic moves in the pass, and the step means what it was.
        before = [_before(graph, nodes[f"buffer {name}"]) for name, _ in pairs]
        ends = [*outputs, *(node for _, node in pairs)]
        then = [*self.writes.needed, *self.in_place.ends]
        self.halves = cut(graph, ends, list(dict.fromkeys(then)), before)
        self.halves.second = self.halves.other(self.writes.needed)
        names = list(every)
        self.early = [names[i] for i in self.halves.early]
        self.late = [names[i] for i in self.halves.late]
        if "teaching" in self.early or "answer" in self.early:
            raise CannotTraceError("its output depends on its target")
        held = self.credit.held
        self.steps = [self.memory.step] if held is None else [self.memory.step, held.step]
        self.inputs = every

    def check_inputs(self) -> None:
        """Raise RuntimeError if something that the step needs was written over."""
        if any(tensor._version != version for tensor, version in self.versions):
            raise RuntimeError(
                "An input or output of the model was written over after the pass, so what its "
                "synapses received is lost; use operations that are not in place."
            )

    def learn(self, teaching: Tensor, answer: Callable[[], Tensor], loss: Tensor) -> None:
        """Change the model, the feedback and the traces by one step.

        Raises:
            FloatingPointError: if the loss or a change is not finite; nothing has changed then.
        """
        values, writes = self.inputs, self.writes
        rates = self.plan.rates(self.credit, self.network, len(teaching))
        if rates is not self.rates:
            values.update({f"rate {name}": rate for name, rate in rates.items()})
            self.bound |= {self.rate_nodes[name]: rate for name, rate in rates.items()}
            numbers = self.plan.numbers()
            writes.bind(
                self.bound, {node: numbers.get(n, 0.0) for n, node in self.rate_nodes.items()}
            )
            self.in_place.bind(self.bound)
            self.rates = rates
        values["teaching"] = teaching.contiguous()
        if "answer" in self.late:
            values["answer"] = answer().reshape(teaching.shape).contiguous()
        late = [values[name] for name in self.late]
        if not self._learned_in_place(late, loss):
            found = self.halves.end(self.kept, late)
            wrong = writes.not_finite(found, loss)
            if wrong is not None:
                refuse(wrong)
            writes.write(found)
        for step in self.steps:
            step.add_(1)

    def _learned_in_place(self, late: Sequence[Tensor], loss: Tensor) -> bool:
        """Whether the step has been made that way."""
        if self.short is None or not math.isfinite(loss.item()):
            return False
        return self.in_place.learned(self.short(*self.kept, *late))

    def clear(self) -> None:
        """Let go of the last pass."""
        self.kept, self.outputs, self.versions, self.x = [], [], [], []


def _before(graph: fx.Graph, buffer: fx.Node) -> fx.Node:
    """A copy of a buffer, read in its place by all others."""
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    with graph.inserting_after(last):
        copy = graph.call_function(torch.ops.aten.clone.default, (buffer,))
    buffer.replace_all_uses_with(copy, delete_user_cb=lambda user: user is not copy)
    return copy
