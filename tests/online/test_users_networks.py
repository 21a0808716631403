"""Networks as people bring them, learning in place: what changes, what stays, and what is said."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import PlasticModule, from_pretrained
from metaplastic.sites.survey import UnreachedWarning
from tests.helpers.users_networks import EVERY, IDS, Hidden, Tokens, X, Y, changed, plastic


@EVERY
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(rule: str) -> None:
    model = Hidden()
    model.below.requires_grad_(False)
    net = plastic(model, rule, X)
    assert net.sites.frozen == ["below"]
    assert changed(net, X, Y) == {
        "below.weight": False, "below.bias": False, "above.weight": True, "above.bias": True,
    }  # fmt: skip


class Aside(Hidden):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            h = self.below(x).tanh()
        return self.above(h)


@EVERY
def test_a_part_under_no_grad_is_named_with_its_reason_and_the_rest_learns(rule: str) -> None:
    with pytest.warns(UnreachedWarning, match=r"below\.weight.*no_grad"):
        net = plastic(Aside(), rule, X)
    assert net.sites.names == ["above"]
    assert "no_grad" in net.sites.unreached["below.weight"]
    found = changed(net, X, Y)
    assert found["above.weight"]
    assert not found["below.weight"]


class Pair(NamedTuple):
    scores: Tensor
    features: Tensor


@dataclass
class Answer:
    loss: Tensor | None
    logits: Tensor


class Shaped(Hidden):
    """Hidden, with its output in some form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Any:
        h = self.below(x).tanh()
        out = self.above(h)
        return {
            "dict": {"features": h, "logits": out}, "tuple": (out, h), "named": Pair(out, h),
            "dataclass": Answer(None, out), "odd": {"a": h, "b": out},
        }[self.form]  # fmt: skip


FORMS = [
    ("dict", None), ("tuple", None), ("named", None), ("dataclass", None), ("odd", "b"),
    ("tuple", 0), ("named", "scores"), ("odd", lambda out: out["b"]),
]  # fmt: skip


@EVERY
@pytest.mark.parametrize(("form", "output"), FORMS)
def test_an_output_of_any_form_is_returned_whole_and_learned_from(
    form: str, output: Any, rule: str
) -> None:
    model = Shaped(form)
    plain, expected = Hidden(), model(X)
    plain.load_state_dict(model.state_dict())
    net, same = plastic(model, rule, X, output=output), plastic(plain, rule, X)
    given = net(X)
    assert type(given) is type(expected)
    parts = [vars(a) if isinstance(a, Answer) else a for a in (given, expected)]
    torch.testing.assert_close(*parts)
    same(X)
    assert net.learn(Y) == same.learn(Y)
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


class Named(Hidden):
    def forward(self, x: Tensor | None = None, *, codes: Any = None, gate: Any = None) -> Any:
        h = self.below(codes if x is None else x).tanh()
        return self.above(h if gate is None else h * gate)


@EVERY
def test_inputs_by_keyword_are_as_by_position(rule: str) -> None:
    one = Named()
    other = copy.deepcopy(one)
    gate = torch.linspace(0, 1, 8)
    net = plastic(one, rule, {"codes": X, "gate": gate})
    net(codes=X, gate=gate)
    same = plastic(other, rule, {"x": X, "gate": gate})
    same(X, gate=gate)
    assert net.learn(Y) == same.learn(Y)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head((x + self.mix(x, x, x, need_weights=False)[0]).mean(1))


@EVERY
def test_attentions_packed_matrix_is_a_site_all_of_which_learns(rule: str) -> None:
    x = torch.randn(5, 4, 6)
    net = plastic(Attends(), rule, x)
    assert net.sites.names == ["mix.in_proj_weight", "mix.out_proj", "head"]
    before = net.model.mix.in_proj_weight.detach().clone()
    assert all(changed(net, x, Y).values())
    parts = zip(before.chunk(3), net.model.mix.in_proj_weight.chunk(3), strict=True)
    assert not any(torch.equal(was, now) for was, now in parts)


