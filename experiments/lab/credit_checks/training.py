"""Training of one network on images by one rule, with angles of its feedback."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaplastic
from experiments.lab.credit_checks.data import Scale, load_images
from experiments.lab.credit_checks.networks import initialize, layered, lenet
from experiments.lab.credit_checks.work import Measured
from metaplastic.online.credit import Loss
from metaplastic.online.credit_angles import angle
from metaplastic.rules.credit_rule import CreditRule

MEASURED_EXAMPLES = 1000  # test images on which angles are measured
OF_FEEDBACK = 1000  # added to the seed, so that feedback is independent of the weights
Options = tuple[tuple[str, Any], ...]


def options(**given: Any) -> Options:
    """Options of a rule, as something that can be compared and kept."""
    return tuple(given.items())


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings; the defaults are those of most checks: Fashion-MNIST, three hidden layers.

    Args:
        rule: a name in `metaplastic.rules`, or a class of rules.
        gain: of the first weights, against `sqrt(2 / (fan_in + fan_out))`.
        mirror: minibatches before training in which only the feedback learns.
    """

    rule: str | type[CreditRule] = "backprop"
    options: Options = ()
    data: str = "fashion_mnist"
    root: str | None = None
    examples: int | None = 20_000
    held_out: int = 0
    scale: Scale = "standard"
    network: Literal["layers", "lenet"] = "layers"
    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "tanh"
    loss: Literal["cross_entropy", "sigmoid"] = "cross_entropy"
    gain: float = 1.0
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch: int = 128
    epochs: int = 5
    mirror: int = 0

    @property
    def rule_name(self) -> str:
        return self.rule if isinstance(self.rule, str) else self.rule.__name__

    def reduced(self) -> Training:
        few = min(self.examples or 2500, 2500)
        return replace(self, examples=few, epochs=1 if self.network == "lenet" else 2)

    def measure(self, seed: int) -> Measured:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._train(seed)

    def _train(self, seed: int) -> Measured:
        begun = time.perf_counter()
        data = load_images(
            self.data, self.examples, self.root, scale=self.scale, held_out=self.held_out
        )
        loss_fn = LOSSES[self.loss]
        model = (
            lenet()
            if self.network == "lenet"
            else layered((data.x[0].numel(), *self.hidden, 10), self.activation)
        )
        initialize(model, self.gain, seed)
        given = dict(self.options)
        rule = self.rule if isinstance(self.rule, str) else self.rule(**given)
        given = given if isinstance(rule, str) else {}
        credit = metaplastic.credit(
            rule, model, example=data.x[:2], seed=seed + OF_FEEDBACK, **given
        )
        optimizer = torch.optim.SGD(
            model.parameters(), self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        generator = torch.Generator().manual_seed(seed)
        top = list(credit.sites)[-1]
        curve: list[float] = []
        accuracies: list[float] = []
        for rows in _batches(len(data.x), self.batch, self.mirror, generator):
            credit.backward(model, data.x[rows], data.y[rows], loss_fn)
        for _ in range(self.epochs):
            for rows in shuffled(len(data.x), self.batch, generator):
                optimizer.zero_grad()
                credit.backward(model, data.x[rows], data.y[rows], loss_fn)
                optimizer.step()
            accuracies.append(_accuracy(model, data.test_x, data.test_y))
            if credit.rule.has_feedback and credit.rule.route == "sequential":
                weight = model.get_submodule(top).weight
                assert isinstance(weight, Tensor)
                curve.append(angle(weight, credit.through(top, model)))
        measured, labels = data.test_x[:MEASURED_EXAMPLES], data.test_y[:MEASURED_EXAMPLES]
        sites = list(metaplastic.angles(credit, model, measured, labels, loss_fn).values())
        # The last site receives the error itself; the first propagates none.
        return {
            "accuracy": accuracies[-1],
            "accuracies": accuracies,
            "delta": [site.delta for site in sites[:-1]],
            "weight": [site.weight for site in sites[1:] if site.weight is not None],
            "ratio": [site.ratio for site in sites[1:] if site.ratio is not None],
            "curve": curve,  # the last site's weight angle after every epoch
            "seconds": time.perf_counter() - begun,
        }


def shuffled(examples: int, batch: int, generator: torch.Generator) -> list[Tensor]:
    """The indices of an epoch's minibatches; the last may be smaller."""
    order = torch.randperm(examples, generator=generator)
    return [order[start : start + batch] for start in range(0, examples, batch)]


def _batches(examples: int, batch: int, count: int, generator: torch.Generator) -> list[Tensor]:
    return [torch.randint(examples, (batch,), generator=generator) for _ in range(count)]


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    parts = range(0, len(x), MEASURED_EXAMPLES)
    labels = torch.cat([model(x[start : start + MEASURED_EXAMPLES]).argmax(1) for start in parts])
    return 100 * int((labels == y).sum()) / len(y)


def _sigmoid(output: Tensor, y: Tensor) -> Tensor:
    """Of each class by itself: summed over classes, the mean over examples."""
    wanted = F.one_hot(y, output.shape[1]).to(output)
    return F.binary_cross_entropy_with_logits(output, wanted, reduction="sum") / len(y)


LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "sigmoid": _sigmoid}
