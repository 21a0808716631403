"""Feedback alignment: errors go back through fixed random weights."""

from __future__ import annotations

from metaplastic.rules.credit_rule import CreditRule


class FeedbackAlignment(CreditRule):
    """Lillicrap et al. (2016). Results depend strongly on `scale`: tune it."""

    alias = ("fa",)
    formula = "B^T d, B random and fixed"
    local = "yes"
    cost = "as backprop"
    use = "shallow networks, small first weights; the gap grows with depth"
    bibtex = """@article{lillicrap2016random,
  title = {Random synaptic feedback weights support error backpropagation for deep learning},
  author = {Lillicrap, Timothy P. and Cownden, Daniel and Tweed, Douglas B. and Akerman, Colin J.},
  journal = {Nature Communications}, volume = {7}, pages = {13276}, year = {2016},
}"""
