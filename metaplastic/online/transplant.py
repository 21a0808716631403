"""A meta-learned plasticity rule in another network: what of its rates still fits, site by site."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from metaplastic.online.credit import Credit
from metaplastic.plasticity.base import Delta, PlasticityRule
from metaplastic.sites.credit_sites import Synapses, bare
from metaplastic.stacked.patches import check_unfolds
from metaplastic.stacked.site import Site
from metaplastic.support.describe import build, describe, own_classes


@dataclass(frozen=True)
class Transplant:
    """The rule with rates for the new sites, and where they come from."""

    plasticity: PlasticityRule
    report: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{site}: {what}" for site, what in self.report.items())


def transplant(plasticity: PlasticityRule, model: nn.Module, credit: Credit) -> Transplant:
    """A copy of the rule for the sites of a model; the rule handed in is untouched.

    Rates that all synapses share, and those of a site with the same name and shape, are copied. In
    any other site each synapse gets the mean over all rates that the rule was learned with; a rule
    that was never attached starts at its first rates.

    Raises:
        ValueError: for a convolution that is not a plain product over patches, unless the rule is
            the delta rule, which needs no patches.
    """
    sites = [site_of(name, bare(model).get_submodule(name)) for name in credit.sites]
    for site in sites:
        if type(plasticity) is Delta:
            continue
        if isinstance(site.module, nn.Conv2d):
            check_unfolds(site.name, site.module)
        elif not isinstance(site.module, nn.Linear):
            raise ValueError(
                f"Site {site.name!r} is a {type(site.module).__name__}; a plasticity rule other "
                f"than the delta rule serves Linear and Conv2d. Pass leave=[{site.name!r}]."
            )
    made = build(describe(plasticity), own_classes(plasticity))
    made.attach(sites)
    state = dict(plasticity.named_parameters())
    fitted, from_mean = {}, set()
    for name, new in made.named_parameters():
        old = state.get(name)
        if old is not None and old.shape == new.shape:
            fitted[name] = old.detach().clone()
        elif state:
            bias = name.endswith("_bias")
            same = [p.flatten() for n, p in state.items() if n.endswith("_bias") == bias]
            mean = torch.cat(same or [p.flatten() for p in state.values()]).mean()
            fitted[name] = torch.full_like(new, float(mean.detach()))
            from_mean.add(name.removeprefix("rates."))
    made.load_state_dict(fitted, strict=False)
    weight = next(model.parameters())
    made.to(device=weight.device, dtype=weight.dtype)
    kinds = {True: "rates are the mean of all that were learned", False: "rates copied"}
    redrawn = "no feedback" if credit.held is None else "feedback redrawn"
    fresh = "first rates" if not state else None
    report = {s.name: f"{fresh or kinds[s.key in from_mean]}, {redrawn}" for s in sites}
    return Transplant(made, report)


def site_of(name: str, module: nn.Module) -> Site:
    """A site of any network as plasticity rules know it; it has no place in a stack."""
    assert isinstance(module, Synapses)
    return Site(name or "weight", 0, 0, module)  # type: ignore[arg-type]
