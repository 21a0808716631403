"""A meta-learned plasticity rule in another network: what of its rates still fits, site by site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.sites.shape import SiteShape
from metaplastic.support.describe import build, describe, own_classes


@dataclass(frozen=True)
class Transplant:
    """The rule with rates for the new sites, and where they come from."""

    plasticity: PlasticityRule
    report: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{site}: {what}" for site, what in self.report.items())


def transplant(plasticity: PlasticityRule, sites: Sequence[SiteShape], feedback: str) -> Transplant:
    """A copy of the rule for the sites of a network; the rule handed in is untouched.

    Rates that all synapses share, and those of a site with the same name and shape, are copied. In
    any other site each synapse gets the mean over all rates that the rule was learned with; a rule
    that was never attached starts at its first rates.

    Args:
        feedback: what is said of the feedback weights in the report.
    """
    made: PlasticityRule = build(describe(plasticity), own_classes(plasticity))
    made.attach(sites)
    weight = sites[0].weight
    made.to(
        device=weight.device, dtype=weight.dtype
    )  # before rates are copied, or they are rounded
    state = dict(plasticity.named_parameters())
    fitted, from_mean = {}, set()
    for name, new in made.named_parameters():
        old = state.get(name)
        if old is not None and old.shape == new.shape:
            fitted[name] = old.detach().clone()
        elif state and name.startswith("rates."):
            bias = name.endswith("_bias")
            same = [p.flatten() for n, p in state.items() if n.endswith("_bias") == bias]
            mean = torch.cat(same or [p.flatten() for p in state.values()]).mean()
            fitted[name] = torch.full_like(new, float(mean.detach()))
            from_mean.add(name.removeprefix("rates."))
    made.load_state_dict(fitted, strict=False)
    kinds = {True: "rates are the mean of all that were learned", False: "rates copied"}
    fresh = "first rates" if not state else None
    report = {s.name: f"{fresh or kinds[s.key in from_mean]}, {feedback}" for s in sites}
    return Transplant(made, report)
