"""Weights that are computed from parameters, as `weight_norm` does, in the model as it is now."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.sites.found import Sites
from metaplastic.sites.network import Network
from metaplastic.sites.outputs import call
from metaplastic.sites.products import Product, Products
from metaplastic.sites.survey import as_in_use


class ComputedWeights:
    """The computed weights of a model, seen as they meet their products in one pass.

    The model is run on the example, without a gradient and in eval mode, and is left as it was.
    """

    def __init__(self, found: Sites, example: Any) -> None:
        self.found = found
        self.example = example if found.derived else None
        self._last: tuple[object, dict[str, Tensor]] | None = None

    def of(self, model: nn.Module) -> dict[str, Tensor]:
        """By site; computed again where a parameter or buffer has changed since."""
        held = (*model.parameters(), *model.buffers())
        state = tuple((id(tensor), tensor._version) for tensor in held)
        if self._last is not None and self._last[0] == state:
            return self._last[1]
        found: dict[str, Tensor] = {}

        def at(product: Product) -> Tensor:
            found.setdefault(product.site, product.whole.detach())
            return product.call(product.x)

        mode = Network(model, self.found).mode(Products, at, {}, {})
        with torch.no_grad(), as_in_use(model), mode:
            call(model, self.example)
        self._last = (tuple((id(tensor), tensor._version) for tensor in held), found)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}
