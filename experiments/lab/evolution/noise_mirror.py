"""The weight mirror for many lifetimes: every weight times a sample covariance of white noise.

That covariance is sampled by Bartlett's decomposition (1933), which takes as many random numbers as
a unit's inputs squared, whatever the number of rows of noise that it stands for.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from experiments.lab.evolution.rows import Rows


def root_of_covariance(count: int, inputs: int, key: list[int], dtype: torch.dtype) -> Tensor:
    """A, `inputs columns`, so that `A A^T` has the law of `count` rows' mean of `x x^T`."""
    sampled = np.random.default_rng(key)
    if count < inputs:
        rows = sampled.standard_normal((count, inputs))
        return torch.from_numpy(rows.T / count**0.5).to(dtype)
    lower = np.tril(sampled.standard_normal((inputs, inputs)), -1)
    lower[np.diag_indices(inputs)] = np.sqrt(sampled.chisquare(count - np.arange(inputs)))
    return torch.from_numpy(lower / count**0.5).to(dtype)


def mirrored(flat: Tensor, rows: Rows, count: int, seeds: list[int], number: int) -> Tensor:
    """Feedback by so many rows of noise, of rules times lifetimes with these seeds.

    Rules share the noise of a lifetime. The first product's, which nothing is carried back from,
    and parameters of no product are as they are.

    Args:
        number: of the step before which the mirror is.
    """
    found = list(rows.split(flat))
    first = next(n for n, inputs in enumerate(rows.inputs) if inputs)
    for n, (shape, inputs) in enumerate(zip(rows.shapes, rows.inputs, strict=True)):
        if not inputs or n == first:
            continue
        roots = torch.stack([
            root_of_covariance(count, inputs, [seed, number, n], flat.dtype) for seed in seeds
        ])  # fmt: skip
        weight = found[n].reshape(-1, len(seeds), shape[0], inputs)
        found[n] = (weight @ roots @ roots.mT).reshape(found[n].shape)
    return torch.cat(found, 1)
