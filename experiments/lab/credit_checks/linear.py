"""A linear teacher: the smallest task that shows feedback alignment.

30-20-10 without biases or nonlinearity, weights uniform within 0.01, feedback within 0.5, the
teacher within 1, one Gaussian input a step (Lillicrap et al. 2016, as their code was read by
others).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import metaplastic
from experiments.lab.credit_checks.work import Measured

ANGLE_AT, ERROR_AT = 300, 1000
LEARNED = 5000


@dataclass(frozen=True, kw_only=True)
class LinearTeacher:
    """Delta angles at the hidden layer, and the error over the variance of the targets (NSE)."""

    rule: str = "backprop"
    lr: float = 1e-3
    steps: int = LEARNED
    sizes: tuple[int, int, int] = (30, 20, 10)

    def reduced(self) -> LinearTeacher:
        return replace(self, steps=ERROR_AT)

    def measure(self, seed: int) -> Measured:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._learn()

    def _learn(self) -> Measured:
        begun = time.perf_counter()
        pre, hidden, post = self.sizes
        model = nn.Sequential(nn.Linear(pre, hidden, bias=False), nn.Linear(hidden, post, False))
        teacher = torch.empty(post, pre).uniform_(-1, 1)
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.01, 0.01)
        inputs = torch.randn(1000, pre)
        credit = metaplastic.credit(self.rule, model, example=inputs[:1])
        if credit.rule.has_feedback:
            credit.feedback("1").uniform_(-0.5, 0.5)
        optimizer = torch.optim.SGD(model.parameters(), self.lr)
        targets = inputs @ teacher.T
        delta, error = {}, {}
        for step in range(self.steps + 1):
            if step in (0, ANGLE_AT, self.steps):
                found = metaplastic.angles(credit, model, inputs, targets, _squares)
                delta[str(step)] = found["0"].delta
            if step in (ERROR_AT, self.steps):
                with torch.no_grad():
                    missed = (model(inputs) - targets).square().mean() / targets.var()
                error[str(step)] = float(missed)
            x = torch.randn(1, pre)
            optimizer.zero_grad()
            credit.backward(model, x, x @ teacher.T, _squares)
            optimizer.step()
        return {"delta_at": delta, "error_at": error, "seconds": time.perf_counter() - begun}


def _squares(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square().sum() / len(output)
