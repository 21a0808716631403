"""Pathways: how the error or the label at the output reaches each site as a signal. One a file.

Backpropagation, sequential feedback, signs, direct feedback (learned or random), and inverses.
A pathway delivers signals and never changes a weight.
"""

from metaplastic.pathways.base import FeedbackPathway
from metaplastic.pathways.carried_back import Backprop, CarriedBack
from metaplastic.pathways.direct import Direct
from metaplastic.pathways.direct_random import RandomDirect
from metaplastic.pathways.inverse import Inverse, InversePathway
from metaplastic.pathways.product import ProductFeedback
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.pathways.signs import SignSymmetricFeedback

__all__ = [
    "Backprop",
    "CarriedBack",
    "Direct",
    "FeedbackPathway",
    "Inverse",
    "InversePathway",
    "ProductFeedback",
    "RandomDirect",
    "RandomFeedback",
    "SignSymmetricFeedback",
]
