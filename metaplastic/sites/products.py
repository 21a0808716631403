"""Products: a mode that sees every product of an input with a plastic weight while a module runs.

Whoever computes it (`nn.Linear`, a module that owns a matrix, packed attention), the product passes
through `torch`'s function protocol. `Products` knows the weights by identity, follows views of
them, and hands each product to a function of the caller's, which returns the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metaplastic.sites.operations import Operation
from metaplastic.sites.views import View

Handler = Callable[["Products", Any, tuple[Any, ...], dict[str, Any]], Any]


class Source(NamedTuple):
    """Where a tensor comes from: a weight by its name, and the views that lead from it."""

    weight: str
    site: str | None  # None for a parameter or buffer that is no site's weight
    views: tuple[View, ...] = ()


@dataclass(slots=True)
class Product:
    """One product: its site, its operation, its input, and the call as it was made.

    `run`, `carry` and `outer` are those of the operation for weights of the shape of the site's
    own, of which the product may use a view.
    """

    number: int
    source: Source
    operation: Operation
    x: Tensor
    weight: Tensor  # as used: a view of the site's own, or that itself
    call: Callable[[Tensor], Tensor]  # the call, bias included, for another input
    bias: Source | None = None  # where the bias that the call adds comes from
    added: Tensor | None = None  # that bias
    base: Tensor | None = None  # the site's own weight, where `weight` is a view of it
    batch_axis: int = 0  # of its input: 1 within attention, which has steps first

    @property
    def site(self) -> str:
        """The name of the site whose weight it is."""
        assert self.source.site is not None
        return self.source.site

    @property
    def whole(self) -> Tensor:
        """The site's own weight."""
        return self.weight if self.base is None else self.base

    def examples_first(self, x: Tensor) -> Tensor:
        """An input with examples as the first axis; the same way back."""
        return x if self.batch_axis == 0 else x.transpose(0, self.batch_axis)

    def view(self, weight: Tensor) -> Tensor:
        """The part of a tensor, shaped as the site's weight, that this product uses."""
        for view in self.source.views:
            weight = view(weight)
        return weight

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight x`, without a bias."""
        return self.operation.run(x, self.view(weight))

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """`weight^T signal`, shaped as the input `like`."""
        return self.operation.carry(signal, self.view(weight), like)

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        """`signal x^T` over examples and positions, shaped as the site's weight `like`."""
        if not self.source.views:
            return self.operation.outer(signal, x, like)
        return self.scattered(self.operation.outer(signal, x, self.view(like)), like)

    def scattered(self, part: Tensor, like: Tensor) -> Tensor:
        """The transpose of `view`: a part put where it belongs in a tensor of the weight's shape.

        Elsewhere it is zero.
        """
        if not self.source.views:
            return part
        (found,) = torch.func.vjp(self.view, like)[1](part)
        return found  # type: ignore[no-any-return]

    def scattered_bias(self, part: Tensor, like: Tensor) -> Tensor:
        """What a packed bias gets of the part that this product adds."""
        assert self.bias is not None
        if not self.bias.views:
            return part

        def view(whole: Tensor) -> Any:
            for step in self.bias.views:  # type: ignore[union-attr]
                whole = step(whole)
            return whole

        (found,) = torch.func.vjp(view, like)[1](part)
        return found  # type: ignore[no-any-return]


class Known:
    """Parameters and buffers as a pass knows them, made once for many passes."""

    def __init__(self, held: list[tuple[Tensor, Source]]) -> None:
        self.held = held
        self.sources = {id(tensor): source for tensor, source in held}
        self.bases = {source.weight: tensor for tensor, source in held if not source.views}

    def __iter__(self) -> Iterator[tuple[Tensor, Source]]:
        return iter(self.held)


At = Callable[[Product], Tensor]


class Products(TorchFunctionMode):
    """Hands every product with a site's weight to `at` while a module runs within the mode.

    Args:
        sources: every parameter and buffer as it is used in this pass, with where it comes from.
        at: is given the product and returns its output.
        handlers: what is done with functions that concern a product; see `handlers.py`.
        sites: of weights that are computed from parameters, by the names these get.
        derived: what is done with all other functions, where there are such weights.
    """

    def __init__(
        self,
        sources: Iterable[tuple[Tensor, Source]],
        at: At,
        handlers: Mapping[Any, Handler],
        sites: Mapping[str, str] | None = None,
        derived: Handler | None = None,
    ) -> None:
        super().__init__()
        self.derived = derived
        self.sources: dict[int, Source] = {}
        self.kept: list[Any] = []  # an id is not used again while its tensor lives
        self.at, self.handlers, self.number = at, handlers, 0
        self.bases: dict[str, Tensor] = {}
        self.batch_axis = 0
        self.sites = sites or {}  # of derived weights, by the name that they are given
        if isinstance(sources, Known):
            self.sources, self.bases = sources.sources.copy(), sources.bases
            self.kept.append(sources.held)
        else:
            for tensor, source in sources:
                self.keep(tensor, source)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        handler = self.handlers.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs or {})
        if self.derived is not None:
            return self.derived(self, func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def forget(self) -> None:
        """Let go of every tensor; the mode is not used again."""
        self.kept, self.sources, self.bases = [], {}, {}

    def source(self, tensor: Any) -> Source | None:
        """Where a tensor comes from, if it is a parameter, a buffer or made of these alone."""
        return self.sources.get(id(tensor))

    def keep(self, tensor: Tensor, source: Source) -> None:
        """From now on know this tensor."""
        self.kept.append(tensor)
        self.sources[id(tensor)] = source
        if not source.views:
            self.bases[source.weight] = tensor

    def product(
        self,
        operation: Operation,
        x: Tensor,
        weight: Tensor,
        call: Callable[[Tensor], Tensor],
        bias: Any = None,
    ) -> Tensor:
        """Hand a product to `at`; its output."""
        source, number = self.sources[id(weight)], self.number
        self.number = number + 1
        known = self.sources.get(id(bias)) if bias is not None else None
        base = self.bases[source.weight] if source.views else None
        made = Product(
            number, source, operation, x, weight, call, known, bias, base, self.batch_axis
        )
        return self.at(made)
