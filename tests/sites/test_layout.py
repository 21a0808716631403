"""A post of a site is a unit of its output, a pre one of its inputs, however its weight lies."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaplastic import Backprop, CrossEntropy, Delta, LearningRule, OnlineLearner, credit
from metaplastic.alignment import AtSite, KolenPollackAlignment
from metaplastic.inner.state import State
from metaplastic.sites.shape import site_shapes
from metaplastic.sites.survey import UnreachedWarning, find_sites

UNITS = 6


class Own(nn.Module):
    """A product of a weight of one's own."""

    def __init__(self, shape: tuple[int, ...], product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight, self.product = nn.Parameter(torch.randn(shape)), product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.weight)


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, UNITS), (4,)),
    "x @ w": (lambda: Own((4, UNITS), lambda x, w: x @ w), (4,)),
    "x @ w, square": (lambda: Own((UNITS, UNITS), lambda x, w: x @ w), (UNITS,)),
    "x @ w.T": (lambda: Own((UNITS, 4), lambda x, w: x @ w.T), (4,)),
    "linear of w.T": (lambda: Own((4, UNITS), lambda x, w: nn.functional.linear(x, w.T)), (4,)),
    "w.T, square": (
        lambda: Own((UNITS, UNITS), lambda x, w: nn.functional.linear(x, w.T)), (UNITS,)
    ),
    "einsum": (lambda: Own((4, UNITS), lambda x, w: torch.einsum("bi,io->bo", x, w)), (4,)),
    "einsum of heads": (
        lambda: Own((4, 2, 3), lambda x, w: torch.einsum("bi,iho->bho", x, w).flatten(1)), (4,)
    ),
    "convolution": (lambda: nn.Conv1d(4, UNITS, 3), (4, 5)),
    "convolution of groups": (lambda: nn.Conv1d(4, UNITS, 3, groups=2), (4, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(4, UNITS, 3), (4, 5)),
    "square transposed convolution": (lambda: nn.ConvTranspose1d(6, UNITS, 3), (6, 5)),
    "transposed convolution of groups": (lambda: nn.ConvTranspose1d(4, UNITS, 3, groups=2), (4, 5)),
}  # fmt: skip


def network(kind: str) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    make, shape = KINDS[kind]
    x = torch.randn(5, *shape, dtype=torch.float64)
    layer = make().double()
    out = layer(x).flatten(1).shape[1]
    return nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(out, 2).double()), x


def changed(
    kind: str, per: str, of_first: Tensor
) -> tuple[nn.Sequential, dict[str, Tensor], Tensor]:
    """A network, its weights after a step with these rates at the first site, and other inputs."""
    model, x = network(kind)
    rule = LearningRule(Backprop(), Delta(rate=0.0, per=per))  # type: ignore[arg-type]
    learner = OnlineLearner(model, rule, CrossEntropy(2), input_shape=tuple(x.shape[1:])).double()
    site = learner.sites[0]
    rates = rule.plasticity.rates[site.key]
    with torch.no_grad():
        rates.copy_(of_first.expand(rates.shape) if of_first.dim() else rates)
        y = torch.tensor([0, 1, 1, 0, 1])[None, None]
        first = learner.initialize(y, torch.tensor([0]))
        after = State.of_flat(learner.adapt(x[None, None], y, first)).weights
    found = {name: value[0] for name, value in after.items()}
    return model, found, torch.randn_like(x)


def shapes_of(kind: str) -> tuple[int, int]:
    model, x = network(kind)
    return site_shapes(find_sites(model, x))[0].shape


def of_layer(model: nn.Sequential, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The output of the first layer, its units as the second axis."""
    own = {name.removeprefix("0."): v for name, v in weights.items() if name.startswith("0.")}
    out: Tensor = functional_call(model[0], own, (x,))
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_of_a_post_is_that_of_its_unit(kind: str) -> None:
    posts, _ = shapes_of(kind)
    rates = torch.zeros(posts, 1)
    rates[-(posts // UNITS) :] = 1.0  # of the last unit alone
    model, after, x = changed(kind, "neuron", rates)
    moved = of_layer(model, after, x) - model[0](x)
    assert moved[:, :-1].abs().max() == 0
    assert moved[:, -1].abs().max() > 1e-6


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "convolution" not in kind])
def test_the_rate_of_a_pre_is_that_of_its_input(kind: str) -> None:
    _, pres = shapes_of(kind)
    rates = torch.zeros(1, pres)
    rates[:, -1] = 1.0
    model, after, x = changed(kind, "feature", rates)
    without = x.clone()
    without[:, -1] = 0
    assert torch.equal(of_layer(model, after, without), model[0](without))
    assert (of_layer(model, after, x) - model[0](x)).abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_rates_of_synapses_lie_as_rates_of_posts_do(kind: str) -> None:
    posts, pres = shapes_of(kind)
    rates = torch.arange(1.0, posts + 1)[:, None]
    _, by_post, _ = changed(kind, "neuron", rates)
    _, by_synapse, _ = changed(kind, "synapse", rates.expand(posts, pres))
    for name, value in by_post.items():
        torch.testing.assert_close(by_synapse[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_the_coefficient_of_a_unit_is_that_of_its_feedback(kind: str) -> None:
    model, x = network(kind)
    site = site_shapes(find_sites(model, x))[0]
    rule = KolenPollackAlignment(decay=0.5, learn=True, per="neuron")
    rule.attach([site])
    decay = rule.learned[f"decay|{site.key}"]
    assert decay.shape == (site.shape[0], 1)
    with torch.no_grad():
        decay.zero_()
        decay[-(site.shape[0] // UNITS) :] = 1.0  # of the last unit alone
    like = site.weight
    of_weight = rule.value("decay", AtSite("0", like, like, like)).expand_as(like)
    biases = {name: torch.zeros_like(b) for name, b in model.named_parameters() if "0.b" in name}
    out = of_layer(model, {"0.weight": of_weight, **biases}, torch.ones_like(x))
    assert out[:, :-1].abs().max() == 0
    assert out[:, -1].abs().max() > 0


class ByHand(nn.Module):
    """A product written as a multiplication and a sum, and a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(5, 2)
        self.weight = nn.Parameter(torch.randn(5, 4))
        self.gain = nn.Parameter(torch.ones(1, 5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = (self.first(x)[:, None, :] * self.weight).sum(-1)
        out: Tensor = self.last(hidden * self.gain)
        return out


def test_a_product_by_broadcasting_is_named_and_a_gain_is_not() -> None:
    torch.manual_seed(0)
    model, x = ByHand(), torch.randn(2, 3)
    with pytest.warns(UnreachedWarning, match=r"weight \(inside a product by broadcasting"):
        found = credit("feedback_alignment", model, example=x)
    assert found.unreached.keys() == {"weight"}
    model.weight.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        credit("feedback_alignment", model, example=x)
