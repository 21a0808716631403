"""The published sine net at full length: nine plastic layers, 400 steps, one meta-gradient.

11-300-300-300-300-300-900-300-300-1, every layer plastic by Oja's rule with a rate per synapse,
taught the error; 10 functions x 40 steps x 32 points, one lifetime. Keeping every step would hold
400 sets of a million weights, 1.6 GB; what memory allows is kept and the first steps run twice.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import torch
from torch import nn

from experiments.benchmarks import Finding, of_threads
from experiments.benchmarks.measure import peak_mb, seconds
from metaplastic import Direct, LearningRule, MeanSquaredError, Oja, OnlineLearner, Unroll
from tasks.sines import Sines

WIDTHS = (11, 300, 300, 300, 300, 300, 900, 300, 300, 1)
SECONDS, MEGABYTES, SEGMENT = 3.0, 2000.0, 300
# Per step: forward and outer product; forward once more in the compiled backward pass, which keeps
# no activity; two for each of the two in the backward pass. The first quarter: the first two again.
PRODUCTS = 7.5


def learner() -> OnlineLearner:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(WIDTHS):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    rule = LearningRule(Direct(teaching="error", readout="feedback"), Oja(rate=1e-7))
    how = Unroll(checkpoint_every=SEGMENT, compile=True)
    return OnlineLearner(nn.Sequential(*layers[:-1]), rule, MeanSquaredError(1), unroll=how)


def multiplications_a_second() -> float:
    """Of the matrix products that the lifetime is made of, on the threads it may use."""
    batch, weight = torch.rand(1, 32, 300), torch.rand(1, 300, 300)
    best = min(seconds(lambda: torch.bmm(batch, weight), calls=50) for _ in range(20))
    return 32 * 300 * 300 / best


def measure(repeat: int, seed: int) -> list[Finding]:
    stream, made = Sines(), learner()
    episode = stream.sample(1, torch.Generator().manual_seed(seed))
    synapses = sum(fan_in * fan_out for fan_in, fan_out in pairwise(WIDTHS))
    work = PRODUCTS * stream.spec.steps * stream.spec.batch * synapses
    bound = work / multiplications_a_second()

    def meta_gradient() -> None:
        made.zero_grad()
        made(episode).loss.backward()

    first = seconds(meta_gradient)
    times = [seconds(meta_gradient) for _ in range(repeat)]
    spent, peak, on = median(times), peak_mb(), of_threads(torch.get_num_threads())
    return [
        Finding(
            what=f"nine-layer sine net, 400 steps of 32, seconds a lifetime on {on}",
            result=f"{spent:.2f} s ({min(times):.2f} to {max(times):.2f}); "
            f"its matrix products alone {bound:.2f} s; compilation {first - spent:.0f} s, once",
            goal=f"at most {SECONDS:g} s",
            met=spent <= SECONDS,
            peak_mb=peak,
            detail={"seconds": spent, "bound_s": bound, "compile_s": first - spent},
        ),
        Finding(
            what="nine-layer sine net, peak memory",
            result=f"{peak:.0f} MB",
            goal=f"at most {MEGABYTES:g} MB",
            met=peak <= MEGABYTES,
            peak_mb=peak,
        ),
    ]
