"""A module in the inner loop: its sites, its plastic parameters, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.sites.found import Sites
from metaplastic.sites.network import Network
from metaplastic.sites.outputs import Output, pick
from metaplastic.sites.products import Handler, Product
from metaplastic.sites.shape import SiteShape, site_shapes


class Teacher(Protocol):
    """The source of the error signal: per example, not divided by the batch size."""

    @property
    def objective(self) -> Objective | None:
        """The objective; None for a loss function."""
        ...

    def negative_gradient(self, prediction: Tensor, target: Any) -> Tensor:
        """The negative gradient of the loss at the prediction, of its shape."""
        ...

    def answer(self, prediction: Tensor, target: Any) -> Tensor:
        """The prediction as an activity: a softmax for classes, itself for numbers."""
        ...


class PlasticNetwork(Network):
    """A module, its sites, and the parameters that a lifetime changes.

    Args:
        module: any module; never changed.
        found: its sites, from `find_sites`.
        teacher: the source of the error signal.
        plastic: the sites that learn, in the order in which they are run; all by default.
        others: parameters that are no site's weight or bias and learn along the signals, such as
            the scale of a norm; none by default.
        output: the part of the module's output that is the prediction.
        computed: whether a weight that is computed from several parameters may learn.
    """

    def __init__(
        self,
        module: nn.Module,
        found: Sites,
        teacher: Teacher,
        plastic: list[str] | None = None,
        others: Sequence[str] = (),
        output: Output = None,
        computed: bool = False,
    ) -> None:
        super().__init__(module, found, plastic)
        # Weights that are computed from parameters learn under a name of their own, where they may.
        self.computed = (
            {f"{site} (computed)": site for site in self.plastic if found.is_derived(site)}
            if computed
            else {}
        )
        self.teacher, self.output, self.others = teacher, output, list(others)
        self.shapes: list[SiteShape] = site_shapes(found, self.plastic)
        self.shape_of = {shape.name: shape for shape in self.shapes}
        frozen = set(found.frozen)
        self.learned: list[str] = []  # weights and biases of sites, by parameter
        for site in self.plastic:
            if site in frozen or (found.is_derived(site) and not computed):
                continue
            self.learned.append(self.parameter(site))
            self.learned += [bias for bias, owner in found.biases.items() if owner == site]
        trains = {name for name, p in self.module.named_parameters() if p.requires_grad}
        self.learned = [n for n in self.learned if n in trains or n in self.computed]
        self.handlers: Mapping[Any, Handler] | None = None
        """What is done with functions beside the products, in the place of `inner.passes`' own."""

    def copied_buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers, so that running means of normalizations do not change."""
        return {name: buffer.clone() for name, buffer in self.module.named_buffers()}

    def parameter(self, site: str) -> str:
        """The parameter that is the weight of a site, or the name that a computed one learns under.

        Raises:
            ValueError: for a computed weight, where there are none.
        """
        name = f"{site} (computed)"
        return name if name in self.computed else super().parameter(site)

    def weight(self, site: str, values: Mapping[str, Tensor]) -> Tensor:
        """A site's weight among `values`, or as the module has it."""
        name = self.parameter(site)
        return values[name] if name in values else self.module.get_parameter(name)

    def silent_calls(self, site: str) -> list[Product]:
        """The products of a site as noise meets them: as on the example, without a value."""
        return self.found.silent_calls(site)

    def predicted(self, output: Any) -> Tensor:
        """The prediction in a module's output."""
        return pick(output, self.output)
