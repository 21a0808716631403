"""What a plastic module refuses before it looks at a model."""

from __future__ import annotations

from metaplastic.inner.learner import OnlineLearner
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.support.ranges import check_number


def check_arguments(
    rule: object, plasticity: PlasticityRule | None, rate: float | None, compile: object
) -> None:
    """Raise ValueError for a rule that no model can be handed, or a rate beside a plasticity."""
    if compile not in (False, True, "inductor"):
        raise ValueError(f'compile is {compile!r}; it is False, True, or "inductor".')
    if isinstance(rule, OnlineLearner):
        raise ValueError(
            "rule is a whole OnlineLearner, with a network of its own; hand in its rule, as in "
            "from_pretrained(folder).rule."
        )
    if isinstance(rule, LearningRule) and (
        rule.hidden_multiplier != 1.0 or rule.reduction != "mean"
    ):
        raise ValueError(
            "This rule has a hidden_multiplier or sums over the batch, which depend on the "
            "network it was learned in; learn one with hidden_multiplier=1 and 'mean'."
        )
    if rate is None:
        return
    check_number("rate", rate)
    own = plasticity or (rule.plasticity if isinstance(rule, LearningRule) else None)
    if own is not None:
        raise ValueError(
            f"rate is {rate}, but the {type(own).__name__} given or in the rule has rates of its "
            "own; leave rate out, and set net.rate_scale to multiply them."
        )
