"""Activity: what becomes of a product's output, and where a product's input comes from.

A site's activity is its output behind the norms and nonlinearities that follow it, unit by unit. A
rule that reads what presynaptic units receive needs the way back from a product's input through
the nonlinearity that it comes from. Both are followed by the tensors themselves, whoever calls the
function.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.sites.products import Handler, Products

T = torch.Tensor
POINTWISE = (
    F.relu, torch.relu, T.relu, F.leaky_relu, torch.tanh, T.tanh, F.tanh, torch.sigmoid, T.sigmoid,
    F.sigmoid, F.softplus, F.gelu, F.elu, F.silu, F.selu, F.celu, F.mish, F.hardtanh, F.relu6,
    F.hardswish, torch.relu_, T.relu_, F.relu_, T.tanh_, torch.tanh_, T.sigmoid_, torch.sigmoid_,
)  # fmt: skip
NORMS = (F.group_norm, F.layer_norm, F.batch_norm, F.rms_norm)
ORDERED = (  # the same numbers in another shape
    torch.flatten, T.flatten, torch.reshape, T.reshape, T.view, torch.unflatten, T.unflatten,
    torch.squeeze, T.squeeze, torch.unsqueeze, T.unsqueeze, T.contiguous,
)  # fmt: skip
WAY_BACK = 8  # how many functions a way back may have


class Followed(Products):
    """Products whose activity is followed, and the way back from whose inputs is known.

    `activity` maps a product's number to its activity; `came` maps the identity of a tensor to the
    function that made it, its input and its other arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.activity: list[Tensor] = []
        self.kept_input: list[Tensor] = []  # the inputs, as the module made them
        self.owner: dict[int, int] = {}  # identity of an activity -> the product's number
        self.came: dict[int, tuple[Any, Tensor, tuple[Any, ...], dict[str, Any]]] = {}

    def forget(self) -> None:
        super().forget()
        self.activity, self.kept_input, self.owner, self.came = [], [], {}, {}

    def product(self, *args: Any, **kwargs: Any) -> Tensor:
        number = self.number
        self.kept_input.append(args[1])
        out = super().product(*args, **kwargs)
        self.activity.append(out)
        self.owner[id(out)] = number
        return out

    def made(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """A function that may pass on an activity has been called."""
        if not isinstance(out, Tensor) or not args or not isinstance(args[0], Tensor):
            return
        given = args[0]
        if (number := self.owner.get(id(given))) is not None:
            if func not in ORDERED:
                shape = self.activity[number].shape
                self.activity[number] = out if out.shape == shape else out.reshape(shape)
                del self.owner[id(given)]
            self.owner[id(out)] = number
        self.kept += [given, out]
        if func not in NORMS and out is not given:
            self.came[id(out)] = (func, given, args[1:], kwargs)

    def shown(self, prediction: Tensor) -> int | None:
        """The number of the product whose activity the prediction is, in whatever shape."""
        return self.owner.get(id(prediction))

    def way_back(self, x: Tensor) -> list[tuple[Any, Tensor, tuple[Any, ...], dict[str, Any]]]:
        """The nonlinearities that x came through, the last one first."""
        found: list[tuple[Any, Tensor, tuple[Any, ...], dict[str, Any]]] = []
        while len(found) < WAY_BACK and (step := self.came.get(id(x))) is not None:
            found.append(step)
            x = step[1]
        return found


def pulled(
    func: Any, given: Tensor, rest: tuple[Any, ...], named: dict[str, Any], signal: Tensor
) -> Tensor:
    """`J^T signal`, J the Jacobian of a function at `given`: by hand for what is used most."""
    if func in _RELU:
        return signal.reshape(given.shape) * (given > 0)
    if func in _TANH:
        return signal.reshape(given.shape) * (1 - given.tanh().square())
    if func in ORDERED:
        return signal.reshape(given.shape)
    calm = {**named, "inplace": False} if "inplace" in named else named
    found: Any = torch.func.vjp(lambda value: func(value, *rest, **calm), given)
    out, pull = found
    (arrived,) = pull(signal.reshape(out.shape))
    return arrived  # type: ignore[no-any-return]


_RELU = {F.relu, torch.relu, T.relu}
_TANH = {torch.tanh, T.tanh, F.tanh}


def _follow(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = func(*args, **kwargs)
    assert isinstance(mode, Followed)
    mode.made(func, args, kwargs, out)
    return out


FOLLOW: dict[Any, Handler] = dict.fromkeys((*POINTWISE, *NORMS), _follow)


def flatten(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A flattened input is the same units in another shape; a flattened weight is a view of it."""
    from metaplastic.sites.handlers import view

    if mode.source(args[0]) is not None:
        return view(mode, func, args, kwargs)
    return _follow(mode, func, args, kwargs)


FOLLOW |= dict.fromkeys(ORDERED, flatten)
