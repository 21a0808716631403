"""Published learning rules, one a file, by the name of the file or an alias.

`build` makes one for a learner, `metaplastic.credit` and `PlasticModule` make one for a model;
`cite` gives its source, `parts_of` its pathway, plasticity and alignment.
"""

from __future__ import annotations

import copy
import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from inspect import signature
from typing import Any

from metaplastic.alignment.primitives import RegularizedAlignment
from metaplastic.pathways.direct import Direct
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.support.catalog import shipped
from metaplastic.support.ranges import check_number

SCHEDULED = ("decay", "amp", "null", "sparse", "self_", "rate")  # may be functions of the minibatch
RANGES: dict[str, dict[str, Any]] = {
    **{name: {} for name in (*SCHEDULED, "noise", "deviation", "orthogonality")},
    **{name: {"above": True} for name in ("scale", "gamma")},
    **{name: {"least": 1, "integer": True} for name in ("expansion", "examples")},
}


@cache
def rules() -> dict[str, type[CreditRule]]:
    """Name -> class, in the order of the alphabet."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for kind in vars(module).values():
            own = isinstance(kind, type) and kind.__module__ == module.__name__
            if own and issubclass(kind, CreditRule) and kind.formula:  # bases have none
                found[info.name] = kind
    return found


def find_rule(name: str) -> type[CreditRule]:
    """The rule of this name or alias.

    Raises:
        ValueError: for an unknown name, with the nearest names; for the name of a shipped learner,
            with the call that loads it.
    """
    known = rules()
    names = {alias: kind for kind in known.values() for alias in kind.alias} | known
    if name not in names:
        for learner in get_close_matches(name, shipped(), n=1, cutoff=0.8):
            raise ValueError(
                f"There is no rule named {name!r}; {learner!r} is a shipped learner, whose rule "
                f"is loaded: PlasticModule(model, from_pretrained({learner!r}).rule, example=x)."
            )
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"There is no rule named {name!r}. {hint}Rules: {', '.join(known)}.")
    return names[name]


def parts_of(name: str) -> tuple[str, str, str]:
    """The class names of a rule's pathway, plasticity and alignment."""
    return find_rule(name)().parts


def build(name: str, *, plasticity: PlasticityRule | None = None, **options: Any) -> LearningRule:
    """A new rule by its name or alias, for `OnlineLearner` or to be changed.

    Args:
        plasticity: how a site's weights change; the delta rule with the rate 0.01, not learned,
            unless given.
        options: of the rule.

    Raises:
        ValueError: for an unknown name or option, or a number out of its range.
    """
    if plasticity is not None:
        options["plasticity"] = plasticity
    return rule_of(name, options)


def rule_of(given: str | LearningRule, options: Mapping[str, Any]) -> LearningRule:
    """A new rule by its name and options, or a copy of the one that is given.

    Raises:
        ValueError: for an unknown name or option, a number out of its range, or an object that is
            neither name nor rule.
    """
    if isinstance(given, str):
        kind = find_rule(given)
        _check(kind, options)
        try:
            return kind(**options)
        except TypeError as error:
            known = ", ".join(signature(kind).parameters)
            raise ValueError(f"{error}. Options of {given!r}: {known}.") from None
    if isinstance(given, type):
        raise ValueError(f"rule is the class {given.__name__}; make one, {given.__name__}().")
    if not isinstance(given, LearningRule):
        raise ValueError(
            f"rule is of class {type(given).__name__}, but it must be a name in metaplastic.rules "
            "or a LearningRule, such as from_pretrained(folder).rule."
        )
    if options:
        raise ValueError(
            f"options {sorted(options)} go to a rule named by a string; set them on it."
        )
    if isinstance(given.pathway, Direct):
        raise ValueError(
            "The rule's pathway is a Direct, which has the sizes of the network it was learned in; "
            "use a rule learned with RandomFeedback or RandomDirect."
        )
    if isinstance(given, CreditRule) and type(given) in rules().values():
        # Only of published rules: another class may give these names other meanings.
        has = {name: value for name, value in given.options.items() if value is not None}
        _check(type(given), has)
    return copy.deepcopy(given)


def _check(kind: type[CreditRule], options: Mapping[str, Any]) -> None:
    """Raise ValueError for a number out of its range; the rule itself checks other options."""
    for name in sorted(set(options) & set(signature(kind).parameters) & set(RANGES)):
        value, may_be_none = options[name], name in ("examples", "gamma")
        scheduled = callable(value) and isinstance(kind().alignment, RegularizedAlignment)
        if not (scheduled and name in SCHEDULED) and not (may_be_none and value is None):
            check_number(name, value, **RANGES[name])


def cite(name: str) -> str:
    """The BibTeX entry of a rule's paper."""
    return find_rule(name).bibtex
