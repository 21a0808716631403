"""Large changes in the loop that computes them, where it is known before that they are finite.

A rule with traces reads and writes four numbers a synapse: its weight, its feedback and two traces.
Computed first and written when all is known to be finite, each is read and written twice, and one
example at a time that is what a step costs. Here one loop reads each once and writes it where it
is. What the loop reads else is small: activities, signals, rates. From bounds of these, and of the
traces, follows that every change is finite and that the traces stay within theirs (`BOXES`), which
is found out once, when the program is made. A step looks at the small parts alone; where one is
larger than was assumed, it goes the long way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, fx

from metaplastic.online.compiled.terms import parts_of
from metaplastic.traced.bounds import BOUNDED, Bounds, bounds_of
from metaplastic.traced.cut import Run, program
from metaplastic.traced.machine_code import machine_code
from metaplastic.traced.prepared import FEW, columns_of

aten = torch.ops.aten
LARGE = 16384  # entries of a tensor that is worth it
WIDE = 4096  # entries, from which a norm is better computed by itself
SIGNALS = (1e8, 1e6, 1e4)  # the largest norm of what a loop reads of a pass; the first that will do
RATES = 1e3  # the largest rate
BOXES = (1e3, 1e5)  # traces within so many times what one step from 0 makes of them
STEPS = (0.0, 2.0**53)


class InPlace:
    """The program that computes and writes large changes, and when it may run.

    Args:
        graph: of the whole step.
        after: input -> the node that is its value after the step.
        checked: inputs whose changes must be finite.
        traces, rates, step: which of the inputs are traces, rates and the count of steps.

    Attributes:
        targets: the inputs that it writes; none where that is not known to be safe.
        reads: nodes that it needs of the rest of the graph.
        sizes: one that has the squared norms of the small ones among them, if there are any.
    """

    def __init__(
        self, graph: fx.Graph, after: Mapping[fx.Node, fx.Node], checked: Collection[fx.Node],
        traces: Sequence[fx.Node], rates: Sequence[fx.Node], step: fx.Node,
    ) -> None:  # fmt: skip
        changed = [node for node, end in after.items() if end is not node]
        large = any(_size(node) >= LARGE for node in changed)
        self.targets = changed if large else []
        self.after = {target: after[target] for target in self.targets}
        self.traces = [node for node in self.targets if node in traces]
        self.checked = [node for node in self.targets if node in checked]
        self.step, self.rates = step, list(rates)
        self.body = _loop(graph, list(self.after.values()))
        others = {arg for node in self.body for arg in node.all_input_nodes} - set(self.body)
        others |= set(self.after.values()) - set(self.body)
        self.inputs = [n for n in (step, *self.rates) if n in others]
        self.reads = [n for n in graph.nodes if n in others - {*self.inputs, *self.targets}]
        floats = all(n.meta["val"].dtype.is_floating_point for n in self.reads)
        if not (floats and self._pays() and self._is_safe()):
            self.targets, self.reads = [], []
        small = [node for node in self.reads if _size(node) < WIDE]
        self.wide = [i for i, node in enumerate(self.reads) if _size(node) >= WIDE]
        self.sizes = [_sizes(graph, small)] if small else []

    def _pays(self) -> bool:
        """Whether more is written than there are products, each of which is added to one matrix.

        A product of many rows is best computed where it is added (`Writes`).
        """
        shapes = {node.meta["val"].shape for node in self.targets if _size(node) >= LARGE}
        products = [n for n in self.reads if n.target is aten.mm.default and _shape(n) in shapes]
        return len(products) < sum(_size(node) >= LARGE for node in self.targets)

    def _is_safe(self) -> bool:
        """Whether the changes are finite and the traces stay where they are, given bounds."""
        for self.largest in SIGNALS:
            known = {self.step: STEPS, **dict.fromkeys(self.rates, (-RATES, RATES))}
            known |= dict.fromkeys(self.reads, (-self.largest, self.largest))
            start = bounds_of(self.body, known | dict.fromkeys(self.traces, (0.0, 0.0)))
            if not all(self.after[trace] in start for trace in self.traces):
                continue
            for times in BOXES:
                self.box = {t: _wider(start[self.after[t]], times) for t in self.traces}
                found = bounds_of(self.body, known | self.box)
                stay = all(_within(found.get(self.after[t]), self.box[t]) for t in self.traces)
                if stay and all(self._change_is_finite(target, found) for target in self.checked):
                    return True
        return False

    def _change_is_finite(self, target: fx.Node, found: Mapping[fx.Node, Bounds]) -> bool:
        parts = parts_of(self.after[target], target)
        return parts is not None and all(part in found for part in parts)

    @property
    def ends(self) -> list[fx.Node]:
        """What it needs of the rest of the graph."""
        return [*self.sizes, *self.reads]

    def make(self, tensors: Mapping[fx.Node, Tensor], read: Sequence[Tensor]) -> bool:
        """Make machine code of the loop, for these inputs; False where there is none."""
        memory = {tensors[target].untyped_storage().data_ptr() for target in self.targets}
        if len(memory) < len(self.targets):
            return False
        made = program(self.body, [*self.targets, *self.inputs, *self.reads], [], self.after)
        copies = [tensors[node].clone() for node in (*self.targets, *self.inputs)]
        self.run: Run = machine_code(made, [*copies, *read])
        return self.run is not made

    def bind(self, tensors: Mapping[fx.Node, Tensor]) -> None:
        """Which tensors the inputs are."""
        self.bound = [tensors[node] for node in (*self.targets, *self.inputs)]
        self.held = [tensors[trace] for trace in self.traces]
        self.seen: list[object] = []
        rates = [tensors[rate] for rate in self.rates]
        self.rates_fit = all(bool((rate.abs() <= RATES).all()) for rate in rates)

    def learned(self, found: Sequence[Tensor]) -> bool:
        """Compute the changes of `ends` and write them, if all is as small as was assumed."""
        sizes, read = found[: len(self.sizes)], found[len(self.sizes) :]
        squares = [square for each in sizes for square in each.tolist()]
        squares += [_square(read[i]).item() for i in self.wide]
        if not all(square <= self.largest**2 for square in squares):  # nor NaN
            return False
        if not (self.rates_fit and (self._versions() == self.seen or self._traces_fit())):
            return False
        self.run(*self.bound, *read)
        self.seen = self._versions()
        return True

    def _versions(self) -> list[object]:
        """By which it is seen that somebody else wrote a trace."""
        return [(trace._version, trace.data_ptr()) for trace in self.held]

    def _traces_fit(self) -> bool:
        ends = [torch.stack(torch.aminmax(trace)).tolist() for trace in self.held]
        boxes = [self.box[trace] for trace in self.traces]
        return all(
            box[0] <= low and high <= box[1] for (low, high), box in zip(ends, boxes, strict=True)
        )


def _loop(graph: fx.Graph, ends: Sequence[fx.Node]) -> list[fx.Node]:
    """What is computed entry by entry on the way to `ends`, in order."""
    found, waiting = set[fx.Node](), list(ends)
    while waiting:
        node = waiting.pop()
        if node not in found and _is_inside(node):
            found.add(node)
            waiting += node.all_input_nodes
    return [node for node in graph.nodes if node in found]


def _is_inside(node: fx.Node) -> bool:
    """Whether the loop computes a node, entry by entry."""
    if node.target is aten.mm.default:
        return 0 < columns_of(node) <= FEW
    return node.target in BOUNDED


def _sizes(graph: fx.Graph, nodes: Sequence[fx.Node]) -> fx.Node:
    """A node with the squared norms of these."""
    end = next(node for node in reversed(graph.nodes) if node.op == "output")
    with graph.inserting_before(end):
        squares = [graph.call_function(aten.mul.Tensor, (node, node)) for node in nodes]
        sums = [graph.call_function(aten.sum.default, (square,)) for square in squares]
        return graph.call_function(aten.stack.default, (sums,))


def _square(tensor: Tensor) -> Tensor:
    """The squared norm, in half the time that PyTorch's norm takes."""
    if tensor.numel() == tensor.untyped_storage().nbytes() // tensor.element_size():
        flat = tensor.as_strided((tensor.numel(),), (1,), 0)  # in whatever order
    else:
        flat = tensor.reshape(-1)
    return torch.dot(flat, flat)


def _shape(node: fx.Node) -> torch.Size | None:
    value = node.meta.get("val")
    return value.shape if isinstance(value, Tensor) else None


def _size(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.numel() if isinstance(value, Tensor) else 0


def _wider(bounds: Bounds, times: float) -> Bounds:
    return times * bounds[0], times * bounds[1]


def _within(inner: Bounds | None, outer: Bounds) -> bool:
    """With room for rounding."""
    return inner is not None and outer[0] * 0.999 <= inner[0] and inner[1] <= outer[1] * 0.999
