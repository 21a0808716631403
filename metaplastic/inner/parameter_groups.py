"""The parameters of a learner by kind, which an outer loop may give rates of their own."""

from __future__ import annotations

from torch import nn

from metaplastic.rules.learning_rule import LearningRule


def groups_of(learner: nn.Module, rule: LearningRule) -> dict[str, list[nn.Parameter]]:
    """Those of the rule's parts, and all others as `weights`; only what is learned, if any."""
    groups = {
        "feedback": rule.pathway.feedback_parameters(),
        "plasticity": list(rule.plasticity.parameters()),
        "alignment": list(rule.alignment.parameters()),
        "strength": rule.pathway.strength_parameters(),
    }
    taken = {id(parameter) for group in groups.values() for parameter in group}
    groups = {"weights": [p for p in learner.parameters() if id(p) not in taken], **groups}
    learned = {name: [p for p in group if p.requires_grad] for name, group in groups.items()}
    return {name: group for name, group in learned.items() if group}
