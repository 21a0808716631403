"""Feedback weights that are sampled: once, or in each lifetime by its own seed."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.pathways.base import AnySite, FeedbackPathway
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.choices import check_choice
from metaplastic.support.noise import feedback_key

FEEDBACK = "feedback of "  # before the names of sites among the fast weights: no layer is named so


class SampledFeedback(FeedbackPathway):
    """A pathway with sampled feedback weights for each site.

    Args:
        scale: multiplies their standard deviation or bound.
        weights: one of `choices`: `fixed`, sampled once; `learned`, sampled once and meta-learned;
            `redrawn`, sampled in each lifetime by its own seed, so that no rule can be fitted to
            them.

    Raises:
        ValueError: for another choice, or a scale that is not above 0.
    """

    has_feedback = True

    def __init__(self, scale: float, weights: str, choices: Any) -> None:
        super().__init__()
        check_choice("weights", weights, choices)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale!r}; feedback needs a finite scale above 0.")
        self.scale, self.weights = scale, weights
        self.feedback = nn.ParameterDict()

    @abstractmethod
    def shape(self, site: AnySite) -> tuple[int, ...]:
        """The shape of a site's feedback weights."""

    @abstractmethod
    def sample(self, site: AnySite, key: Tensor | None = None) -> Tensor:
        """Feedback weights of a site: by a key, or else by torch's global generator."""

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        super().attach(sites, outputs)
        if self.weights != "redrawn":
            for site in sites:
                self.feedback[site.key] = nn.Parameter(
                    self.sample(site), requires_grad=self.weights == "learned"
                )

    def initialize(self, site: AnySite, key: Tensor) -> Tensor:
        """Learned or fixed weights if there are any of this shape, else a sample by the key."""
        own: Tensor | None = self.feedback.get(site.key)
        if own is not None and tuple(own.shape) == self.shape(site):
            return own
        return self.sample(site, key)

    def initialize_lifetimes(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        if self.weights != "redrawn":
            return {}
        return {
            FEEDBACK + site.name: torch.stack(
                [self.sample(site, feedback_key(own, site.name)) for own in seed.unbind()]
            )
            for site in sites
        }

    def feedback_of(self, site: str, key: str, weights: Mapping[str, Tensor]) -> Tensor:
        """A site's feedback weights, by its name and key: the lifetime's own or the parameter."""
        return weights[FEEDBACK + site] if self.weights == "redrawn" else self.feedback[key]

    def feedback_parameters(self) -> list[nn.Parameter]:
        return list(self.feedback.parameters())
