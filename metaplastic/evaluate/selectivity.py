"""What an encoder hands to the plastic sites: how many of its units speak, and for whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Of units' activity over a set of examples; all are fractions or indices in [0, 1]."""

    active: float  # units that are not silent, mean over examples
    dead: float  # units that are silent for every example
    sparseness: float  # Vinje & Gallant (2000): 0, all speak alike; 1, a single one speaks
    selectivity: float  # Morcos et al. (2018): 1, a unit speaks for one class only; mean over units

    def to_dict(self) -> dict[str, float]:
        """The same as a plain dict."""
        return dict(vars(self))


def feature_statistics(features: Tensor, classes: Tensor) -> FeatureStatistics:
    """Statistics of `examples *units` features, whose classes or subtasks are `examples`.

    Activity is the absolute value, so that linear units can be compared with rectified ones.
    Selectivity is `(largest class mean - mean of the others) / (their sum)`, over units that speak.

    With a single class it is NaN; with features that are NaN, everything is.

    Raises:
        ValueError: for no features, or another number of classes than of features.
    """
    if not len(features) or classes.shape != features.shape[:1]:
        raise ValueError(
            f"There are features of {len(features)} examples, and classes of shape "
            f"{tuple(classes.shape)}; give at least one example, and one class for each."
        )
    if features.isnan().any():
        return FeatureStatistics(*[math.nan] * 4)
    activity = features.flatten(1).abs().double()
    names, which = torch.unique(classes, return_inverse=True)
    units = activity.shape[1]
    squares = activity.square().mean(1)
    speaking = activity[squares > 0]
    concentration = speaking.mean(1).square() / squares[squares > 0]
    total = torch.zeros(len(names), units, dtype=torch.float64, device=activity.device)
    means = total.index_add(0, which, activity) / which.bincount()[:, None]
    highest = means.amax(0)
    others = (means.sum(0) - highest) / (len(names) - 1)  # of none, 0 / 0, which is NaN
    alive = highest > 0
    index = (highest - others)[alive] / (highest + others)[alive]
    return FeatureStatistics(
        active=float((activity > 0).double().mean()),
        dead=float((~alive).double().mean()),
        sparseness=float(((1 - concentration) / (1 - 1 / max(units, 2))).mean()),
        selectivity=float(index.mean()),
    )


def statistics_over_lifetimes(
    features: Sequence[Tensor], classes: Sequence[Tensor]
) -> FeatureStatistics:
    """The same over lifetimes, each with features and classes of its own.

    Class 3 of one lifetime is not that of another, so units are selective within a lifetime:
    `selectivity` is the mean over lifetimes, the others are over all examples.
    """
    whole = feature_statistics(torch.cat([*features]), torch.cat([*classes]))
    each = [feature_statistics(*one).selectivity for one in zip(features, classes, strict=True)]
    return replace(whole, selectivity=fmean(each))
