"""Symmetric alignment survives noise at the feedback that breaks Kolen-Pollack."""

from __future__ import annotations

from experiments.lab.credit_checks.claim import Claim, Panel, accuracy, first_delta, point
from experiments.lab.credit_checks.pass_lines import Line, below
from experiments.lab.credit_checks.training import Options, Training, options

SIGMAS = (0.0, 0.3, 1.0, 3.0, 10.0)
LR, WD = 0.01, 1e-2
KP, SA = "Kolen-Pollack", "symmetric alignment"


def _noisy(rule: str, **given: float) -> dict[float, Training]:
    return {
        sigma: Training(
            rule=rule, options=_with(given, sigma), hidden=(128,) * 6, examples=10_000, epochs=5,
            weight_decay=WD, lr=LR,
        )
        for sigma in SIGMAS
    }  # fmt: skip


def _with(given: dict[str, float], sigma: float) -> Options:
    return options(**given, noise=LR * sigma)


def _above(sigma: float) -> Line:
    value = below(point(KP, sigma, accuracy), point(SA, sigma, accuracy))
    return Line(f"its points above {KP}, noise {sigma:g}", value, ">", 0)


CLAIM = Claim(
    sentence="Symmetric alignment survives noisy feedback updates that break Kolen-Pollack.",
    x="noise, of the learning rate",
    log_x=True,
    curves={
        KP: _noisy("kolen_pollack", decay=0.1 * WD),
        SA: _noisy("symmetric_alignment", rate=0.1),
    },
    panels=(
        Panel("test accuracy %", accuracy),
        Panel("delta angle at the first site", first_delta),
    ),
    lines=(
        *(_above(sigma) for sigma in SIGMAS[2:]),
        Line(
            "its loss by noise 1, in points",
            below(point(SA, 1.0, accuracy), point(SA, 0.0, accuracy)), "<=", 1, 5,
        ),
    ),
)  # fmt: skip
