"""What is made of a network: every layer in its place, and nothing flattened that should not be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaplastic import Backprop, Delta, Direct, LearningRule, Oja, Stack, Unroll
from tests.helpers.lifetimes import dense, episodes, learner


def test_a_nonlinearity_may_be_one_object_used_everywhere() -> None:
    phi = nn.Tanh()
    apart, network = dense(4, 6, 5, 2), dense(4, 6, 5, 2)
    network[1] = network[3] = phi
    episode = episodes(shape=(4,))
    shared, expected = (
        learner(made, LearningRule(Direct(), Oja(rate=0.05))) for made in (network, apart)
    )
    shared.load_state_dict(expected.state_dict())
    assert shared.stack.names == ["0", "1", "2", "3", "4"]
    assert torch.equal(shared(episode).prediction, expected(episode).prediction)


class Residual(nn.Sequential):
    """A Sequential whose forward is its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return,no-untyped-call]


@pytest.mark.parametrize("how", [Unroll(), Unroll(checkpoint_every=3)], ids=["plain", "segments"])
def test_a_block_with_its_own_forward_is_one_layer_and_its_weights_are_meta_learned(
    how: Unroll,
) -> None:
    block = Residual(nn.Linear(5, 5), nn.Tanh())
    network = nn.Sequential(nn.Linear(4, 5), block, nn.Linear(5, 2))
    made = learner(network, LearningRule(Backprop(), Delta(rate=0.1)), unroll=how)
    assert [site.name for site in made.sites] == ["0", "2"]
    assert {id(p) for p in block.parameters()} <= {
        id(p) for p in made.parameter_groups()["weights"]
    }
    episode = episodes(shape=(4,), tasks=1, steps=3)
    leaves = list(block.parameters())

    def sgd() -> Tensor:
        """The same lifetime by autograd on the network itself."""
        weights: dict[str, Tensor] = dict(network.named_parameters())
        learns = [name for name in weights if not name.startswith("1.")]
        rates = dict(zip(learns, [made.rule.plasticity.rates[key] for key in
                                  ("0", "0_bias", "2", "2_bias")], strict=True))  # fmt: skip
        for x, y in zip(episode.support_x[0], episode.support_y[0], strict=True):
            loss = nn.functional.cross_entropy(functional_call(network, weights, (x,)), y)
            gradients = torch.autograd.grad(
                loss, [weights[name] for name in learns], create_graph=True
            )
            weights |= {
                name: weights[name] - rates[name] * gradient
                for name, gradient in zip(learns, gradients, strict=True)
            }
        prediction = functional_call(network, weights, (episode.query_x[0],))
        return nn.functional.cross_entropy(prediction, episode.query_y[0])

    ours, expected = made(episode).loss, sgd()
    assert torch.allclose(ours, expected, rtol=1e-12)
    pairs = zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True
    )
    for found, needed in pairs:
        assert needed.abs().max() > 1e-3
        assert torch.allclose(found, needed, rtol=1e-9, atol=1e-12)


class Doubled(nn.Linear):
    """A Linear whose forward is its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Leaky(nn.ReLU):
    """A ReLU that is none."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=-0.1)


@pytest.mark.parametrize("layer", [Doubled(5, 5), Leaky()], ids=["linear", "nonlinearity"])
def test_a_layer_whose_forward_would_not_be_called_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"'1' is a .* with a forward of its own"):
        Stack(nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(5, 2)))


def test_a_parametrized_weight_is_refused() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    with pytest.raises(ValueError, match="'0' has a parametrized weight"):
        Stack(nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 2)))
