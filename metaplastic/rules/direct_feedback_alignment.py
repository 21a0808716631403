"""Direct feedback alignment: the output's error is sent directly to the input of every site."""

from __future__ import annotations

from metaplastic.pathways.direct_random import Per, RandomDirect
from metaplastic.rules.credit_rule import CreditRule


class DirectFeedbackAlignment(CreditRule):
    """Nokland (2016): D is uniform within `scale / sqrt(units)`, the units of the site's input.

    The signal replaces the error at a site's input; norms, nonlinearities, pooling and skips below
    that point are differentiated exactly, so in a chain `delta = (D^T e) * phi'(z)`.

    Args:
        per: `unit`, `channel` (one number for all positions of a channel) or `auto`, a channel
            where a number for each unit would take more than 64 MiB.
    """

    alias = ("dfa",)
    route = "direct"
    formula = "D^T e, D random and fixed, e the output's error"
    local = "yes"
    cost = "as backprop; D has outputs x units numbers"
    use = "fully connected networks; errors are not carried back through layers"
    bibtex = """@inproceedings{nokland2016direct,
  title = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  author = {N{\\o}kland, Arild},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2016},
}"""

    def __init__(self, *, scale: float = 1.0, noise: float = 0.0, per: Per = "auto") -> None:
        direct = RandomDirect(scale=scale, weights="redrawn", per=per)
        super().__init__(scale=scale, noise=noise, pathway=direct)
