"""An interference matrix by its first-order estimate: one gradient an example, no loss twice.

Codes of 256 features meet a network of two plastic layers. To try an update is a pass of all
examples; to estimate it, a dot product for each, as long as the weights. So what an estimate saves
grows with what a pass costs beside the weights: here with the size of the minibatch of a step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved, versus
from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner
from metaplastic.episode import Episode
from metaplastic.evaluate.interference import interference

UNITS, CLASSES, TRIED = 256, 40, 4
EXAMPLES, BATCHES = 50, (1, 32)


def measure(repeat: int, seed: int) -> list[Finding]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, CLASSES))
    rule = LearningRule(Direct(), Oja(rate=0.01))
    learner = OnlineLearner(network, rule, CrossEntropy(CLASSES))
    every, few = "every update tried", f"first-order, {TRIED} tried"
    findings = []
    for batch in BATCHES:
        codes = torch.rand(1, EXAMPLES, batch, UNITS)
        labels = (torch.arange(EXAMPLES) % CLASSES)[None, :, None].expand(1, EXAMPLES, batch)
        queries = (codes[:, :, 0], labels[..., 0], labels[..., 0])
        episodes = Episode(codes, labels, labels, *queries, torch.tensor([seed]))
        times = interleaved(
            {
                every: partial(interference, learner, episodes),
                few: partial(interference, learner, episodes, exact=TRIED),
            },
            repeat,
            calls=1,
        )
        what = f"interference of {EXAMPLES} steps of {batch}"
        found = versus(what, times, every, few, goal=2)
        findings.append(found if batch > 1 else replace(found, goal="", met=None))
    return findings
