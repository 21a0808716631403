"""Chains that can be undone: their layers, and what is refused as one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.pathways.inverse import Inverse
from metaplastic.pathways.invertible import First, narrowing, orthogonal_
from tests.helpers.chains import (
    examples,
    square,
    taught,
)


def test_first_passes_the_first_units_on() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert First(2)(x).tolist() == [[0, 1], [3, 4]]
    assert torch.equal(First(3)(x), x)
    assert repr(First(2)) == "First(2)"


def test_the_tower_is_square_after_its_first_site_and_narrows_between() -> None:
    tower = narrowing([784, 784, 500, 200, 10], slope=0.3)
    sites = [layer for layer in tower if isinstance(layer, nn.Linear)]
    passed = [layer.units for layer in tower if isinstance(layer, First)]
    slopes = [layer.negative_slope for layer in tower if isinstance(layer, nn.LeakyReLU)]
    assert [tuple(site.weight.shape) for site in sites] == [(n, n) for n in (784, 500, 200, 10)]
    assert passed == [500, 200, 10]
    assert slopes == [0.3] * 4
    assert tower(torch.zeros(2, 784, dtype=torch.float64)).shape == (2, 10)
    assert narrowing([9, 6, 6])[0].weight.shape == (6, 9)  # the first may have any shape


def test_orthogonal_weights_are_drawn_from_the_generator() -> None:
    chains = [nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 5)).double() for _ in range(3)]
    biases = [chain[0].bias.clone() for chain in chains]
    for chain, seed in zip(chains, (0, 0, 1), strict=True):
        assert orthogonal_(chain, torch.Generator().manual_seed(seed)) is chain
    for site in (0, 1):
        weight = chains[0][site].weight
        identity = torch.eye(weight.shape[1], dtype=torch.float64)
        torch.testing.assert_close(weight.mT @ weight, identity)
        assert torch.equal(weight, chains[1][site].weight)
        assert not torch.equal(weight, chains[2][site].weight)
    assert all(torch.equal(c[0].bias, b) for c, b in zip(chains, biases, strict=True))


def test_flattened_images_shared_and_in_place_nonlinearities_are_the_same_chain(
    generator: torch.Generator,
) -> None:
    shared, sites = nn.LeakyReLU(0.3, inplace=True), [nn.Linear(6, 6).double() for _ in range(3)]
    first, second, third = sites
    short = nn.Sequential(nn.Flatten(), first, shared, second, shared, third)
    other = nn.LeakyReLU(0.3)
    long = nn.Sequential(first, other, nn.Identity(), second, nn.LeakyReLU(0.3), third)
    split = nn.Sequential(
        first, nn.LeakyReLU(0.6), nn.LeakyReLU(0.5), second, nn.LeakyReLU(0.3), third
    )
    x, y = examples(generator, units=6)
    images = x.view(-1, 1, 2, 3)
    expected = list(taught(Inverse(), long, x, y).values())
    for chain, given in ((short, images), (split, x)):
        found = list(taught(Inverse(), chain, given, y).values())
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return,no-untyped-call]


def singular() -> nn.Sequential:
    chain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).double()
    chain[1].weight.data[2] = 0
    return chain


def chain_of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), *layers).double()


REFUSED = {
    "float32 weights": (
        lambda: nn.Sequential(nn.Linear(4, 4)),
        r"Site '0' is torch.float32.*call model.double\(\)",
    ),
    "a site that is not square": (
        lambda: chain_of(nn.LeakyReLU(), nn.Linear(4, 2)),
        r"Site '2' is 4 -> 2.*must be square.*First\(n\).*another rule",
    ),
    "units that do not fit": (
        lambda: chain_of(nn.Linear(3, 3)),
        r"Site '1' has 3 inputs but is given 4; put First\(3\) before it",
    ),
    "a First of too many": (lambda: chain_of(First(5)), "has 5 units.*has only 4"),
    "a nonlinearity without inverse": (
        lambda: chain_of(nn.ReLU(), nn.Linear(4, 4)),
        r"Layer '1' is ReLU\(\), which has no inverse here.*LeakyReLU.*another rule",
    ),
    "a flat leaky one": (
        lambda: chain_of(nn.LeakyReLU(0.0)),
        "Layer '1' has the slope 0.0, so it cannot be inverted; give it a positive one",
    ),
    "a late Flatten": (lambda: chain_of(nn.Flatten()), "Layer '1' is Flatten.*optional Flatten"),
    "a nonlinearity behind First": (
        lambda: chain_of(First(2), nn.LeakyReLU()),
        "Layer '2' is LeakyReLU.*behind a First; put First last",
    ),
    "a nonlinearity of the inputs": (
        lambda: nn.Sequential(nn.LeakyReLU(), nn.Linear(4, 4)).double(),
        "Layer '0' is LeakyReLU.*which has no inverse here",
    ),
    "a forward of its own": (
        lambda: Residual(nn.Linear(4, 4)).double(),
        "The model is a Residual.*plain nn.Sequential",
    ),
    "nothing to learn": (lambda: nn.Sequential(nn.Flatten()), "no Linear layer.*add one"),
    "a singular site": (singular, r"site '1' is singular.*begin from orthogonal_\(chain\)"),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_inverted_is_refused(
    make: Callable[[], nn.Sequential], sentence: str, generator: torch.Generator
) -> None:
    x, y = examples(generator, units=4)
    chain = make()
    with pytest.raises(ValueError, match=sentence):
        Inverse().backward(chain, x, y, F.cross_entropy)
    assert all(parameter.grad is None for parameter in chain.parameters())


def test_inputs_and_losses_that_do_not_fit_are_refused(generator: torch.Generator) -> None:
    chain, (x, y) = square(2, generator, units=4), examples(generator, units=4)
    with pytest.raises(ValueError, match=r"inputs are torch.float32.*give x.double\(\)"):
        Inverse().backward(chain, x.float(), y, F.cross_entropy)
    with pytest.raises(ValueError, match=r"shape \(2, 16, 4\).*put nn.Flatten\(\) first"):
        Inverse().backward(chain, x.view(2, 16, 4), y, F.cross_entropy)
    with pytest.raises(ValueError, match=r"loss has shape \(32,\).*take its mean or sum"):
        Inverse().backward(chain, x, y, partial(F.cross_entropy, reduction="none"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Inverse(gamma=0.0), "gamma is 0.0; give a positive step such as 1e-3, or None"),
        (lambda: Inverse(gamma=None, adaptive=True), "adaptive rescales gamma, which is None"),
        (lambda: Inverse(orthogonality=-1.0), "orthogonality is -1.0; give 0 or a positive"),
        (lambda: Inverse(reduction="men"), "reduction is 'men'.*Did you mean 'mean'"),
        (lambda: First(0), "has 0 units; give it at least 1"),
        (lambda: narrowing([4]), r"sizes are \[4\]; give the inputs and the width of each site"),
        (lambda: narrowing([4, 4, 6]), "widen from 4 to 6.*do not grow after the first site"),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
