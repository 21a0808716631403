"""What a compiled step adds to weights, feedback and traces, in place.

A change that is a sum of matrix products need not exist as a matrix: each is added where it
belongs. A rate that is one number multiplies as it is added.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
from torch import Tensor, fx

from metaplastic.online.compiled.terms import Term, terms_of
from metaplastic.traced import products
from metaplastic.traced.simplify import MOVED

aten = torch.ops.aten
WIDE = 4096  # entries, from which a norm is worth a loop with what it measures
FEW = 4  # rows, up to which a product is cheaper computed twice than kept
Group = tuple[float, list[Tensor], list[int]]


class Writes:
    """In-place additions to some of a graph's inputs.

    Args:
        after: input -> the node that is its value after the step.
        checked: inputs whose additions must be finite, with the name of each for a message.
        rates: the inputs that are rates.
        replaced: inputs that may be given the memory in which the step made their value.
        shown: nodes that others see, whose memory is not given away.
        sizes: whether the graph shall compute the norms that are looked at of whole changes, for
            a compiler that reads each in the loop that makes it.
    """

    def __init__(
        self,
        after: Mapping[fx.Node, fx.Node],
        checked: Mapping[fx.Node, str],
        rates: Sequence[fx.Node],
        replaced: Collection[fx.Node] = (),
        shown: Collection[fx.Node] = (),
        sizes: bool = False,
    ) -> None:
        one_number = {rate for rate in rates if rate.meta["val"].numel() == 1}
        self.checked = dict(checked)
        self.copies: list[tuple[fx.Node, fx.Node]] = []
        sums: dict[fx.Node, list[Term]] = {}
        for target, node in after.items():
            found = None if node is target else terms_of(node, target, one_number)
            if found is not None:
                sums[target] = found
            elif node is not target:
                self.copies.append((target, node))
        self.copies = [(target, _own(node)) for target, node in self.copies]
        self.terms, waits = _in_order(sums, {after[target]: target for target in sums})
        written = set(after)
        values = [value for _, term in self.terms for value in term.values]
        self.needed = list(dict.fromkeys([*values, *(node for _, node in self.copies)]))
        place = {node: i for i, node in enumerate(self.needed)}
        self.at = [[place[value] for value in term.values] for _, term in self.terms]
        self.own = [term.values == (target,) for target, term in self.terms]
        read = {v for target, term in self.terms for v in term.values if v is not target}
        self.early = [
            i for i, (target, term) in enumerate(self.terms)
            if term.toward and target not in read and term.values[0] not in waits
        ]  # fmt: skip
        self.late = [
            i for i, (target, term) in enumerate(self.terms)
            if len(term.values) == 1 and not term.toward
            and term.values[0] not in written and target not in waits
        ]  # fmt: skip
        products = [tuple(at) for at in self.at if len(at) == 2]
        self.shared = {at for at in products if products.count(at) > 1}
        self.copied = [place[node] for _, node in self.copies]
        looked = [i for i, (target, _) in enumerate(self.terms) if target in checked]
        self.looked = [(i, self.at[i]) for i in looked]
        self.sized = list(dict.fromkeys(p for _, at in self.looked for p in at))
        whole = zip(self.copied, self.copies, strict=True)
        self.sized += [p for p, (target, _) in whole if target in checked]
        self.measured = self._measured() if sizes else {}
        self.sized = [p for p in self.sized if p not in self.measured]
        once = Counter(base_of(node) for _, node in self.copies)
        self.own_memory = [
            target in replaced and once[base_of(node)] == 1 and base_of(node) not in shown
            for target, node in self.copies
        ]

    def _measured(self) -> dict[int, int]:
        """The places of norms that the graph computes, by that of what is measured."""
        found: dict[int, int] = {}
        for p in self.sized:
            node = self.needed[p]
            if base_of(node).op == "placeholder" or node.meta["val"].numel() < WIDE:
                continue
            found[p] = len(self.needed)
            self.needed.append(_at_the_end(aten.linalg_vector_norm.default, node))
        return found

    def bind(self, tensors: Mapping[fx.Node, Tensor], rates: Mapping[fx.Node, float]) -> None:
        """Which tensors the inputs are, and the numbers that the rates are."""
        self.targets = [tensors[target] for target, _ in self.terms]
        self.copy_targets = [tensors[target] for target, _ in self.copies]
        self.scales = [
            term.number * math.prod(rates[rate] for rate in term.rates) for _, term in self.terms
        ]
        self.bounds = [torch.finfo(target.dtype).max for target in self.targets]
        self.first, self.last = self._together(self.early), self._together(self.late)
        grouped = {*self.early, *self.late}
        self.apart = [i for i in range(len(self.terms)) if i not in grouped]

    def _together(self, which: Sequence[int]) -> list[Group]:
        """Terms of one value, those of one scale together."""
        groups: dict[float, list[int]] = {}
        for i in which:
            groups.setdefault(self.scales[i], []).append(i)
        return [
            (scale, [self.targets[i] for i in own], [self.at[i][0] for i in own])
            for scale, own in groups.items()
        ]

    def not_finite(self, found: Sequence[Tensor], loss: Tensor) -> str | None:
        """The name of what is not finite, or would not be; "" for the loss; None if all is.

        An entry of a product is at most the product of the norms.
        """
        norms = list(torch._foreach_norm([found[p] for p in self.sized])) if self.sized else []
        norms += [found[p] for p in self.measured.values()]
        looked = [loss.reshape(()), *norms]
        if any(one.dtype != loss.dtype for one in norms):
            looked = [one.double() for one in looked]
        whole, *sizes = torch.stack(looked).tolist()
        if not math.isfinite(whole):
            return ""
        size = dict(zip([*self.sized, *self.measured], sizes, strict=True))
        for i, at in self.looked:
            bound = abs(self.scales[i])
            for p in at:
                bound *= size[p]
            if not bound <= self.bounds[i]:
                return self.checked[self.terms[i][0]]
        for (target, _), p in zip(self.copies, self.copied, strict=True):
            if target in self.checked and not math.isfinite(size[p]):
                return self.checked[target]
        return None

    def write(self, found: Sequence[Tensor]) -> None:
        """Add everything."""
        for scale, targets, places in self.first:
            torch._foreach_lerp_(targets, [found[p] for p in places], scale)
        kept: dict[tuple[int, ...], Tensor] = {}
        for i in self.apart:
            target, scale, at = self.targets[i], self.scales[i], self.at[i]
            value = found[at[0]]
            if len(at) == 2:
                if value.shape[1] == 1:  # one row: a third faster so
                    target.addcmul_(value, found[at[1]], value=scale)
                elif value.shape[1] > FEW and (pair := tuple(at)) in self.shared:
                    if pair not in kept:
                        kept[pair] = products.best(value, found[at[1]])
                    target.add_(kept[pair], alpha=scale)
                else:
                    products.add(target, value, found[at[1]], scale)
            elif self.terms[i][1].toward:
                target.lerp_(value, scale)
            elif self.own[i]:
                target.mul_(1 + scale)
            else:
                target.add_(value, alpha=scale)
        for scale, targets, places in self.last:
            torch._foreach_add_(targets, [found[p] for p in places], alpha=scale)
        for target, p, own in zip(self.copy_targets, self.copied, self.own_memory, strict=True):
            value = found[p]
            if own and _alike(value, target):
                target.set_(value)  # type: ignore[call-overload]
            else:
                target.copy_(value)


def _alike(value: Tensor, target: Tensor) -> bool:
    """Whether a value fills memory of its own, laid out as the target's, which nobody shares."""
    return (
        value.stride() == target.stride()
        and value.untyped_storage().nbytes() == target.untyped_storage().nbytes()
        and not target.untyped_storage().is_shared()
    )


