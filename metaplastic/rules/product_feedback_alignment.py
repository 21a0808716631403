"""Product feedback alignment: errors go back through two matrices, the second one learned."""

from __future__ import annotations

from metaplastic.alignment.kolen_pollack import ProductAlignment
from metaplastic.pathways.product import ProductFeedback
from metaplastic.rules.credit_rule import CreditRule


class ProductFeedbackAlignment(CreditRule):
    """Feedback F R, with fixed random F (post x mid) and learned R (mid x pre).

    After the code of product feedback alignment (2025): `dR = F^T dW - decay R`, dW without the
    decay of W: a gradient step at the intermediate units, and equal decay of both; so F R aligns
    with W without a copy of it. F is sampled with variance `1 / mid`, R so that F R has the scale
    of the other rules' feedback. Held in one tensor, `mid x (post + pre)`: F transposed, R.

    Args:
        expansion: mid units for each unit of the site.
        decay: the share of a weight lost a step, by the optimizer at W and here at R.
    """

    alias = ("pfa",)
    formula = "(F R)^T d, dR = F^T dW - decay R"
    local = "yes, by reciprocal circuits"
    cost = "as backprop, and two products of weights"
    use = "as kolen_pollack, without an exact copy of any weight"
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
        super().__init__(
            scale=scale,
            noise=noise,
            pathway=ProductFeedback(expansion=expansion, scale=scale),
            alignment=ProductAlignment(decay=decay, noise=noise),
        )
