"""Plasticity: how a site's weights change by the signal that it receives. One rule a file.

A rule is given one site's weight, activities, signal and rate, and nothing else: locality is its
signature.
"""

from metaplastic.plasticity.adaptive import Adaptive
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.delta import Delta
from metaplastic.plasticity.hebb import Hebb
from metaplastic.plasticity.manhattan import Manhattan
from metaplastic.plasticity.normalized_hebb import NormalizedHebb
from metaplastic.plasticity.oja import Oja, StableOja
from metaplastic.plasticity.polynomial import Polynomial

__all__ = [
    "Adaptive",
    "Delta",
    "Hebb",
    "Manhattan",
    "NormalizedHebb",
    "Oja",
    "PlasticityRule",
    "Polynomial",
    "StableOja",
]
