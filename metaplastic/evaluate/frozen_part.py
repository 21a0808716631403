"""A learner's frozen layers apart from the rest, and a learner with others in their place."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from metaplastic.inner.learner import OnlineLearner
from metaplastic.stacked.readouts import UnitLength
from metaplastic.support.describe import build, describe, own_classes
from metaplastic.support.seeding import global_seed

Layers = list[tuple[str, nn.Module]]


def frozen_part(learner: OnlineLearner) -> tuple[nn.Sequential, Layers]:
    """Copies of what is frozen before the first plastic site, and of the named layers after it.

    A `UnitLength` just before the site counts to the rest.

    Raises:
        ValueError: if nothing is frozen before the first plastic site.
    """
    stack, first = learner.stack, learner.sites[0]
    end = stack.sites[first.name].layer
    if end and isinstance(stack.layers[end - 1], UnitLength):
        end -= 1
    before = [] if learner.encoder is None else [("encoder", learner.encoder)]
    named = [
        (name.replace(".", "_"), layer)
        for name, layer in zip(stack.names, stack.layers, strict=True)
    ]
    frozen = copy.deepcopy(before + named[:end])
    if not frozen:
        raise ValueError(
            "Every layer of this network is plastic, so there are no features to average; make "
            "fewer layers plastic, or give the learner an encoder."
        )
    return nn.Sequential(OrderedDict(frozen)), copy.deepcopy(named[end:])


def with_encoder(
    learner: OnlineLearner, encoder: nn.Module, rest: Sequence[tuple[str, nn.Module]]
) -> OnlineLearner:
    """A copy of the learner with this encoder and these layers, its rule's parameters as new."""
    with global_seed(torch.device("cpu"), "overwritten"):  # the caller's generator is unaffected
        made = OnlineLearner(
            **{
                **learner.options,
                "network": nn.Sequential(OrderedDict(rest)),
                "rule": build(describe(learner.rule), own_classes(learner)),
                "encoder": encoder,
                "plastic": [site.name.replace(".", "_") for site in learner.sites],
            },
            unroll=learner.unroll,
        )
    made.rule.rate_scale = learner.rule.rate_scale
    return made.train(learner.training)
