"""Fashion-MNIST: ten kinds of clothes (Xiao et al. 2017), in the files and splits of MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tasks.mnist import Mnist


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Mnist):
    """Few-shot lifetimes of clothes, from `<root>/fashion_mnist/`; otherwise as `Mnist`."""

    name: ClassVar[str] = "fashion_mnist"
