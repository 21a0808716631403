"""What becomes of a rule while it is meta-learned: a few numbers for each of its parameters."""

from __future__ import annotations

import torch

from metaplastic import OnlineLearner

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST = 1_000_000  # entries; torch.quantile takes no more than a few million


@torch.no_grad()
def rule_statistics(learner: OnlineLearner) -> dict[str, float]:
    """Mean, mean size, norm and quantiles of every plasticity, feedback and strength parameter.

    Keys read `rule/plasticity/NAME/q50`: group, parameter, number.
    """
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    found: dict[str, float] = {}
    for group, parameters in learner.parameter_groups().items():
        if group == "weights":
            continue
        for parameter in parameters:
            name = names[id(parameter)].removeprefix("rule.").removeprefix(f"{group}.")
            values = parameter.detach().float().flatten()
            values = values[:: -(-values.numel() // MOST)]
            numbers = {"mean": values.mean(), "size": values.abs().mean(), "norm": values.norm()}
            quantiles = values.quantile(values.new_tensor(QUANTILES))
            for q, value in zip(QUANTILES, quantiles, strict=True):
                numbers[f"q{round(100 * q):02d}"] = value
            found |= {f"rule/{group}/{name}/{key}": float(n) for key, n in numbers.items()}
    return found
