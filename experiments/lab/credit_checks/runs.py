"""The settings of every run that a check takes, by name."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from experiments.lab.credit_checks.linear import LinearTeacher
from experiments.lab.credit_checks.targets import Targets
from experiments.lab.credit_checks.training import Training, options
from experiments.lab.credit_checks.work import Work
from metaplastic.pathways.inverse import Inverse

# Kolen-Pollack's decay is a step's share. SGD with a weight decay of d and momentum m takes
# `lr d / (1 - m)` of the difference of W and B a step; here that is d / 10.
WD2, WD4 = 1e-2, 1e-4
KP2 = Training(rule="kolen_pollack", options=options(decay=0.1 * WD2), weight_decay=WD2)
KP4 = Training(rule="kolen_pollack", options=options(decay=0.1 * WD4), weight_decay=WD4)
SMALL = 0.1  # initial weight scale for fixed feedback

# The setting of Akrout's code: deviation sqrt(1 / (in + out)) for W and B, no decay of either.
LESS = sqrt(0.5)
SIGMOID = Training(
    data="mnist", examples=None, scale="unit", hidden=(500,), activation="sigmoid", loss="sigmoid",
    gain=LESS, momentum=0.0, weight_decay=0.0, epochs=10,
)  # fmt: skip
# A mirror of sigmoid units sums 128 products, each a quarter (the sigmoid's slope) of W x x^T.
MIRROR = options(rate=0.01 * 128 / 4, deviation=0.1 / sqrt(12), decay=0.0, scale=LESS)

SIGMAS = (0.1, 0.3, 1.0)  # of noise at the feedback, in units of the learning rate


def noisy(sigma: float) -> dict[str, Work]:
    noise = 0.01 * sigma
    return {
        f"kp_noise_{sigma:g}": replace(KP2, options=options(decay=0.1 * WD2, noise=noise)),
        f"sa_noise_{sigma:g}": Training(
            rule="symmetric_alignment", options=options(rate=0.01, noise=noise)
        ),
        f"sa_fast_noise_{sigma:g}": Training(
            rule="symmetric_alignment", options=options(rate=0.1, noise=noise)
        ),
    }


RUNS: dict[str, Work] = {
    "linear_fa": LinearTeacher(rule="feedback_alignment"),
    "linear_bp": LinearTeacher(),
    "bp": Training(),
    "bp_small": Training(gain=SMALL),
    "fa": Training(rule="feedback_alignment", gain=SMALL),
    "dfa": Training(rule="direct_feedback_alignment", gain=SMALL),
    "usf": Training(rule="uniform_sign"),
    "frsf": Training(rule="fixed_random_sign"),
    "brsf": Training(rule="batchwise_random_sign"),
    "kp": KP2,
    "kp_4": KP4,
    "kp_mnist": replace(
        SIGMOID, rule="kolen_pollack", options=options(decay=0.0, scale=LESS), lr=0.3
    ),
    "wm_mnist": replace(SIGMOID, rule="weight_mirror", options=MIRROR, lr=0.05, mirror=468),
    "wm": Training(rule="mirror_regularizer"),
    "wm_raw": Training(rule="mirror_regularizer", options=options(inputs="activity")),
    "ia": Training(rule="information_alignment"),
    "ia_noise": Training(rule="information_alignment", options=options(inputs="noise")),
    "sa": Training(rule="symmetric_alignment", options=options(rate=0.01)),
    "aa": Training(rule="activation_alignment"),
    **{name: work for sigma in SIGMAS for name, work in noisy(sigma).items()},
    **{
        f"cifar_{name}": Training(
            rule=rule, lr=lr, data="cifar10", examples=5000, network="lenet", epochs=4
        )
        for name, rule, lr in (
            ("bp", "backprop", 0.01),
            ("usf", "uniform_sign", 0.01),
            ("fa", "feedback_alignment", 0.001),
            ("dfa", "direct_feedback_alignment", 0.001),
        )
    },
    "targets_bp": Targets(),
    "gait": Targets(how=Inverse(orthogonality=0.1, diagonal=False)),
    "gait_free": Targets(how=Inverse()),
    "tp": Targets(how=Inverse(gamma=None, orthogonality=0.1, diagonal=False)),
}
