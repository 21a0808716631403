"""The weight mirror is sensitive to its strength, information alignment is not.

Driven by the layers' own activity, the mirror's feedback goes to `amp / (2 decay) W C`, as long as
amp says. Information alignment's null term, here half as strong as its amp, stops that growth.
"""

from __future__ import annotations

from experiments.lab.credit_checks.claim import Claim, Panel, accuracy, mean_ratio, point
from experiments.lab.credit_checks.pass_lines import Line, Runs
from experiments.lab.credit_checks.training import Options, Training, options

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)


def _with(rule: str, given: Options) -> Training:
    return Training(rule=rule, options=given, hidden=(128,) * 4, examples=5000, epochs=5)


def _lost(rule: str) -> Line:
    def value(runs: Runs) -> float:
        reached = [point(rule, strength, accuracy)(runs) for strength in STRENGTHS]
        return max(reached) - min(reached)

    text = f"{rule}: points between its best and its worst amp"
    return Line(text, value, "<", 3) if rule == IA else Line(text, value, ">", 10)


def _stretched(rule: str) -> Line:
    def value(runs: Runs) -> float:
        ratios = [point(rule, strength, mean_ratio)(runs) for strength in STRENGTHS]
        return max(ratios) / min(ratios)

    text = f"{rule}: its largest ratio over its least"
    return Line(text, value, "<", 2) if rule == IA else Line(text, value, ">", 5)


WM, IA, NOISE = "weight mirror", "information alignment", "weight mirror, white noise"
CLAIM = Claim(
    sentence="The weight mirror stands on a knife-edge; information alignment does not.",
    x="amp",
    log_x=True,
    curves={
        WM: {
            s: _with("mirror_regularizer", options(amp=s, decay=0.05, inputs="activity"))
            for s in STRENGTHS
        },
        NOISE: {s: _with("mirror_regularizer", options(amp=s, decay=0.05)) for s in STRENGTHS},
        IA: {
            s: _with("information_alignment", options(amp=s, null=s / 2, decay=0.05))
            for s in STRENGTHS
        },
    },
    panels=(
        Panel("test accuracy %", accuracy),
        Panel("norm of B over that of W", mean_ratio, log=True),
    ),
    lines=(_lost(WM), _stretched(WM), _lost(IA), _stretched(IA)),
)
