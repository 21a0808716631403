"""Ensembles: learners that were meta-trained apart, as one learner whose codes stand side by side.

Each member's encoder makes a code of an input. A readout of all codes at once compares them by the
sum of the members' cosines: what one encoder mistakes, another may not (Dvornik, Schmid & Mairal
2019, "Diversity with Cooperation", take such means of few-shot classifiers). It is one readout,
learned by one rule, one pass, one example at a time, with a rate for each synapse as before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.evaluate.frozen_part import frozen_part, with_encoder
from metaplastic.inner.learner import OnlineLearner
from metaplastic.stacked.readouts import CosineReadout, Readout, UnitLength
from metaplastic.support.describe import describe


class Concatenated(nn.Module):
    """The codes of several encoders, one after another: `n *input` -> `n features`."""

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.options: dict[str, Any] = {"encoders": list(self.encoders)}

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([encoder(x) for encoder in self.encoders], -1)


def ensemble(learners: Sequence[OnlineLearner]) -> OnlineLearner:
    """One learner with the encoders of all, each copied, and a readout of all their codes.

    Codes of unit length (`UnitLength` before the readout) have it one by one, so that every member
    counts as much. Parameters of the readout and of its rule that have an entry a feature stand
    side by side as the codes do; all others are means over the members.

    Raises:
        ValueError: for fewer than two learners, more plastic sites than the readout, or members
            whose rules or readouts differ in more than their parameters.
    """
    if len(learners) < 2:
        raise ValueError(f"An ensemble needs at least two learners; {len(learners)} was given.")
    parts = [frozen_part(learner) for learner in learners]
    first, rest = learners[0], parts[0][1]
    for learner in learners:
        if len(learner.sites) != 1 or len(learner.sites[0].shape) != 2:
            raise ValueError(
                f"The plastic sites of a member are {[site.name for site in learner.sites]}; an "
                "ensemble joins learners whose readout alone is plastic (plastic=1)."
            )
        if (other := _kind(learner)) != (kind := _kind(first)):
            raise ValueError(
                "The members of an ensemble learn by one rule, from one initialization, in the "
                f"same layers from the readout on; these differ:\n{kind}\n{other}"
            )
    features = [learner.sites[0].shape[1] for learner in learners]
    unit = isinstance(rest[0][1], UnitLength)
    encoders = [nn.Sequential(frozen, UnitLength()) if unit else frozen for frozen, _ in parts]
    layers = [(name, _wider(layer, features)) for name, layer in rest]
    joined = with_encoder(first, Concatenated(encoders), layers)
    members = [_own(learner) for learner in learners]
    for name, value in _own(joined).items():
        with torch.no_grad():
            value.copy_(_together(name, [member[name] for member in members], value.shape))
    return joined


def _kind(learner: OnlineLearner) -> list[Any]:
    """What members have in common: all that is not a number, which may have been meta-learned."""
    settings = ("initialization", "initialization_at_test", "passes", "batch_learning")
    _, rest = frozen_part(learner)
    layers = [type(layer).__name__ for _, layer in rest]
    rule = _without_numbers(describe(learner.rule))
    return [rule, *(learner.options[name] for name in settings), layers]


def _without_numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_numbers(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_numbers(one) for one in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


def _own(learner: OnlineLearner) -> dict[str, Tensor]:
    """Parameters and buffers of the rule, and of the layers from the readout on."""
    _, rest = frozen_part(learner)
    found = {
        f"layer {number}.{key}": value
        for number, (_, layer) in enumerate(rest)
        for key, value in layer.state_dict(keep_vars=True).items()
    }
    site = learner.sites[0].name.replace(".", "_")
    rule = learner.rule.state_dict(keep_vars=True)
    return found | {key.replace(site, "readout"): value for key, value in rule.items()}


def _wider(layer: nn.Module, features: Sequence[int]) -> nn.Module:
    """A layer for all codes in place of one's."""
    options = dict(getattr(layer, "options", {}))
    if isinstance(layer, CosineReadout):
        return CosineReadout(sum(features), layer.out_features)
    if type(layer) is nn.Linear:
        return nn.Linear(sum(features), layer.out_features, bias=layer.bias is not None)
    if isinstance(layer, Readout) or "code" in options or "features" in options:
        raise ValueError(
            f"A {type(layer).__name__} reads one code; an ensemble joins learners that compare by "
            "products or cosines (CosineReadout, Linear)."
        )
    return copy.deepcopy(layer)


def _together(name: str, values: Sequence[Tensor], shape: torch.Size) -> Tensor:
    """Values of all members: side by side along the axis that is wider, or their mean."""
    if all(value.shape == shape for value in values):
        return torch.stack(list(values)).mean(0)
    for axis in range(len(shape)):
        others = {(*value.shape[:axis], *value.shape[axis + 1 :]) for value in values}
        if len(others) == 1 and sum(value.shape[axis] for value in values) == shape[axis]:
            return torch.cat(list(values), axis)
    raise ValueError(
        f"{name!r} has the shapes {[tuple(v.shape) for v in values]} in the members, which do not "
        f"make one of shape {tuple(shape)}; members have as many classes as each other."
    )
