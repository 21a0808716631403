"""One pass of a model that is to learn: its products, the signals at them, and the changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metaplastic.inner.changes import Changes, Signals, changes_of
from metaplastic.inner.step import leveled, presynaptic
from metaplastic.online.credit import Credit
from metaplastic.online.memory import Memory
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.activity import FOLLOW, Followed
from metaplastic.sites.names import bare
from metaplastic.sites.products import Handler, Product, Products
from metaplastic.sites.reroute import runnable


class _Site(torch.autograd.Function):
    """A product's output, which depends on its input by a pullback that keeps the signal."""

    @staticmethod
    def forward(
        ctx: Any, out: Tensor, x: Tensor, probe: Tensor, received: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.received, ctx.carries = received, x.requires_grad
        ctx.mark_dirty(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[None, Tensor | None, None, None]:
        return None, ctx.received(signal, ctx.carries), None, None


class Watched:
    """A pass, and what it takes to learn from it."""

    def __init__(
        self,
        credit: Credit,
        memory: Memory,
        model: nn.Module,
        handlers: Mapping[Any, Handler],
    ) -> None:
        self.credit, self.memory, self.model = credit, memory, model
        self.products: list[Product] = []
        self.received: list[Tensor | None] = []
        self.versions: list[int] = []
        self.probe = torch.zeros((), requires_grad=True)
        self.carry = credit.carrier(model)
        plasticity = credit.rule.plasticity
        self.follows = plasticity.two_sided or not plasticity.promises("ignores_post")
        kind: type[Products] = Followed if self.follows else Products
        handlers = {**handlers, **(FOLLOW if self.follows else {})}
        self.mode = memory.network.mode(kind, self._at, {}, {}, handlers)

    def run(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The model's output."""
        with self.mode:
            return runnable(model)(*args, **kwargs)

    def _at(self, product: Product) -> Tensor:
        number, x = product.number, product.x
        self.products.append(product)
        self.received.append(None)
        if not torch.is_grad_enabled():
            self.versions.append(x._version)
            return product.call(x)
        like = x.detach()
        with torch.no_grad():
            out = product.call(like)
            if out._is_view():
                out = out.clone()  # a view without a graph may not be written over

        def received(signal: Tensor, carries: bool) -> Tensor | None:
            self.received[number] = signal
            if not carries:
                return None
            if self.carry is None:
                return product.carry(signal, product.whole.detach().to(signal.dtype), like)
            return self.carry(product, signal, like)

        through: Any = _Site.apply
        made: Tensor = through(out, x, self.probe, received)
        product.x = like
        self.versions.append(x._version)
        return made

    def check_inputs(self) -> None:
        """Raise RuntimeError if an input was written over after it was used."""
        for product, version in zip(self.products, self.versions, strict=True):
            if product.x._version != version:
                raise RuntimeError(
                    f"The input of site {product.site!r} was written over after it was used, so "
                    "what its synapses saw is lost; use operations that are not in place."
                )

    def signals(self, prediction: Tensor, teaching: Tensor) -> dict[str, Tensor]:
        """Send the teaching back; what other parameters get of it."""
        own = dict(bare(self.model).named_parameters())
        others = [name for name in self.memory.network.others if own[name].requires_grad]
        moves = self.credit.rule.plasticity.moves_others
        leaves = [own[name] for name in others] if moves else []
        self.credit._errors = teaching
        try:
            found = torch.autograd.grad(
                prediction, [self.probe, *leaves], teaching, allow_unused=True,
                retain_graph=bool(self.memory.network.computed),
            )  # fmt: skip
        finally:
            self.credit._errors = None
        pushes = dict(zip(others, found[1:], strict=False))
        return {name: torch.zeros_like(own[name]) if g is None else g for name, g in pushes.items()}

    def changes(
        self,
        rule: LearningRule,
        memory: Memory,
        pushes: dict[str, Tensor],
        teaching: Tensor,
        answer: Callable[[], Tensor],
    ) -> Changes:
        """What every parameter of the model changes by, and the traces after it."""
        network = memory.network
        used = [p for p in self.products if self.received[p.number] is not None]
        signals: list[Tensor] = [self.received[p.number] for p in used]  # type: ignore[misc]
        if rule.pathway.level:
            signals = [leveled(p, s, teaching) for p, s in zip(used, signals, strict=True)]
        activity: list[Tensor] = []
        back: list[Tensor] = []
        if isinstance(self.mode, Followed):
            activity = [self.mode.activity[p.number].detach() for p in used]
            if rule.plasticity.reads_answer:
                shown = self.mode.activity[used[-1].number]
                if shown.shape == teaching.shape:
                    activity[-1] = answer()
            if rule.plasticity.two_sided:
                ways = [self.mode.way_back(self.mode.kept_input[p.number]) for p in used]
                back = presynaptic(
                    rule, network, self._weights(), self._feedback(), used, ways, signals, teaching
                )
        values = self._values(used)
        seen = Signals(used, signals, activity, back, pushes, len(teaching))
        rates = rule.coefficients(network.shapes, len(teaching))
        traces = memory.traces(self.credit)
        done = changes_of(rule, network, values, traces, memory.step + 1, rates, seen)
        self._into_parameters(done, values)
        return done

    def _weights(self) -> dict[str, Tensor]:
        return {site: self.credit.weight(site, self.model).detach() for site in self.credit.shapes}

    def _feedback(self) -> dict[str, Tensor]:
        held = self.credit.held
        return {} if held is None else {site: held.of(site) for site in held.names}

    def _values(self, used: list[Product]) -> dict[str, Tensor]:
        """Parameters, and weights that are computed from several, by the names they learn under."""
        values: dict[str, Tensor] = dict(bare(self.model).named_parameters())
        for product in used:
            name = self.memory.network.parameter(product.site)
            if name in self.memory.network.computed:
                values[name] = product.whole
        return values

    def _into_parameters(self, done: Changes, values: Mapping[str, Tensor]) -> None:
        """A change of a computed weight becomes one of the parameters that it is computed from."""
        own = dict(bare(self.model).named_parameters())
        for name, site in self.memory.network.computed.items():
            if name not in done.weights:
                continue
            change = done.weights.pop(name)
            parameters = [p for p in self.credit.found.parameters[site] if own[p].requires_grad]
            parts = torch.autograd.grad(
                values[name], [own[p] for p in parameters], change, allow_unused=True,
                retain_graph=True,
            )  # fmt: skip
            for parameter, part in zip(parameters, parts, strict=True):
                if part is not None:
                    had = done.weights.get(parameter)
                    done.weights[parameter] = part if had is None else had + part
