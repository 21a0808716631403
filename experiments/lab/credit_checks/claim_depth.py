"""The gap of feedback alignment grows with depth; feedback that follows closes it."""

from __future__ import annotations

from experiments.lab.credit_checks.claim import Claim, Panel, accuracy, first_delta, point
from experiments.lab.credit_checks.pass_lines import Line, below
from experiments.lab.credit_checks.training import Options, Training, options

DEPTHS = (1, 2, 4, 8)
SHALLOW, DEEP = float(DEPTHS[0]), float(DEPTHS[-1])


def _at_depths(rule: str, given: Options = ()) -> dict[float, Training]:
    return {
        float(depth): Training(
            rule=rule, options=given, hidden=(128,) * depth, examples=10_000, epochs=5
        )
        for depth in DEPTHS
    }


def _gap(rule: str, depth: float) -> Line:
    value = below(point(rule, depth, accuracy), point("backprop", depth, accuracy))
    return Line(f"{rule}'s points below backprop, {depth:g} hidden layers", value, "<=", 3, 30)


def _growth() -> Line:
    shallow, deep = _gap("feedback alignment", SHALLOW), _gap("feedback alignment", DEEP)
    return Line(
        "growth of feedback alignment's gap, in points", below(shallow.value, deep.value), ">=", 3
    )


CLAIM = Claim(
    sentence="The gap of feedback alignment grows with depth; feedback that follows closes it.",
    x="hidden layers",
    curves={
        "backprop": _at_depths("backprop"),
        "feedback alignment": _at_depths("feedback_alignment"),
        "symmetric alignment": _at_depths("symmetric_alignment"),
        "activation alignment": _at_depths("activation_alignment", options(rate=0.03)),
    },
    panels=(
        Panel("test accuracy %", accuracy),
        Panel("delta angle at the first site", first_delta),
    ),
    lines=(_growth(), _gap("symmetric alignment", DEEP), _gap("activation alignment", DEEP)),
)