class Transposed(nn.Module):
    """`inputs outputs`, by a product with a bias in it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Any:
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.reshape(*x.shape[:-1], -1)


@EVERY
def test_a_matrix_of_ones_own_learns_as_a_linear_layer_does(rule: str) -> None:
    own = nn.Sequential(Transposed(6, 8), nn.Tanh(), Transposed(8, 3)).double()
    first = plastic(own, rule, X.double())
    assert first.sites.names == ["0", "2"]
    assert all(changed(first, X.double(), Y).values())
    plain = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for layer, mine in ((plain[0], own[0]), (plain[2], own[2])):
            layer.weight.copy_(mine.weight.T)
            layer.bias.copy_(mine.bias)
    one, other = (plastic(model, rule, X.double()) for model in (own, plain))
    with torch.no_grad():
        for site in one.sites.names:
            feedback, direct = one.credit.feedback(site), one.credit.rule.pathway.direct
            other.credit.feedback(site).copy_(feedback if direct else feedback.T)
    for net in (one, other):
        net(X.double())
        net.learn(Y)
    for at in (0, 2):
        torch.testing.assert_close(own[at].weight.T, plain[at].weight, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(own[at].bias, plain[at].bias, rtol=1e-12, atol=1e-13)


@pytest.mark.filterwarnings("ignore:.*the rule changes nothing else")
@EVERY
def test_every_token_may_have_a_class(rule: str) -> None:
    model = Tokens()
    expected = F.cross_entropy(model(IDS).flatten(0, 1), IDS.flatten())
    net = plastic(model, rule, IDS)
    net(IDS)
    torch.testing.assert_close(net.learn(IDS), expected.detach())
    found = changed(net, IDS, IDS)
    assert found["mix.weight"]
    assert found["head.weight"]
    # The delta rule takes the embedding along; a rule whose terms are no gradient leaves it.
    assert found["embed.weight"] == (rule != "omniglot_relative")


@pytest.mark.filterwarnings("ignore:.*the rule changes nothing else")
@EVERY
def test_an_ignored_label_teaches_nothing(rule: str) -> None:
    net = plastic(Tokens(), rule, IDS)
    net(IDS)
    labels = IDS.masked_fill(IDS > 4, -100)
    expected = F.cross_entropy(net.model(IDS).flatten(0, 1), labels.flatten())
    torch.testing.assert_close(net.learn(labels), expected.detach())
    found = changed(net, IDS, torch.full_like(IDS, -100))
    # Oja's term of the learned rule needs no teaching: weights drift, while biases stay.
    drifts = {"mix.weight", "head.weight"} if rule == "omniglot_relative" else set()
    assert {name for name, is_new in found.items() if is_new} == drifts


class Kernels(nn.Module):
    def __init__(self, first: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.first = first
        self.head = nn.Linear(first(example).flatten(1).shape[1], 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.first(x).relu().flatten(1))


KERNELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "grouped": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 6, 6)),
    "depthwise, strided, dilated": (
        lambda: nn.Conv2d(4, 4, 3, groups=4, stride=2, dilation=2, padding=1), (4, 7, 7)
    ),
    "over time": (lambda: nn.Conv1d(4, 5, 3, padding="same"), (4, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2), (4, 4, 4)),
    "of volumes": (lambda: nn.Conv3d(2, 3, 2), (2, 3, 4, 4)),
}  # fmt: skip


@EVERY
@pytest.mark.parametrize("kind", KERNELS)
def test_a_convolution_of_any_kind_learns(kind: str, rule: str) -> None:
    make, shape = KERNELS[kind]
    x = torch.randn(5, *shape)
    net = plastic(Kernels(make(), x), rule, x)
    assert net.sites.names == ["first", "head"]
    assert all(changed(net, x, Y).values())


def test_an_embedding_that_a_discovered_rule_leaves_as_it_is_is_named() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    rule = from_pretrained("omniglot_relative").rule
    with pytest.warns(UnreachedWarning, match=r"0\.weight \(at no site, and the rule changes"):
        net = PlasticModule(model, rule, example=torch.randint(9, (2, 5)))
    assert net.sites.unreached["0.weight"].startswith("at no site")
