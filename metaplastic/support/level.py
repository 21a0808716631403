"""Normalization by lengths, which makes steps independent of width, depth and activity scale.

A length is one number per layer and step, which a layer can broadcast to its synapses. All lengths
are root mean squares over rows, independent of the number of examples and of positions of a
convolution.
"""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-12  # of a mean square, which avoids division by zero


def inverse_length(rows: Tensor) -> Tensor:
    """1 / root of the mean over rows of the squared length: `tasks rows units` -> `tasks 1 1`."""
    total, number = rows.square().sum((1, 2), keepdim=True), rows.shape[1]
    return ((total if number == 1 else total / number) + SMALLEST).rsqrt()


def gain(signal: Tensor, error: Tensor) -> Tensor:
    """The factor that scales a site's signal to the length of the output's error.

    Both are `tasks rows units`, with their own numbers of rows -> `tasks 1 1`.
    """
    return inverse_length(signal) / inverse_length(error)
