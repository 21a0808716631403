"""Alignment: how feedback weights follow the forward weights. One rule a file.

None, mirror, Kolen-Pollack, the regularizers of Kunin et al. (2020), and sleep phases.
"""

from metaplastic.alignment.base import Alignment, AtSite, Coefficient, NoAlignment
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment, ProductAlignment
from metaplastic.alignment.mirror import MirrorAlignment, ResampledSizes
from metaplastic.alignment.primitives import Inputs, RegularizedAlignment
from metaplastic.alignment.sleep import Sleep

__all__ = [
    "Alignment",
    "AtSite",
    "Coefficient",
    "Inputs",
    "KolenPollackAlignment",
    "MirrorAlignment",
    "NoAlignment",
    "ProductAlignment",
    "RegularizedAlignment",
    "ResampledSizes",
    "Sleep",
]
