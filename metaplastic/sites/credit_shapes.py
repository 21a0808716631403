"""What shapes the sites of a model meet, seen on one example, and how direct errors fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.sites.reroute import rerouted


@dataclass(frozen=True)
class Shapes:
    """Of each site the shape of its padded input; of the model that of its output."""

    inputs: Mapping[str, tuple[int, ...]]
    output: tuple[int, ...]

    def direct(self, name: str, weight: Tensor) -> Tensor:
        """An empty matrix for the direct feedback to a site's input: outputs x units."""
        outputs, units = self._numbers(name)
        return torch.empty(outputs, units, dtype=weight.dtype, device=weight.device)

    def send(self, name: str, errors: Tensor, feedback: Tensor, like: Tensor) -> Tensor:
        """The output's error through `feedback` to the input of a site, shaped `like`."""
        if tuple(like.shape[1:]) != self.inputs[name][1:] and not self._by_position(name):
            raise ValueError(
                f"Site {name!r} was given inputs of shape {tuple(like.shape[1:])}, but its direct "
                f"feedback was made for {self.inputs[name][1:]}; make a new credit with an example "
                "of the new size."
            )
        flat = errors if self._by_position(name) else errors.flatten(1)
        return (flat @ feedback.to(errors)).reshape(like.shape)

    def _by_position(self, name: str) -> bool:
        """Whether each position of the output has one of the input, as in a network of tokens."""
        return len(self.output) > 2 and self.output[:-1] == self.inputs[name][:-1]

    def _numbers(self, name: str) -> tuple[int, int]:
        if self._by_position(name):
            return self.output[-1], self.inputs[name][-1]
        return (
            torch.Size(self.output[1:]).numel(), torch.Size(self.inputs[name][1:]).numel()
        )  # fmt: skip


def trace(model: nn.Module, sites: dict[str, str], example: Any) -> Shapes:
    """Run the model on an example, in eval mode, and see what its sites meet.

    Raises:
        ValueError: if a site is not called, or is called with something else than one batch.
    """
    met: dict[str, tuple[int, ...]] = {}

    def watch(name: str, x: Tensor, out: Tensor) -> None:
        met.setdefault(name, tuple(x.shape))

    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), rerouted(model, sites, None, watch):
            model.eval()
            output = model(*example) if isinstance(example, tuple) else model(example)
    finally:
        for module, was in training.items():
            module.training = was
    if unused := [name for name, owner in sites.items() if owner not in met]:
        raise ValueError(
            f"Sites {', '.join(map(repr, unused))} were not called on the example, so no error "
            "would reach them: their owner reads their weights itself, or leaves them out. Name "
            f"them in leave={unused!r}, or hand in an example that uses them."
        )
    for name, shape in met.items():
        if len(shape) < 2:
            raise ValueError(
                f"Site {name!r} was given one vector of {shape[0]}; the first axis must be the "
                "batch: use example[None]."
            )
    return Shapes(met, tuple(output.shape) if isinstance(output, Tensor) else ())