def base_of(node: fx.Node) -> fx.Node:
    """What a node is a view of; itself, if it is none."""
    while node.target in MOVED:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _own(node: fx.Node) -> fx.Node:
    """The node, or a copy of it where it shows an input, which may be written over before."""
    if base_of(node).op != "placeholder":
        return node
    return _at_the_end(aten.clone.default, node)


def _at_the_end(operation: Any, node: fx.Node) -> fx.Node:
    """An operation on a node, behind all others of its graph."""
    end = next(other for other in reversed(node.graph.nodes) if other.op == "output")
    with node.graph.inserting_before(end):
        return node.graph.call_function(operation, (node,))


def _in_order(
    sums: Mapping[fx.Node, list[Term]], live: Mapping[fx.Node, fx.Node]
) -> tuple[list[tuple[fx.Node, Term]], set[fx.Node]]:
    """The terms in an order in which each reads what it means, and targets that are read late.

    A term that reads another target comes before that changes. One that reads its value after the
    step comes after, and reads the target itself. Where that is a circle, copies are read.
    """
    before: dict[fx.Node, set[fx.Node]] = {target: set() for target in sums}
    renewed: dict[fx.Node, list[Term]] = {}
    waits: set[fx.Node] = set()
    for target, terms in sums.items():
        renewed[target] = []
        for term in terms:
            for value in term.values:
                if value in live and live[value] is not target:
                    before[target].add(live[value])
                    waits.add(live[value])
                elif value in sums and value is not target:
                    before[value].add(target)
            values = tuple(live.get(value, value) for value in term.values)
            renewed[target].append(replace(term, values=values))
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:
        order, waits = list(sums), set()
        renewed = {t: [_copied(t, term, sums) for term in terms] for t, terms in sums.items()}
    return [(target, term) for target in order for term in renewed[target]], waits


def _copied(target: fx.Node, term: Term, sums: Mapping[fx.Node, object]) -> Term:
    """The term, reading copies of other targets, made before anything is written."""
    values = tuple(_own(v) if v in sums and v is not target else v for v in term.values)
    return replace(term, values=values)
