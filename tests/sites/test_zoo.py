"""The claim on any network: with the weights as feedback, a rule's gradients are autograd's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.utils import parametrizations

from experiments.lab.exact.autograd import apart, autograd, credited, differences
from metaplastic.sites.reroute import rerouted
from tests.zoo import zoo
from tests.zoo.matrices import layers

ZOO = zoo()


@pytest.mark.parametrize("name", ZOO)
def test_with_the_weights_as_feedback_every_parameter_gets_autograds_gradient(name: str) -> None:
    entry = ZOO[name]
    entry.skip_if_missing()
    far = {parameter: d for parameter, d in differences(entry).items() if not d < 1e-12}
    assert not far


@pytest.mark.parametrize("name", ZOO)
def test_feedback_of_its_own_reaches_every_matrix(name: str) -> None:
    entry = ZOO[name]
    entry.skip_if_missing()
    expected, model = autograd(entry), entry.make()
    by_rule = credited(entry, model)
    matrices = {n for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1}
    assert by_rule.unreached.keys() & matrices == (entry.aloof | entry.unused.keys()) & matrices
    by_rule.backward(model, entry.given, entry.target, entry.loss)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert max(apart(found, expected).values()) > 1e-3  # else nothing took another way


@pytest.mark.parametrize("name", ZOO)
def test_a_pass_in_training_meets_the_products_that_the_example_met(name: str) -> None:
    entry = ZOO[name]
    entry.skip_if_missing()
    model = entry.make()
    by_rule = credited(entry, model)
    met: Counter[str] = Counter()
    with rerouted(model, by_rule.found, None, lambda product, out: met.update([product.site])):
        entry.run(model)
    assert met == Counter(product.site for product in by_rule.found.products)
    assert met.keys() == set(by_rule.sites.values())


def test_a_spectral_norm_moves_once_a_pass_as_without_a_rule() -> None:
    settled = ZOO["layers, spectral_norm in training"]
    entry = replace(settled, build=partial(layers, parametrizations.spectral_norm))
    model, plain = entry.make(), entry.make()
    loss = credited(entry, model).backward(model, entry.given, entry.target, entry.loss)
    assert torch.equal(loss, entry.run(plain).detach())
    pairs = zip(model.buffers(), plain.buffers(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
