"""One lifetime of FLP, for one task, as nested loops over examples and units: the equations.

Written from the description of the algorithm (Lindsey & Litwin-Kumar 2020), in numpy, sharing
nothing with the library. Weights are changed in place, after all examples of a step were seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Layer:
    weight: Array  # post pre
    bias: Array  # post
    rate: Array  # post pre
    feedback: list[tuple[Array, Array]] = field(default_factory=list)  # (post pre, post) a layer
    strength: float = 1.0


@dataclass
class Equations:
    """The switches of a rule, by the library's names."""

    plasticity: str = "Oja"
    teaching: str = "label"
    nonlinearity: str = "relu"
    gate: str = "none"
    readout: str = "clamped"
    hidden_seed: str = "signed"
    reduction: str = "mean"
    hidden_multiplier: float = 1.0
    regression: bool = False


def forward(layers: list[Layer], x: Array) -> list[Array]:
    """The input and the activity of every layer; tanh on hidden ones."""
    activity = [x]
    for depth, layer in enumerate(layers):
        post = np.zeros(len(layer.weight))
        for i in range(len(post)):
            post[i] = layer.bias[i]
            for j in range(len(activity[-1])):
                post[i] += layer.weight[i, j] * activity[-1][j]
        activity.append(post if depth == len(layers) - 1 else np.tanh(post))
    return activity


def softmax(logits: Array) -> Array:
    odds: Array = np.exp(logits - logits.max())
    return odds / odds.sum()


def clamped(layers: list[Layer], activity: list[Array], y: Any, how: Equations) -> list[Array]:
    """p of every layer, for one example."""
    output = activity[-1]
    target = np.asarray(y, dtype=np.float64) if how.regression else np.eye(len(output))[y]
    seed = target
    if how.teaching == "error":
        seed = target - (output if how.regression else softmax(output))
    found = []
    for depth, layer in enumerate(layers):
        last = depth == len(layers) - 1
        if last and how.readout == "clamped":
            found.append(seed)
            continue
        drive = np.abs(seed) if how.hidden_seed == "magnitude" and not last else seed
        for weight, bias in layer.feedback:
            drive = weight @ drive + bias
            if how.nonlinearity == "relu":
                drive = np.maximum(drive, 0)
        own = activity[depth + 1]
        if how.gate == "derivative" and not last:
            drive = drive * (1 - own**2)
        found.append(layer.strength * drive + (1 - layer.strength) * own)
    return found


def step(layers: list[Layer], xs: Array, ys: Any, how: Equations) -> None:
    """One inner step on a batch, xs `batch pre`."""
    growth = [np.zeros_like(layer.weight) for layer in layers]
    power = [np.zeros(len(layer.weight)) for layer in layers]
    input_power = [0.0 for _ in layers]
    for x, y in zip(xs, ys, strict=True):
        activity = forward(layers, x)
        for depth, p in enumerate(clamped(layers, activity, y, how)):
            input_power[depth] += sum(value**2 for value in activity[depth]) / len(xs)
            for i in range(len(p)):
                power[depth][i] += p[i] ** 2
                for j in range(len(activity[depth])):
                    growth[depth][i, j] += p[i] * activity[depth][j]
    for depth, layer in enumerate(layers):
        factor = 1 / len(xs) if how.reduction == "mean" else 1.0
        if depth < len(layers) - 1:
            factor *= how.hidden_multiplier
        for i, j in np.ndindex(*layer.weight.shape):
            a, w = factor * layer.rate[i, j], layer.weight[i, j]
            g, f = growth[depth][i, j], power[depth][i]
            layer.weight[i, j] = {
                "Hebb": w + a * g,
                "Oja": w + a * (g - f * w),
                "StableOja": (w + a * g) / (1 + a * f),
                "NormalizedHebb": w + a * g / (1e-3 + input_power[depth]),
            }[how.plasticity]


def patches(image: Array, kernel: int, stride: int, padding: int) -> list[tuple[int, int, Array]]:
    """Every output position of a convolution and what it sees, channels first, flattened."""
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    found = []
    for row in range((padded.shape[1] - kernel) // stride + 1):
        for column in range((padded.shape[2] - kernel) // stride + 1):
            top, left = row * stride, column * stride
            seen = padded[:, top : top + kernel, left : left + kernel]
            found.append((row, column, seen.reshape(-1)))
    return found
