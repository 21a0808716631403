"""Statistics of an encoder's features: active units, sparseness, class selectivity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics of units' activity over a set of examples; all lie in [0, 1]."""

    active: float  # share of units that are not zero, mean over examples
    dead: float  # share of units that are zero for every example
    sparseness: float  # Vinje & Gallant (2000): 0, all units equally active; 1, a single one active
    selectivity: float  # Morcos et al. (2018): 1, active for one class only; mean over units

    def to_dict(self) -> dict[str, float]:
        """The same as a plain dict."""
        return dict(vars(self))


def feature_statistics(features: Tensor, classes: Tensor) -> FeatureStatistics:
    """Statistics of `examples *units` features, whose classes or subtasks are `examples`.

    Activity is the absolute value, so that linear units can be compared with rectified ones.
    Selectivity is `(largest class mean - mean of the others) / (their sum)`, over active units.

    With a single class it is NaN; with features that are NaN, every statistic is.

    Raises:
        ValueError: if there are no features, or their number differs from that of classes.
    """
    if not len(features) or classes.shape != features.shape[:1]:
        raise ValueError(
            f"There are features of {len(features)} examples, and classes of shape "
            f"{tuple(classes.shape)}; give at least one example, and one class for each."
        )
    if features.isnan().any():
        return FeatureStatistics(*[math.nan] * 4)
    activity = features.flatten(1).abs().double()
    names, index = torch.unique(classes, return_inverse=True)
    units = activity.shape[1]
    squares = activity.square().mean(1)
    responding = activity[squares > 0]
    concentration = responding.mean(1).square() / squares[squares > 0]
    total = torch.zeros(len(names), units, dtype=torch.float64, device=activity.device)
    means = total.index_add(0, index, activity) / index.bincount()[:, None]
    highest = means.amax(0)
    others = (means.sum(0) - highest) / (len(names) - 1)  # of none, 0 / 0, which is NaN
    alive = highest > 0
    selectivity = (highest - others)[alive] / (highest + others)[alive]
    return FeatureStatistics(
        active=float((activity > 0).double().mean()),
        dead=float((~alive).double().mean()),
        sparseness=float(((1 - concentration) / (1 - 1 / max(units, 2))).mean()),
        selectivity=float(selectivity.mean()),
    )


def statistics_over_lifetimes(
    features: Sequence[Tensor], classes: Sequence[Tensor]
) -> FeatureStatistics:
    """Feature statistics over lifetimes, each with features and classes of its own.

    Class 3 of one lifetime is not that of another, so selectivity is computed per lifetime:
    `selectivity` is the mean over lifetimes, the others are over all examples.
    """
    pooled = feature_statistics(torch.cat([*features]), torch.cat([*classes]))
    each = [feature_statistics(*one).selectivity for one in zip(features, classes, strict=True)]
    return replace(pooled, selectivity=fmean(each))
