"""One network of the zoo: how to make it, its inputs, and what must hold of it."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.packages import prepare


def of_classes(output: Any, y: Tensor) -> Tensor:
    """Cross entropy of logits with their classes on the last axis, alone or in `.logits`."""
    logits = getattr(output, "logits", output)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten())


@dataclass(frozen=True)
class Entry:
    """A network as people have it, small, in float64, with an input and a loss.

    `build` is called with a seeded generator and makes the network in any precision; imports of
    the package belong inside it. `args` or `kwargs` are the inputs, never both.
    """

    name: str
    build: Callable[[], nn.Module]
    target: Tensor
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[Any, Tensor], Tensor] = of_classes
    package: str | None = None
    unused: Mapping[str, str] = field(default_factory=dict)
    """Trainable parameters that have no gradient by autograd either, each with the reason."""
    aloof: frozenset[str] = frozenset()
    """Trainable weights of two or more axes whose products are none of a site's."""
    quiet: tuple[type[Warning], ...] = ()
    """What the package warns of while it is imported or makes the network."""

    @property
    def given(self) -> Any:
        """The inputs as `credit` takes them: a tensor, a tuple of several, or a dict by name."""
        if self.kwargs:
            return dict(self.kwargs)
        return self.args[0] if len(self.args) == 1 else self.args

    def missing(self) -> str | None:
        """A sentence if the package is not installed, else None."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"{self.package} is not installed: `make .venv/zoo` brings it."

    def skip_if_missing(self) -> None:
        """Skip the test that runs, or fail it where every package must be there."""
        reason = self.missing()
        if reason is None:
            return
        if "METAPLASTIC_NEED_PEERS" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)

    def make(self) -> nn.Module:
        """The network, the same at every call."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            for kind in self.quiet:
                warnings.simplefilter("ignore", kind)
            if self.package is not None:
                prepare(self.package)
            torch.manual_seed(0)
            model = self.build().double()
            stir(model)
        return model

    def run(self, model: nn.Module) -> Tensor:
        """The loss of a network that `make` made."""
        return self.loss(model(*self.args, **self.kwargs), self.target)


def stir(model: nn.Module) -> None:
    """Move parameters off the constants that they start from.

    A gain of zero at the end of a branch, or an adapter's zero matrix, would let no gradient pass
    and the comparison would be one of zeros.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(0.2 * torch.randn_like(parameter))


def images(*shape: int, seed: int = 0) -> Tensor:
    """Noise of any shape."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def integers(most: int, *shape: int, seed: int = 1) -> Tensor:
    """Tokens or classes."""
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))
