"""Learners with more classes than they were meta-trained for.

The parameters of an output (its row of the readout, its rates, its feedback) were meta-learned with
labels assigned to outputs at random in every lifetime, so outputs are exchangeable samples from one
pool. A further output is another sample from that pool, with replacement. Parameters that do not
depend on the number of outputs (rates per feature or per layer, say) are copied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaplastic.inner.learner import OnlineLearner
from metaplastic.support.describe import build, describe, own_classes
from metaplastic.support.seeding import global_seed, seeded


def grow(learner: OnlineLearner, outputs: int, seed: int = 0) -> OnlineLearner:
    """The same learner for classes 0 to `outputs` - 1, in the same mode; `learner` is untouched.

    The first outputs are those of `learner`; each further one is a copy of a learned one, sampled
    by `seed`. With fewer outputs the last ones are omitted. Two classes may thus share feedback and
    rates; their rows come to differ by their examples. Where labels are global and rows initialized
    as `learned`, a further row is a copy of that of another class.

    Raises:
        ValueError: for fewer than 1 output, or a learner that does not classify.
        DescriptionError: for a learner with parts that cannot be rebuilt (see `describe`).
    """
    before = learner.objective.outputs
    if outputs < 1:
        raise ValueError(f"outputs is {outputs}; a readout has at least 1.")
    if not hasattr(learner.objective, "check_labels"):
        raise ValueError(
            f"A {type(learner.objective).__name__} has real outputs, whose number is the task's; "
            "only the classes of a classification can become more."
        )
    description = describe(learner)
    options = description["options"]
    options["objective"]["options"]["outputs"] = outputs
    _widen(options["network"], learner.sites[-1].name.split("."), outputs)
    with global_seed(torch.device("cpu"), "overwritten"):  # spares the caller's generator
        larger = build(description, own_classes(learner))
    pool = torch.randint(before, (max(outputs - before, 0),), generator=seeded(seed, "grow"))
    slots = torch.cat([torch.arange(min(before, outputs)), pool])
    learned = learner.state_dict()
    fitted = {
        name: _fit(learned[name], made, slots.to(learned[name].device))
        for name, made in larger.state_dict().items()
    }
    larger.load_state_dict(fitted, assign=True)
    for name, parameter in learner.named_parameters():
        larger.get_parameter(name).requires_grad_(parameter.requires_grad)
    larger.unroll, larger.rule.rate_scale = learner.unroll, learner.rule.rate_scale
    larger.train(learner.training)
    return larger  # type: ignore[no-any-return]


def _widen(network: dict[str, Any], path: list[str], outputs: int) -> None:
    """Set the number of outputs of the Linear at this path of a description of Sequentials."""
    for name in path:
        network = network["children"][name]
    network["options"]["out_features"] = outputs


def _fit(learned: Tensor, made: Tensor, slots: Tensor) -> Tensor:
    """`learned`, indexed by the slots in each axis whose length differs from that of `made`."""
    for axis, (before, now) in enumerate(zip(learned.shape, made.shape, strict=True)):
        if before != now:
            learned = learned.index_select(axis, slots)
    return learned.clone()
