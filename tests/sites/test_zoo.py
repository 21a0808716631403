"""The claim on any network: with the weights as feedback, a rule's gradients are autograd's."""

from __future__ import annotations

import pytest

import metaplastic
from tests.zoo import zoo
from tests.zoo.compare import apart, autograd, differences

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
    told = metaplastic.credit("feedback_alignment", model, example=entry.given)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert told.unreached.keys() & trainable == entry.aloof | entry.unused.keys()
    told.backward(model, entry.given, entry.target, entry.loss)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert max(apart(found, expected).values()) > 1e-3  # else nothing took another way
