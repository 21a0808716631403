"""What modules hold beside tensors: numbers, flags and objects, to see that something changed."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

Plain = bool | int | float | str | None


def python_state(module: nn.Module, leave: Collection[str] = ()) -> tuple[object, ...]:
    """Numbers, flags and words of a module and all inside it; of other objects the identity.

    A program that was traced from a module holds as long as this is the same.

    Args:
        leave: names of attributes that do not matter.
    """
    return tuple(
        value if isinstance(value, Plain) else id(value)
        for part in module.modules()
        for name, value in vars(part).items()
        if name not in leave
    )
