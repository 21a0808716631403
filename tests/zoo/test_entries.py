"""The zoo itself: every network runs, the same each time, and all that trains has a gradient."""

from __future__ import annotations

import pytest
import torch

from tests.zoo import zoo

ZOO = zoo()


@pytest.mark.parametrize("name", ZOO)
def test_every_trainable_parameter_has_a_finite_gradient(name: str) -> None:
    entry = ZOO[name]
    entry.skip_if_missing()
    model = entry.make()
    loss = entry.run(model)
    loss.backward()
    assert loss.dtype == torch.float64
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    without = {n for n, p in trainable.items() if p.grad is None}
    assert without == set(entry.unused)
    assert all(p.grad.isfinite().all() for p in trainable.values() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in trainable.values())
    assert torch.equal(loss, entry.run(entry.make()))
