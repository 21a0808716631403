"""A convolution as a matrix product over rows: an example and position each, its patch unfolded."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def unfold(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`tasks batch channels height width` -> `tasks rows pre`, pre = channels x kernel."""
    patches = F.unfold(
        x.flatten(0, 1), _pair(conv.kernel_size), _pair(conv.dilation), padding(conv),
        _pair(conv.stride),
    )  # fmt: skip
    return patches.reshape(*x.shape[:2], *patches.shape[1:]).mT.flatten(1, 2)


def fold(conv: nn.Conv2d, rows: Tensor, like: Tensor) -> Tensor:
    """The transpose of `unfold`: patches summed at their places; shaped as `like`."""
    patches = rows.reshape(like.shape[0] * like.shape[1], -1, rows.shape[-1]).mT
    size = (like.shape[-2], like.shape[-1])
    return F.fold(
        patches, size, _pair(conv.kernel_size), _pair(conv.dilation), padding(conv),
        _pair(conv.stride),
    ).view_as(like)  # fmt: skip


def check_unfolds(name: str, conv: nn.Conv2d) -> None:
    """Raise ValueError unless the convolution called `name` is a matrix product over patches."""
    if conv.groups != 1 or conv.padding_mode != "zeros":
        raise ValueError(
            f"Layer {name!r} is a convolution with groups={conv.groups} and "
            f"padding_mode={conv.padding_mode!r}; here groups=1 and 'zeros' are needed. "
            "Move it into the encoder, which may be any module."
        )
    if conv.padding == "same":
        raise ValueError(
            f"Layer {name!r} is a convolution with padding='same', which has no fixed number of "
            "zeros; give it as numbers, such as padding=1 for a 3x3 kernel."
        )


def padding(conv: nn.Conv2d) -> tuple[int, int]:
    """The zero padding of a convolution as numbers."""
    if isinstance(conv.padding, str):
        return 0, 0  # "valid": "same" is refused when the stack is made
    return conv.padding[0], conv.padding[1]


def output_size(conv: nn.Conv2d, x: Tensor) -> tuple[int, int]:
    """Height and width of a convolution's output on x."""
    sizes = [
        (length + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for length, pad, dilation, kernel, stride in zip(
            (x.shape[-2], x.shape[-1]), padding(conv), conv.dilation, conv.kernel_size, conv.stride,
            strict=True,
        )
    ]  # fmt: skip
    return sizes[0], sizes[1]


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return size[0], size[1]
