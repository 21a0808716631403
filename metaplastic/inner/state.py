"""The state of a lifetime: weights, feedback, traces, a step counter and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from metaplastic.inner.network import PlasticNetwork
from metaplastic.pathways.sampled import FEEDBACK
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.support.noise import feedback_key

TRACE, STEP, SEED = "trace ", "step", "seed"
# No parameter can be called so: a name of a module has no space.


class State(NamedTuple):
    """The state of one lifetime or, with a leading `tasks` axis everywhere, of several.

    A state is a value: `step` returns another. It is copied with `copy.deepcopy`, and saved as the
    dict of tensors that `flat` gives.
    """

    weights: dict[str, Tensor]  # parameter -> its value
    feedback: dict[str, Tensor]  # site -> feedback weights
    traces: dict[str, Tensor]  # "NAME of PARAMETER" -> its trace
    step: Tensor  # int64: steps so far
    seed: Tensor  # int64

    def flat(self) -> dict[str, Tensor]:
        """The state as one dict of tensors."""
        return {
            **self.weights,
            **{FEEDBACK + site: value for site, value in self.feedback.items()},
            **{TRACE + name: value for name, value in self.traces.items()},
            STEP + " number": self.step,
            SEED + " of lifetime": self.seed,
        }

    @classmethod
    def of_flat(cls, values: Mapping[str, Tensor]) -> State:
        """The state from such a dict."""
        rest = dict(values)
        step, seed = rest.pop(STEP + " number"), rest.pop(SEED + " of lifetime")
        weights: dict[str, Tensor] = {}
        feedback: dict[str, Tensor] = {}
        traces: dict[str, Tensor] = {}
        for name, value in rest.items():
            if name.startswith(FEEDBACK):
                feedback[name.removeprefix(FEEDBACK)] = value
            elif name.startswith(TRACE):
                traces[name.removeprefix(TRACE)] = value
            else:
                weights[name] = value
        return cls(weights, feedback, traces, step, seed)


def initial_state(
    rule: LearningRule,
    network: PlasticNetwork,
    seed: Tensor | int,
    weights: Mapping[str, Tensor] | None = None,
) -> State:
    """The state at the start of a lifetime, before sleep.

    Args:
        seed: fixes the feedback that is sampled and all noise of the lifetime.
        weights: by parameter, in the place of the network's own.
    """
    own = dict(network.module.named_parameters())
    values = {
        name: (weights or {}).get(name, own[name]) for name in (*network.learned, *network.others)
    }
    # As they are now: a network may have been moved, or cast, since its sites were found.
    sites = [
        replace(site, weight=network.weight(site.name, values).detach()) for site in network.shapes
    ]
    device = sites[0].weight.device
    number = torch.as_tensor(seed, dtype=torch.int64, device=device)
    feedback = {}
    if rule.pathway.has_feedback:
        for site in sites:
            key = feedback_key(number, site.name)
            feedback[site.name] = rule.pathway.initialize(site, key)
    traces = {
        f"{trace} of {name}": torch.zeros_like(values[name])
        for trace in rule.plasticity.traces
        for name in values
    }
    if rule.pathway.keeps_norm:
        for site in sites:
            traces[f"norm of {site.name}"] = network.weight(site.name, values).norm()
    zero = torch.zeros((), dtype=torch.int64, device=device)
    return State(values, feedback, traces, zero, number)
