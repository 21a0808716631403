"""A site: a Linear or Conv2d as one matrix product over rows.

A Linear has one row an example, a convolution one row an example and position (its input unfolded
into patches), so one plasticity rule serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.stacked.low_rank import LowRank
from metaplastic.stacked.patches import fold, output_size, padding, unfold
from metaplastic.stacked.readouts import Readout


@dataclass(frozen=True)
class Site:
    """A layer with weights that a rule may change, by its dotted name in the network."""

    name: str
    layer: int  # its index in the stack
    activity: int  # index of the tape value that holds its activity: after norm and nonlinearity
    module: nn.Linear | nn.Conv2d

    @property
    def shape(self) -> tuple[int, int]:
        """`post pre` of its synapse matrix; a convolution's `pre` is channels x kernel."""
        weight = self.module.weight
        return weight.shape[0], weight[0].numel()

    @property
    def units(self) -> int:
        """The units of its output, as many as a bias has."""
        return self.shape[0]

    @property
    def weight(self) -> Tensor:
        """The meta-learned weight, detached."""
        return self.module.weight.detach()

    @property
    def has_bias(self) -> bool:
        """Whether the layer has a bias."""
        return self.module.bias is not None

    @property
    def key(self) -> str:
        """The name as a key of a ParameterDict."""
        return self.name.replace(".", "_")

    @property
    def bias_key(self) -> str:
        """The key of the bias."""
        return self.key + "_bias"

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as `(tasks) post pre`."""
        kernel = self.module.weight.dim()
        return weight if kernel == 2 else weight.flatten(weight.dim() - kernel + 1)

    def rows(self, x: Tensor) -> Tensor:
        """The presynaptic side: `tasks batch *features` -> `tasks rows pre`."""
        return x if isinstance(self.module, nn.Linear) else unfold(self.module, x)

    def rows_of_units(self, value: Tensor) -> Tensor:
        """The postsynaptic side: `tasks batch post (height width)` -> `tasks rows post`."""
        return value.flatten(3).mT.flatten(1, 2) if value.dim() == 5 else value

    def value_of_rows(self, rows: Tensor, like: Tensor) -> Tensor:
        """The inverse of `rows_of_units`, for a value of the shape of `like`."""
        if like.dim() != 5:
            return rows
        by_example = rows.reshape(*like.shape[:2], -1, rows.shape[-1])
        return by_example.mT.reshape_as(like)

    def run(self, x: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The output on x and, if each task has its own weights, the input rows."""
        self._check_fit(x)
        weight: Any = weights[self.name + ".weight"]
        bias = weights.get(self.name + ".bias")
        if isinstance(weight, LowRank):
            out = weight.run(x)
            return (out if bias is None else out + _of_tasks(bias)), x
        if weight.dim() == self.module.weight.dim():
            return self._shared(x, weight, bias), None
        return self._per_task(x, weight, bias)

    def pull(self, x: Tensor, signal: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """A signal on the output, carried back to the input x."""
        if isinstance(self.module, Readout):
            raise ValueError(
                f"Site {self.name!r} is a {type(self.module).__name__}, whose output is not a "
                "product, so no signal is carried back through it; use a Linear, or another "
                "pathway."
            )
        weight: Any = weights[self.name + ".weight"]
        if isinstance(weight, LowRank):
            return weight.pull(signal)
        rows = self.rows_of_units(signal) @ self.matrix(weight)
        return rows if isinstance(self.module, nn.Linear) else fold(self.module, rows, x)

    def _per_task(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        matrix, rows = self.matrix(weight), self.rows(x)
        if isinstance(self.module, Readout):
            out = self.module.answer(rows, matrix)
        elif bias is None:
            out = torch.bmm(rows, matrix.mT)
        else:
            out = torch.baddbmm(_of_tasks(bias), rows, matrix.mT)
        if isinstance(self.module, nn.Conv2d):
            height, width = output_size(self.module, x)
            out = out.reshape(*x.shape[:2], height, width, -1).movedim(-1, 2)
        return out, rows

    def _shared(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.module, Readout):
            return self.module.answer(x, weight)
        if isinstance(self.module, nn.Linear):
            return F.linear(x, weight, bias)
        conv = self.module
        out = F.conv2d(x.flatten(0, 1), weight, bias, conv.stride, padding(conv), conv.dilation)
        return out.reshape(*x.shape[:2], *out.shape[1:])

    def _check_fit(self, x: Tensor) -> None:
        given, module = tuple(x.shape[2:]), self.module
        if isinstance(module, nn.Linear):
            needed, fits = f"a flat vector of {module.in_features}", given == (module.in_features,)
        else:
            needed = f"{module.in_channels} channels x height x width"
            fits = len(given) == 3 and given[0] == module.in_channels
        if not fits:
            raise ValueError(
                f"Site {self.name!r} was given inputs of shape {given} per example; it needs "
                f"{needed}. Change its size or the encoder's, or put a Flatten before it."
            )


def _of_tasks(bias: Tensor) -> Tensor:
    """A bias, of each task or of all, broadcastable to `tasks rows post`."""
    return bias[:, None] if bias.dim() == 2 else bias
