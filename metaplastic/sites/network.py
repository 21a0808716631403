"""A module and its sites, run with other weights in the place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from metaplastic.sites.found import Sites
from metaplastic.sites.handlers import HANDLERS
from metaplastic.sites.names import bare
from metaplastic.sites.outputs import as_call
from metaplastic.sites.products import At, Handler, Products, Source
from metaplastic.sites.surveying import DERIVING, derive


class Network:
    """A module, what was found in it, and which of its sites take part.

    Args:
        module: any module; never changed.
        found: its sites, from `find_sites`.
        plastic: the sites that a rule serves, each by its first name; all by default.
    """

    def __init__(self, module: nn.Module, found: Sites, plastic: list[str] | None = None) -> None:
        self.module, self.found = bare(module), found
        self.plastic = found.names if plastic is None else plastic
        served = set(self.plastic)
        self.site_of = {
            parameter: site
            for site, parameters in found.parameters.items()
            for parameter in parameters
            if site in served and not found.is_derived(site)
        }
        self._merged: dict[tuple[int, int], tuple[Any, dict[Any, Handler]]] = {}
        self.derived = {name: site for name, site in found.derived.items() if site in served}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_merged": {}}

    @property
    def readout(self) -> str:
        """The last site that takes part."""
        return self.plastic[-1]

    def parameter(self, site: str) -> str:
        """The parameter that is the weight of a site.

        Raises:
            ValueError: for a weight that is computed from several.
        """
        names = self.found.parameters[site]
        if self.found.is_derived(site):
            raise ValueError(
                f"The weight of site {site!r} is computed from {', '.join(names)}, so it has no "
                "value of its own that a lifetime could change; bake it in with "
                "torch.nn.utils.parametrize.remove_parametrizations."
            )
        return names[0]

    def sources(
        self, values: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> list[tuple[Tensor, Source]]:
        """Every parameter and buffer as it is used, with where it comes from."""
        known = [
            (values.get(name, own), Source(name, self.site_of.get(name)))
            for name, own in self.module.named_parameters()
        ]
        return known + [
            (buffers.get(name, own), Source(f"buffer:{name}", None))
            for name, own in self.module.named_buffers()
        ]

    def mode(
        self,
        kind: type[Products],
        at: At,
        values: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        handlers: Mapping[Any, Handler] | None = None,
        sources: Iterable[tuple[Tensor, Source]] | None = None,
    ) -> Products:
        """The mode to run the module in; `handlers` are those beside the usual ones."""
        usual = DERIVING if self.derived else HANDLERS
        every: Mapping[Any, Handler] = usual
        if handlers:  # the same few, pass by pass
            key = (id(usual), id(handlers))
            every = self._merged.setdefault(key, (handlers, {**usual, **handlers}))[1]
        if sources is None:
            sources = self.sources(values, buffers)
        return kind(sources, at, every, self.derived, derive if self.derived else None)

    def run(
        self, values: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Any, mode: Products
    ) -> Any:
        """The module's output, with `values` for its parameters and `buffers` for its buffers."""
        args, kwargs = as_call(x)
        with mode:
            return functional_call(self.module, {**values, **buffers}, args, kwargs)
