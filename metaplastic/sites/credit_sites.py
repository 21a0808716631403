"""The places in any module where an error meets synapses: its Linear and convolution submodules.

A site is told by its dotted name and is looked up anew in whatever model is handed in, so a copy of
the model, or the model inside a wrapper, has the same sites.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Synapses = nn.Linear | nn.Conv1d | nn.Conv2d
REFUSED: dict[type[nn.Module], str] = {
    nn.RNNBase: "its recurrent weights are inside one kernel",
    nn.RNNCellBase: "its recurrent weights are inside one kernel",
    nn.MultiheadAttention: "its projections are packed and its out_proj is never called",
    nn.Bilinear: "it multiplies two inputs",
    nn.Conv3d: "no rule here is written for it",
    nn.modules.conv._ConvTransposeNd: "no rule here is written for it",
}


@dataclass(frozen=True)
class Meeting:
    """A site as a linear map without its bias: what it does to inputs, errors and both."""

    module: Synapses

    @property
    def pads(self) -> bool:
        """Whether the input is padded first: by other than zeros, or by a word such as `same`."""
        conv = self.module
        return not isinstance(conv, nn.Linear) and (
            conv.padding_mode != "zeros" or isinstance(conv.padding, str)
        )

    def padded(self, x: Tensor) -> Tensor:
        """The input as the product sees it, by differentiable operations."""
        if not self.pads:
            return x
        conv: Any = self.module
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        return F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)

    @property
    def _how(self) -> tuple[Any, Any, Any, int]:
        conv: Any = self.module
        padding = (0,) * len(conv.stride) if self.pads else conv.padding
        return conv.stride, padding, conv.dilation, conv.groups

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight x`, of a padded x."""
        if isinstance(self.module, nn.Linear):
            return F.linear(x, weight)
        convolve = F.conv1d if isinstance(self.module, nn.Conv1d) else F.conv2d
        stride, padding, dilation, groups = self._how
        return convolve(x, weight, None, stride, padding, dilation, groups)

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """`weight^T signal`: a signal on the output carried to the padded input, shaped `like`."""
        if isinstance(self.module, nn.Linear):
            return signal @ weight
        return self._backward(signal, torch.empty_like(like, dtype=signal.dtype), weight, 0)

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        """`signal x^T`, summed over examples and positions, of a padded x; shaped as weights."""
        if isinstance(self.module, nn.Linear):
            return signal.flatten(0, -2).mT @ x.flatten(0, -2)
        return self._backward(signal, x, like, 1)

    def _backward(self, signal: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        stride, padding, dilation, groups = self._how
        wanted = [which == 0, which == 1, False]
        found: Sequence[Tensor] = torch.ops.aten.convolution_backward(
            signal, x, weight, None, stride, padding, dilation, False, [0] * len(stride), groups,
            wanted,
        )  # fmt: skip
        return found[which]


def bare(model: nn.Module) -> nn.Module:
    """The user's own module inside DistributedDataParallel or a compiled wrapper."""
    while True:
        inside = getattr(model, "_orig_mod", None)
        if inside is None and isinstance(
            model, nn.parallel.DistributedDataParallel | nn.DataParallel
        ):
            inside = model.module
        if inside is None:
            return model
        model = inside


def find(model: nn.Module, leave: Collection[str] = ()) -> dict[str, str]:
    """Every site's name -> the name of the first site that has the same weight.

    `leave` names modules that keep their exact gradient, with all that is in them.

    Raises:
        ValueError: for a module with weights that no rule could reach, for a name in `leave` that
            is not in the model, and for a model without sites.
    """
    model, leave = bare(model), set(leave)
    named = dict(model.named_modules(remove_duplicate=False))
    if unknown := sorted(leave - set(named)):
        raise ValueError(
            f"leave names {unknown!r}, which is no module of this model. "
            f"Its modules are {', '.join(name for name in named if name)}."
        )
    left = tuple(name + "." for name in leave)
    owner: dict[int, str] = {}
    sites = {}
    for name, module in named.items():
        if name in leave or name.startswith(left):
            continue
        for kind, reason in REFUSED.items():
            if isinstance(module, kind):
                raise ValueError(
                    f"Module {name!r} is a {type(module).__name__}: {reason}, so no error can be "
                    f"rerouted there. Pass leave=[{name!r}] to give it its exact gradient, or use "
                    "Linear and Conv layers."
                )
        if isinstance(module, Synapses):
            if isinstance(module.weight, nn.parameter.UninitializedParameter):
                raise ValueError(
                    f"Site {name!r} is lazy and has no weight yet; run the model once first."
                )
            # A weight that is computed anew at every access has no identity of its own.
            weight = module._parameters.get("weight")
            sites[name] = owner.setdefault(id(module if weight is None else weight), name)
    if not sites:
        raise ValueError(
            f"This {type(model).__name__} has no Linear, Conv1d or Conv2d module"
            f"{' outside ' + ', '.join(sorted(leave)) if leave else ''}, so there is no site where "
            "an error could take another way; train it by backprop."
        )
    return sites
