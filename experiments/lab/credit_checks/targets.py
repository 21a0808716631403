"""Square layers that learn by targets through their inverses, beside backprop's gradient.

The setting of Ahmad et al. (2020) at small size: five square leaky layers, squared error to one-hot
answers on the first ten outputs, pixels from 0 to 1, float64, Adam (here with its usual
correction of the first steps, there without); half their examples, in minibatches
of 40 where theirs would have 20, to save time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.credit_checks.data import load_images
from experiments.lab.credit_checks.training import MEASURED_EXAMPLES, shuffled
from experiments.lab.credit_checks.work import Measured
from metaplastic.online.credit_angles import angle
from metaplastic.pathways.inverse import Inverse

SLOPE = 0.1


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Accuracy, and the angle of every site's gradient to backprop's; no `how` is backprop."""

    how: Inverse | None = None
    lr: float = 1e-4
    examples: int = 10_000
    layers: int = 5
    epochs: int = 2
    batch: int = 40
    root: str | None = None

    def reduced(self) -> Targets:
        return replace(self, examples=2000)

    def measure(self, seed: int) -> Measured:
        begun = time.perf_counter()
        data = load_images("fashion_mnist", self.examples, self.root, scale="unit", pool=2)
        chain = squares(data.x[0].numel(), self.layers, seed)
        optimizer = torch.optim.Adam(chain.parameters(), self.lr, betas=(0.9, 0.99), eps=1e-8)
        target = F.one_hot(data.y, 10).double()
        x = data.x.flatten(1).double()
        generator = torch.Generator().manual_seed(seed)
        for _ in range(self.epochs):
            for rows in shuffled(len(x), self.batch, generator):
                optimizer.zero_grad()
                if self.how is None:
                    half_squares(chain(x[rows]), target[rows]).backward()  # type: ignore[no-untyped-call]
                else:
                    self.how.backward(chain, x[rows], target[rows], half_squares)
                optimizer.step()
        with torch.no_grad():
            correct = chain(data.test_x.flatten(1).double())[:, :10].argmax(1) == data.test_y
        measured = data.test_x[:MEASURED_EXAMPLES].flatten(1).double()
        targets = F.one_hot(data.test_y[:MEASURED_EXAMPLES], 10).double()
        return {
            "accuracy": 100 * float(correct.double().mean()),
            "delta": angles(chain, self.how, measured, targets),
            "seconds": time.perf_counter() - begun,
        }


def squares(units: int, layers: int, seed: int) -> nn.Sequential:
    """Square layers with orthogonal weights, each followed by a leaky nonlinearity."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[nn.Module] = []
    for _ in range(layers):
        site = nn.Linear(units, units, dtype=torch.float64)
        nn.init.orthogonal_(site.weight, generator=generator)
        nn.init.zeros_(site.bias)
        parts += [site, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*parts)


def angles(chain: nn.Sequential, how: Inverse | None, x: Tensor, y: Tensor) -> list[float]:
    """Degrees between this rule's and backprop's gradient of each weight, from the input up."""
    if how is None:
        return []
    how = replace(how, orthogonality=0.0)  # its gradient is exact
    weights = [p for name, p in chain.named_parameters() if name.endswith("weight")]
    exact = torch.autograd.grad(half_squares(chain(x), y), weights)
    chain.zero_grad()
    how.backward(chain, x, y, half_squares)
    found = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    return [angle(f, e) for f, e in zip(found, exact, strict=True)]


def half_squares(output: Tensor, target: Tensor) -> Tensor:
    """Half the squared distance of the first outputs, the mean over examples.

    Outputs of which nothing is wanted are auxiliary: they are their own targets.
    """
    return 0.5 * (output[:, : target.shape[1]] - target).square().sum() / len(output)
