"""How far a rule whose feedback is the weights is from autograd, parameter by parameter."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import metaplastic

NOTHING = 1e-11
"""Of the largest gradient of all: what is below is the rounding of sums that cancel, such as the
gradient of the bias of a key, and is compared with the largest gradient of all."""


class Entry(Protocol):
    """A network with an input and a loss, as an entry of `tests.zoo`."""

    @property
    def name(self) -> str: ...
    @property
    def target(self) -> Tensor: ...
    @property
    def given(self) -> Any: ...
    @property
    def aloof(self) -> frozenset[str]: ...

    def loss(self, output: Any, y: Tensor, /) -> Tensor: ...
    def missing(self) -> str | None: ...
    def make(self) -> nn.Module: ...
    def run(self, model: nn.Module) -> Tensor: ...


def autograd(entry: Entry) -> dict[str, Tensor]:
    """The gradient of every trainable parameter that the loss depends on."""
    model = entry.make()
    entry.run(model).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def credited(entry: Entry, model: nn.Module) -> metaplastic.Credit:
    """Feedback alignment, without its warning of weights that the entry names itself."""
    with warnings.catch_warnings():
        if entry.aloof:
            warnings.filterwarnings("ignore", message="No rule reaches")
        return metaplastic.credit("feedback_alignment", model, example=entry.given)


def mirrored(entry: Entry, model: nn.Module) -> metaplastic.Credit:
    """Feedback alignment whose feedback is a copy of the weights."""
    by_rule = credited(entry, model)
    with torch.no_grad():
        for name in dict.fromkeys(by_rule.sites.values()):
            by_rule.feedback(name).copy_(by_rule.weight(name, model))
    return by_rule


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The largest difference over the largest gradient; infinite where a gradient is missing."""
    most = max(float(gradient.abs().max()) for gradient in expected.values())
    table = {}
    for name, gradient in expected.items():
        largest = float(gradient.abs().max())
        scale = largest if largest > NOTHING * most else most
        difference = float((found[name] - gradient).abs().max()) if name in found else torch.inf
        table[name] = difference / scale
    return table | dict.fromkeys(found.keys() - expected.keys(), torch.inf)


def compared(entry: Entry) -> tuple[metaplastic.Credit, dict[str, float]]:
    """The rule at its sites, and the `differences`."""
    expected, model, plain = autograd(entry), entry.make(), entry.make()
    by_rule = mirrored(entry, model)
    loss = by_rule.backward(model, entry.given, entry.target, entry.loss)
    passed = entry.run(plain).detach()
    torch.testing.assert_close(loss, passed, rtol=1e-13, atol=0.0)
    theirs = dict(plain.named_buffers())
    torch.testing.assert_close(dict(model.named_buffers()), theirs, rtol=1e-12, atol=1e-12)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return by_rule, apart(found, expected)


def differences(entry: Entry) -> dict[str, float]:
    """Of every trainable parameter, relative to its largest gradient by autograd.

    On the way, the loss and the buffers must be those of one plain pass.
    """
    return compared(entry)[1]
