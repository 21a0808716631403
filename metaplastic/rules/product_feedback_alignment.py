"""Product feedback alignment: errors go back through two matrices, of which the second learns."""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.sites.credit_rule import AtSite, CreditRule


class ProductFeedbackAlignment(CreditRule):
    """Learned R (mid x pre) and then fixed random F (post x mid), so that errors meet F R.

    After the code of product feedback alignment (2025): `dR = F^T dW - decay R`, dW without the
    decay of W: a gradient step at the intermediate units, and equal decay of both; so F R turns
    towards W without any copy of it. F is drawn with variance `1 / mid`, R so that F R has the
    scale of the other rules' feedback. Held in one tensor, `mid x (post + pre)`: F transposed, R.

    Args:
        expansion: mid units for each unit of the site.
        decay: the share of a weight lost a step, by the optimizer at W and here at R.
    """

    alias = ("pfa",)
    formula = "(F R)^T d, dR = F^T dW - decay R"
    local = "yes, by reciprocal circuits"
    cost = "as backprop, and two products of weights"
    use = "as kolen_pollack, without an exact copy of any weight"
    follows = True
    sees_change = True
    bibtex = """@misc{product_feedback_alignment,
  title = {Product feedback alignment},
  howpublished = {github.com/jil095/product_feedback_alignment}, year = {2025},
}"""

    def __init__(
        self,
        *,
        expansion: int = 10,
        decay: float = 1e-3,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(scale=scale, noise=noise)
        if expansion < 1 or not 0 <= decay <= 1:
            raise ValueError(
                f"expansion is {expansion} and decay {decay}; expansion is a number of units, at "
                "least 1, decay the share lost a step, from 0 to 1."
            )
        self.expansion, self.decay = expansion, decay

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        post = len(weight)
        mid = self.expansion * post
        fixed = torch.randn(mid, post, generator=generator, dtype=torch.float64) / mid**0.5
        learned = torch.randn(mid, *weight.shape[1:], generator=generator, dtype=torch.float64)
        # Of the size that a plain feedback would have, drawn where the generator is.
        learned *= super().first(weight.double().cpu(), generator).std()
        return torch.cat([fixed, learned.flatten(1)], 1).to(weight)

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        fixed, learned = feedback[:, : len(weight)], feedback[:, len(weight) :]
        return (fixed.mT @ learned).view_as(weight)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        post = len(site.weight)
        task = site.change + self.decay * site.before  # without the weight's own decay
        change = torch.zeros_like(feedback)
        change[:, post:] = feedback[:, :post] @ task.flatten(1) - self.decay * feedback[:, post:]
        return change
