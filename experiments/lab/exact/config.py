"""The settings of `experiments.exact`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import Doc

What = Literal["rules", "zoo", "all"]
Number = Literal["float64", "float32"]
BOUNDS: dict[Number, float] = {"float64": 1e-12, "float32": 1e-6}
"""Of a difference, relative to the largest entry of a tensor."""


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Check by number that a rule is the same in place as in the learner, and exact with B = W."""

    what: Annotated[What, Doc("rules x networks both ways, the zoo against autograd, or both")] = (
        "all"
    )
    dtype: Annotated[Number, Doc("of rules x networks; the zoo is in float64")] = "float64"
    compiled: Annotated[
        bool, Doc("rules x networks with the steps in place compiled to straight-line programs")
    ] = False
    rules: Annotated[tuple[str, ...], Doc("words in the names of rules; all by default")] = ()
    networks: Annotated[tuple[str, ...], Doc("words in the names of networks; all by default")] = ()
    seed: Annotated[int, Doc("fixes the examples of rules x networks, and the feedback")] = 1
    threads: Annotated[int, Doc("of the processor")] = 1
