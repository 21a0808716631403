"""Statistics of a rule's meta-parameters, logged during meta-training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from metaplastic import OnlineLearner

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST = 1_000_000  # entries used; torch.quantile takes no more than a few million


@torch.no_grad()
def rule_statistics(learner: OnlineLearner) -> dict[str, float]:
    """Mean, mean magnitude, norm and quantiles of plasticity, feedback and strength parameters.

    Keys are of the form `rule/plasticity/layer NAME/q50`. Plasticity is the rate itself, also if it
    is learned on a log scale; feedback and strength are the parameters.
    """
    found: dict[str, float] = {}
    for name, tensor in _parts(learner):
        values = tensor.float().flatten()
        values = values[:: -(-values.numel() // MOST)]
        numbers = {"mean": values.mean(), "size": values.abs().mean(), "norm": values.norm()}
        quantiles = values.quantile(values.new_tensor(QUANTILES))
        for q, value in zip(QUANTILES, quantiles, strict=True):
            numbers[f"q{round(100 * q):02d}"] = value
        found |= {f"rule/{name}/{key}": float(number) for key, number in numbers.items()}
    return found


def _parts(learner: OnlineLearner) -> Iterator[tuple[str, Tensor]]:
    groups = learner.parameter_groups()
    if "plasticity" in groups:
        for site in learner.sites:
            yield f"plasticity/layer {site.name}", learner.rule.plasticity.rate(site)
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    for group in ("feedback", "strength"):
        for parameter in groups.get(group, ()):
            yield f"{group}/{_readable(names[id(parameter)])}", parameter


def _readable(name: str) -> str:
    """`rule.pathway.pathways.13.0.weight` as `to layer 13, part 0 weight`; others as they are."""
    match name.removeprefix("rule.pathway.").split("."):
        case ["pathways", layer, part, kind]:
            return f"to layer {layer}, part {part} {kind}"
        case ["strengths", layer]:
            return f"at layer {layer}"
    return name
