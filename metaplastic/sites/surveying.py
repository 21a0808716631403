"""The mode that a survey runs a module in: it sees every function, and what weights are made of."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from metaplastic.sites.found import ProductInfo, Sites
from metaplastic.sites.handlers import HANDLERS, OPAQUE, PRODUCTS
from metaplastic.sites.names import derived_site
from metaplastic.sites.outputs import tensors_in
from metaplastic.sites.products import Handler, Product, Products, Source
from metaplastic.sites.views import VIEWS

HARMLESS = frozenset(
    {
        "embedding", "embedding_bag", "add", "add_", "sub", "rsub",
        "mul", "mul_", "div", "cat", "stack", "concat",
        "where", "expand", "expand_as", "repeat", "layer_norm", "group_norm",
        "batch_norm", "instance_norm", "rms_norm", "native_layer_norm", "__add__", "__radd__",
        "__iadd__", "__mul__", "__rmul__", "__imul__", "__sub__", "__rsub__",
        "__truediv__", "__rtruediv__", "index_select", "gather", "lerp", "addcmul",
        "broadcast_tensors", "broadcast_to", "roll", "prelu", "interpolate", "pad",
        "__setitem__", "copy_", "to", "type", "type_as", "float",
        "double", "half", "bfloat16", "size", "dim", "numel",
        "stride", "is_contiguous",
    }
)  # fmt: skip
"""Functions through which an error reaches no other unit by way of a weight's transpose."""


MULTIPLY = frozenset({"mul", "__mul__", "__rmul__"})


def _repeats_input(given: list[Tensor], sources: list[Source | None], out: Any) -> bool:
    """Whether an input is multiplied by several entries of a weight, as in `(x * w).sum(-1)`.

    Then an error reaches the input through the weight, unlike through a gain.
    """
    inputs = [x for x, source in zip(given, sources, strict=True) if source is None]
    weights = [w for w, source in zip(given, sources, strict=True) if source is not None]
    repeated = any(x.requires_grad and 1 < x.numel() < out.numel() for x in inputs)
    return repeated and any(w.dim() > 1 for w in weights)


class Survey(Products):
    """Sees every function: what weights are made of, and where one enters anything unknown."""

    def __init__(self, sources: list[tuple[Tensor, Source]], found: Sites) -> None:
        super().__init__(sources, self._record, HANDLERS)
        self.found, self.uses = found, dict[str, set[str]]()
        self.blocked: set[str] = set()  # sites used under no_grad

    def _record(self, product: Product) -> Tensor:
        out = product.call(product.x)
        source, found = product.source, self.found
        if "#" in source.weight and source.weight not in found.derived:
            if any(site == product.site for site in found.derived.values()):
                # Another weight that is computed from the same parameters.
                count = sum(site.split(" #")[0] == product.site for site in found.likes)
                source = source._replace(site=f"{product.site} #{count + 1}")
                product.source = source
            found.derived[source.weight] = product.site
        elif "#" in source.weight:
            product.source = source = source._replace(site=found.derived[source.weight])
        if product.x.dim() < 2 and product.x.dim() < out.dim() + 1 and out.dim() < 2:
            raise ValueError(
                f"Site {product.site!r} was given one vector of {len(product.x)}; the first axis "
                "must be the batch: use example[None]."
            )
        if not torch.is_grad_enabled():
            self.blocked.add(source.weight)
            return out
        found.products.append(
            ProductInfo(
                product.source, product.operation, product.x.shape, out.shape, product.batch_axis
            )
        )
        if product.site not in found.likes:
            whole = product.whole
            found.likes[product.site] = whole.detach()
            found.parameters[product.site] = tuple(made_of(source.weight))
        if product.bias is not None:
            found.biases.setdefault(product.bias.weight, product.site)
        return out

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in OPAQUE:
            return super().__torch_function__(func, types, args, kwargs)
        before = self.number
        given = tensors_in([args, kwargs])
        sources = [self.sources.get(id(t)) for t in given]
        out = super().__torch_function__(func, types, args, kwargs)
        if self.number > before or not any(sources) or not given:
            return out
        if all(sources):
            if func not in VIEWS and (made := tensors_in(out)):
                _derive(self, func, given, made)
            return out
        name = getattr(func, "__name__", str(func))
        if name in MULTIPLY and _repeats_input(given, sources, out):
            name = "a product by broadcasting"
        for tensor, source in zip(given, sources, strict=True):
            if source is not None and source.site is not None and tensor.dim() > 1:
                for parameter in made_of(source.weight):
                    self.uses.setdefault(parameter, set()).add(name)
        return out


def _derive(mode: Products, func: Any, given: list[Tensor], made: list[Tensor]) -> None:
    """Know what was computed from parameters and buffers alone, by a name made of how.

    The same computation gets the same name in every pass.
    """
    parents: list[str] = []
    parameters: dict[str, None] = {}
    for tensor in given:
        source = mode.source(tensor)
        if source is None:
            return
        if not source.weight.startswith("buffer:"):
            parents.append("/".join([source.weight, *(view.name for view in source.views)]))
            parameters |= dict.fromkeys(made_of(source.weight))
    if not parents:
        return
    how = f"{getattr(func, '__name__', func)}({','.join(parents)})"
    for i, tensor in enumerate(made):
        if mode.source(tensor) is not None:
            continue  # a buffer that was written to is that buffer still
        name = f"{'+'.join(parameters)}#{crc32(f'{how}{i}'.encode()):08x}"
        if isinstance(mode, Survey):
            site: str | None = derived_site(list(parameters))
        else:
            site = mode.sites.get(name)
        mode.keep(tensor, Source(name, site if tensor.dim() > 1 else None))


def made_of(weight: str) -> list[str]:
    """The parameters that a weight is computed from, by its name; itself, if it is one."""
    return weight.split("#")[0].split("+")


def derive(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Any function, where a site's weight is computed from parameters."""
    out = func(*args, **kwargs)
    if any(id(a) in mode.sources for a in args):
        _derive(mode, func, tensors_in([args, kwargs]), tensors_in(out))
    return out


def _derived_product(usual: Handler) -> Handler:
    """A product, which may be one of two weights, and then makes a weight."""

    def handler(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = mode.number
        out = usual(mode, func, args, kwargs)
        if mode.number == before:
            _derive(mode, func, tensors_in([args, kwargs]), tensors_in(out))
        return out

    return handler


DERIVING: dict[Any, Handler] = {
    **HANDLERS, **{func: _derived_product(usual) for func, usual in PRODUCTS.items()}
}  # fmt: skip
