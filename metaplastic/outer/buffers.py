"""A copy of a module's buffers, to restore or to compare with."""

from __future__ import annotations

import torch
from torch import nn


class Buffers:
    """A copy of every buffer of `module`."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.before = {name: buffer.clone() for name, buffer in module.named_buffers()}

    @torch.no_grad()
    def restore(self) -> None:
        """Set the module's buffers to the copied values."""
        for name, buffer in self.module.named_buffers():
            buffer.copy_(self.before[name])

    def require_unchanged(self) -> None:
        """Raise RuntimeError if a buffer differs from its copy."""
        for name, buffer in self.module.named_buffers():
            if not torch.equal(buffer, self.before[name]):
                raise RuntimeError(
                    f"The forward pass changes the buffer {name}, which would depend on the number "
                    "of processes. Use a normalization without running statistics, such as "
                    "GroupNorm, or a single process."
                )
