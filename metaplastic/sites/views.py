"""Views: functions that look at a weight from elsewhere, and how they are saved.

The same view of a weight's feedback is what a product uses in the weight's place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

T: Any = torch.Tensor
_METHODS = (
    "t", "transpose", "chunk", "split", "unbind", "__getitem__", "view", "reshape", "unflatten",
    "flatten", "squeeze", "unsqueeze", "contiguous", "permute", "movedim", "narrow", "select",
    "clone", "view_as", "reshape_as", "tensor_split", "expand", "expand_as",
)  # fmt: skip
_FUNCTIONS = (
    "t", "transpose", "chunk", "split", "unbind", "reshape", "flatten", "squeeze", "unsqueeze",
    "permute", "movedim", "narrow", "select", "tensor_split",
)  # fmt: skip
VIEW_BY_NAME: dict[str, Any] = {
    **{f"Tensor.{name}": getattr(T, name) for name in _METHODS},
    **{name: getattr(torch, name) for name in _FUNCTIONS},
    "Tensor.T": T.T.__get__,
    "Tensor.mT": T.mT.__get__,
}
VIEWS = {func: name for name, func in VIEW_BY_NAME.items()}
"""Each function, and what it is called where a site is saved."""
IN_PLACE = VIEW_BY_NAME.keys() - {
    "Tensor.expand", "Tensor.expand_as", "Tensor.clone", "Tensor.contiguous", "Tensor.reshape",
    "reshape", "Tensor.reshape_as", "Tensor.flatten", "flatten",
}  # fmt: skip
"""Those through which a weight can be written: no copies, and no number twice."""


class View(NamedTuple):
    """One such look: the function's name, its further arguments, and which part of the result."""

    name: str
    rest: tuple[Any, ...]
    named: dict[str, Any]
    part: int | None = None

    def __call__(self, tensor: Tensor) -> Tensor:
        found = VIEW_BY_NAME[self.name](tensor, *self.rest, **self.named)
        return found if self.part is None else found[self.part]  # type: ignore[no-any-return]
