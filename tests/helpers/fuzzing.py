"""Settings of tests by hypothesis: how many cases, and values that files should not hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("METAPLASTIC_FUZZ", "0"))  # for each test; 0: few, for every day

odd_numbers = st.one_of(
    st.sampled_from([0, -1, 1, 2, 10**5, 10**9, 2**63, -(10**30), 0.5, 1e308, -0.0]),
    st.integers(-5, 50),
    st.floats(allow_nan=False, allow_infinity=False),
)
odd_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), odd_numbers, st.text(max_size=12),
        st.sampled_from(["nan", "weights", "torch.nn.Linear", "OnlineLearner", "Hebb", "shared"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def fuzzed(everyday: int) -> Callable[[Any], Any]:
    """A decorator: so many cases, or as many as METAPLASTIC_FUZZ says; the same every day."""
    return settings(
        max_examples=CASES or everyday,
        derandomize=not CASES,
        deadline=20_000,  # milliseconds a case: none hangs
        suppress_health_check=list(HealthCheck),
        database=None,
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything within a JSON value."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)  # type: ignore[assignment]
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with another one at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy
