"""Lengths: what makes a step the same size whatever a layer's width, depth or scale of activity.

A length is one number of a layer and a step, which a layer can broadcast; synapse by synapse
nothing is asked that is not there. All lengths are root mean squares over rows, so that neither the
number of examples nor that of a convolution's positions is in them.
"""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-12  # of a mean square, so that silence is not divided by nothing


def inverse_length(rows: Tensor) -> Tensor:
    """1 / root of the mean over rows of the squared length: `tasks rows units` -> `tasks 1 1`."""
    return (rows.square().sum(-1).mean(1)[:, None, None] + SMALLEST).rsqrt()


def gain(signal: Tensor, error: Tensor) -> Tensor:
    """What a site's signal is multiplied by to have the length of the output's error.

    Both are `tasks rows units`, in rows of their own number -> `tasks 1 1`.
    """
    return inverse_length(signal) / inverse_length(error)
