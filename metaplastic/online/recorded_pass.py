"""One pass of a model that is to learn: its products, and the signals at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.online.credit import Credit
from metaplastic.online.plan import Plan
from metaplastic.sites.activity import Followed, pulled
from metaplastic.sites.convolution import Convolution
from metaplastic.sites.network import Network
from metaplastic.sites.products import Handler, Product, Products
from metaplastic.sites.reroute import runnable


class _Site(torch.autograd.Function):
    """A product's output, which depends on its input by a pullback that keeps the signal."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, probe: Tensor, received: Any) -> Tensor:
        ctx.received, ctx.carries = received, x.requires_grad
        ctx.mark_dirty(out)
        return out

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[None, Tensor | None, None, None]:
        received, ctx.received = ctx.received, None
        return None, received(signal, ctx.carries), None, None


def _gone(x: Tensor) -> Tensor:
    raise RuntimeError("This product was made in a pass that is over.")


class RecordedPass:
    """A pass, and what it takes to learn from it."""

    def __init__(
        self,
        credit: Credit,
        network: Network,
        plan: Plan,
        model: nn.Module,
        handlers: Mapping[Any, Handler],
    ) -> None:
        self.credit, self.plan, self.model = credit, plan, model
        self.products: list[Product] = []
        self.received: list[Tensor | None] = []
        self.carried: list[Tensor | None] = []
        self.versions: list[int] = []
        self.errors: Tensor | None = None
        self.shown: int | None = None  # the product whose activity is the prediction
        self.carriers: dict[str, Tensor] = {}
        some = next(iter(credit.shapes.values())).weight
        self.probe = torch.zeros((), device=some.device, requires_grad=True)
        plasticity = credit.rule.plasticity
        # Convolutions give their outer product with what they carry, where it is the change.
        self.outer, self.outers = plasticity.promises("outer"), dict[int, Tensor]()
        self.follows = plasticity.two_sided or not plasticity.promises("ignores_post")
        kind: type[Products] = Followed if self.follows else Products
        if self.follows:
            handlers = plan.followed(handlers)
        self.mode = network.mode(kind, self._at, {}, {}, handlers, plan.sources)

    def clear(self) -> None:
        """Let go of the pass: its graph holds this object, which holds tensors of the graph."""
        self.products, self.received, self.carried, self.outers = [], [], [], {}
        self.mode.forget()

    def run(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The model's output."""
        with self.mode:
            return runnable(model)(*args, **kwargs)

    def _at(self, product: Product) -> Tensor:
        number, x = product.number, product.x
        self.products.append(product)
        self.received.append(None)
        self.carried.append(None)
        self.versions.append(x._version)
        if not torch.is_grad_enabled():
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
            self.carried[number] = found = self.carry(product, signal, like)
            return found

        product.call = _gone  # it holds the input with its graph
        through: Any = _Site.apply
        made: Tensor = through(out, x, self.probe, received)
        product.x = like
        return made

    def carry(self, product: Product, signal: Tensor, like: Tensor) -> Tensor:
        """What arrives at a product's input of a signal at its output."""
        pathway, held, site = self.credit.rule.pathway, self.credit.held, product.site
        if held is not None and pathway.direct:
            assert self.errors is not None
            shape, first = self.credit.shapes[site], product.examples_first(like)
            return product.examples_first(pathway.sent(self.errors, held.of(site), shape, first))
        if site not in self.carriers:
            weight = product.whole.detach()
            back = weight if held is None else held.of(site)
            back = back if back.dtype == weight.dtype else back.to(weight)
            self.carriers[site] = pathway.carrier(weight, back)
        carrier = self.carriers[site]
        if carrier.dtype != signal.dtype:
            carrier = carrier.to(signal.dtype)
        elif self.outer and self._is_plain(product):
            found = product.operation.gradients(signal, like, carrier, (True, True, False))  # type: ignore[attr-defined]
            self.outers[product.number] = found[1]
            return found[0]  # type: ignore[no-any-return]
        return product.carry(signal, carrier, like)

    @staticmethod
    def _is_plain(product: Product) -> bool:
        operation = product.operation
        return isinstance(operation, Convolution) and operation.even and not product.source.views

    def check_inputs(self) -> None:
        """Raise RuntimeError if an input was written over after it was used."""
        for product, version in zip(self.products, self.versions, strict=True):
            if product.x._version != version:
                raise RuntimeError(
                    f"The input of site {product.site!r} was written over after it was used, so "
                    "what its synapses received is lost; use operations that are not in place."
                )

    def send(self, prediction: Tensor, teaching: Tensor) -> dict[str, Tensor]:
        """Send the teaching back through the pass; what other parameters get of it."""
        moves = self.credit.rule.plasticity.moves_others
        names = self.plan.trainable if moves else []
        self.errors = teaching
        self.shown = self.mode.shown(prediction) if isinstance(self.mode, Followed) else None
        found = torch.autograd.grad(
            prediction, [self.probe, *(self.plan.named[name] for name in names)], teaching,
            allow_unused=True, retain_graph=bool(self.mode.sites),
        )  # fmt: skip
        pushes = dict(zip(names, found[1:], strict=False))
        return {name: push for name, push in pushes.items() if push is not None}

    @property
    def used(self) -> list[Product]:
        """The products that a signal came to."""
        return [p for p in self.products if self.received[p.number] is not None]

    def activity(self, used: list[Product], answer: Callable[[], Tensor]) -> list[Tensor]:
        """The activity behind each product, where the rule reads it."""
        if not isinstance(self.mode, Followed):
            return []
        found = [self.mode.activity[p.number].detach() for p in used]
        if self.credit.rule.plasticity.reads_answer and self.shown is not None:
            numbers = [p.number for p in used]
            if self.shown in numbers:
                at = numbers.index(self.shown)
                found[at] = answer().reshape(found[at].shape)
        return found

    def back(self, used: list[Product], gains: list[Tensor] | None) -> list[Tensor]:
        """What presynaptic units receive of each product, as `inner.step.presynaptic`.

        `gains` multiply the signals.
        """
        if not self.credit.rule.plasticity.two_sided:
            return []
        assert isinstance(self.mode, Followed)
        found, first, direct = [], used[0].site, self.credit.rule.pathway.direct
        for number, product in enumerate(used):
            x, arrived = product.x, self.carried[product.number]
            if arrived is None:
                signal = self.received[product.number]
                assert signal is not None
                arrived = self.carry(product, signal, x)
            if gains is not None and not direct:
                arrived = arrived * gains[number]
            for step in self.mode.way_back(self.mode.kept_input[product.number]):
                arrived = pulled(*step, arrived)
            arrived = arrived.detach().reshape(x.shape)
            found.append(
                arrived * -torch.expm1(-10 * x.abs()) if product.site == first else arrived
            )
        return found
