"""A learning rule: a pathway, a plasticity rule and an alignment rule.

Scaling, stated once: labels and errors are per example, a plasticity rule sums over rows, and the
rule divides by the batch size (`reduction="mean"`); `"sum"` is the plain sum of the FLP code. At a
convolution Hebbian rules are averaged over positions, gradients are summed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from metaplastic.alignment.base import Alignment, NoAlignment
from metaplastic.pathways.base import AnySite, FeedbackPathway
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.sites.shape import SiteShape
from metaplastic.support.choices import check_choice
from metaplastic.support.recorded import Recorded
from metaplastic.support.renamed import FormerAttribute, renamed_arguments

Reduction = Literal["mean", "sum"]
PARTS = ("pathway", "plasticity", "alignment")
KINDS = (FeedbackPathway, PlasticityRule, Alignment)


class LearningRule(Recorded, nn.Module):
    """A learning rule: the signals at the sites, their plasticity, and the alignment of feedback.

    Args:
        pathway: how the error or the label reaches the plastic sites.
        plasticity: how a site's weights change by its signal.
        alignment: how feedback weights follow the forward weights; by default they are fixed.
        hidden_multiplier: multiplies the change of every plastic site but the last one; the FLP
            code's classifier uses 100.
        reduction: `mean` or `sum` over the examples of a step.
        frozen_in_training: in train mode a lifetime does not change the weights. Meta-training then
            learns a representation by ordinary pretraining, and the rule is applied at test.

    `rate_scale`, 1 at first, multiplies every rate and may be set at any time, for instance to tune
    the rates at test. It is not saved in rule files.

    Raises:
        ValueError: for another reduction, a part that is set later in a rule with parts of its own,
            and from `attach` if a learner has this rule already.
    """

    @renamed_arguments(feedback="pathway", rests_in_training="frozen_in_training")
    def __init__(
        self,
        pathway: FeedbackPathway,
        plasticity: PlasticityRule,
        alignment: Alignment | None = None,
        *,
        hidden_multiplier: float = 1.0,
        reduction: Reduction = "mean",
        frozen_in_training: bool = False,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, Reduction)
        given = (pathway, plasticity, alignment or NoAlignment())
        for name, part, kind in zip(PARTS, given, KINDS, strict=True):
            if not isinstance(part, kind):
                raise ValueError(
                    f"{name} is a {type(part).__name__}; it must be a {kind.__name__}, an instance "
                    f"of a class of metaplastic.{kind.__module__.split('.')[1]}."
                )
        self.pathway, self.plasticity, self.alignment = given
        self.hidden_multiplier, self.reduction = hidden_multiplier, reduction
        self.frozen_in_training, self.rate_scale, self.attached = frozen_in_training, 1.0, False
        self.options: dict[str, Any] = {
            "pathway": pathway, "plasticity": plasticity, "alignment": alignment,
            "hidden_multiplier": hidden_multiplier, "reduction": reduction,
            "frozen_in_training": frozen_in_training,
        }  # fmt: skip
        self.register_load_state_dict_pre_hook(_rename_tensors)  # type: ignore[no-untyped-call]

    def __setattr__(self, name: str, value: Any) -> None:
        made = name in PARTS and "options" in self.__dict__
        if made and name not in inspect.signature(type(self).__init__).parameters:
            raise ValueError(
                f"The {name} of a {type(self).__name__} is its own, and another would not be saved "
                "with it; make a LearningRule(pathway, plasticity, alignment) of the three parts."
            )
        super().__setattr__(name, value)
        if made:  # so that a part set later is saved
            self.options[name] = value

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        """Create the meta-parameters for these plastic sites. A rule serves one learner."""
        if self.attached:
            raise ValueError(
                "This rule already belongs to a learner, whose feedback and rates it holds; "
                "make a new LearningRule for each learner."
            )
        self.attached = True
        self.pathway.attach(sites, outputs)
        self.plasticity.attach(sites)
        self.alignment.attach([site for site in sites if isinstance(site, SiteShape)])

    @property
    def written_out(self) -> bool:
        """Whether the written-out executor can run this rule."""
        fixed = type(self.alignment) is NoAlignment and not self.alignment.noise
        return self.pathway.written_out and fixed and not self.plasticity.traces

    def finish(self, gradient: Tensor) -> Tensor:
        """The gradient of a site's weight as `Credit.backward` hands it to an optimizer."""
        return self.plasticity.finish(gradient)

    @property
    def finishes(self) -> bool:
        """Whether `finish` changes gradients."""
        own = type(self).finish is not LearningRule.finish
        return own or type(self.plasticity).finish is not PlasticityRule.finish

    def coefficients(self, sites: Sequence[AnySite], batch: int) -> dict[str, Tensor]:
        """Rates times all constant factors; the same for all steps of a lifetime.

        Those of a site's weight are named `site.weight`, those of its bias `site.bias`.
        """
        divided = self.reduction == "mean" and not self.plasticity.relative
        scale = self.rate_scale / batch if divided else self.rate_scale
        found = {}
        for site in sites:
            factor = scale * (self.hidden_multiplier if site is not sites[-1] else 1.0)
            found[site.name + ".weight"] = self.plasticity.rate(site) * factor
            if self.plasticity.moves_bias and site.has_bias:
                found[site.name + ".bias"] = self.plasticity.bias_rate(site) * factor
        return found

    @property
    def parts(self) -> tuple[str, str, str]:
        """The names of pathway, plasticity and alignment."""
        parts = (self.pathway, self.plasticity, self.alignment)
        return tuple(type(part).__name__ for part in parts)  # type: ignore[return-value]

    feedback = FormerAttribute("pathway")
    rests_in_training = FormerAttribute("frozen_in_training")
    pace = FormerAttribute("rate_scale")


def _rename_tensors(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Mapping[str, Any] | Any
) -> None:
    """Rename the tensors of an older file, which calls the pathway `feedback`."""
    old = f"{prefix}feedback."
    for name in [name for name in state_dict if name.startswith(old)]:
        state_dict[f"{prefix}pathway.{name.removeprefix(old)}"] = state_dict.pop(name)
