"""More classes than were meta-trained for: a learner whose readout is as wide as a stream needs.

What belongs to an output (its row of the readout, its rates, its feedback) was meta-learned for
label slots, and labels were dealt to slots afresh in every lifetime, so slots are exchangeable:
each is a draw from one learned pool. A further output is one more draw from that pool, with
replacement. What does not depend on the number of outputs (rates per feature or per layer, say) is
taken over as it is.
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

    The first outputs are those of `learner`; each further one is a copy of a learned one, drawn
    by `seed`. With fewer outputs the last ones are left out. Two classes may so share feedback and
    rates; their rows differ by what they are taught. A learner that relies on what a particular row
    knows, global labels born `learned`, gains rows that know another class.

    Raises:
        ValueError: for fewer than 1 output, or a learner that does not classify.
        DescriptionError: for a learner with parts that cannot be made anew (see `describe`).
    """
    before = learner.objective.outputs
    if outputs < 1:
        raise ValueError(f"outputs is {outputs}; a readout has at least 1.")
    if not hasattr(learner.objective, "check_labels"):
        raise ValueError(
            f"A {type(learner.objective).__name__} asks for real outputs, whose number is the "
            "task's; only the classes of a classification can become more."
        )
    description = describe(learner)
    options = description["options"]
    options["objective"]["options"]["outputs"] = outputs
    _widen(options["network"], learner.sites[-1].name.split("."), outputs)
    with global_seed(torch.device("cpu"), "overwritten"):  # spares the caller's generator
        grown = build(description, own_classes(learner))
    pool = torch.randint(before, (max(outputs - before, 0),), generator=seeded(seed, "grow"))
    slots = torch.cat([torch.arange(min(before, outputs)), pool])
    learned = learner.state_dict()
    fitted = {
        name: _fit(learned[name], made, slots.to(learned[name].device))
        for name, made in grown.state_dict().items()
    }
    grown.load_state_dict(fitted, assign=True)
    for name, parameter in learner.named_parameters():
        grown.get_parameter(name).requires_grad_(parameter.requires_grad)
    grown.unroll, grown.rule.rate_scale = learner.unroll, learner.rule.rate_scale
    grown.train(learner.training)
    return grown  # type: ignore[no-any-return]


def _widen(network: dict[str, Any], path: list[str], outputs: int) -> None:
    """Give the Linear at this path of a description of nested Sequentials so many outputs."""
    for name in path:
        network = network["children"][name]
    network["options"]["out_features"] = outputs


def _fit(learned: Tensor, made: Tensor, slots: Tensor) -> Tensor:
    """`learned` along the slots, in each axis that has become longer or shorter."""
    for axis, (before, now) in enumerate(zip(learned.shape, made.shape, strict=True)):
        if before != now:
            learned = learned.index_select(axis, slots)
    return learned.clone()
