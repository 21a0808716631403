"""Published rules of credit assignment, one a file, known by the name of the file or an alias.

`credit` makes one for a model; `cite` gives its source.
"""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache

from metaplastic.credit_rule import CreditRule


@cache
def rules() -> dict[str, type[CreditRule]]:
    """Name -> class, in the order of the alphabet."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for kind in vars(module).values():
            own = isinstance(kind, type) and kind.__module__ == module.__name__
            if own and issubclass(kind, CreditRule):
                found[info.name] = kind
    return found


def find_rule(name: str) -> type[CreditRule]:
    """The rule of this name or alias.

    Raises:
        ValueError: for an unknown one, with the nearest names.
    """
    known = rules()
    names = {alias: kind for kind in known.values() for alias in kind.alias} | known
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"There is no rule named {name!r}. {hint}Rules: {', '.join(known)}.")
    return names[name]


def cite(name: str) -> str:
    """The BibTeX entry of a rule's paper."""
    return find_rule(name).bibtex
