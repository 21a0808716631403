"""An accelerator gives what the processor gives.

Where there is none these are skipped; `METAPLASTIC_TEST_DEVICE` names another device to test.
"""

from __future__ import annotations

import copy
import os

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaplastic
from experiments.lab.networks.problem import Problem
from experiments.methods import flp_stable
from metaplastic import (
    MetaTrainer,
    PlasticModule,
    TrainerConfig,
    interference,
    make_optimizer,
    rules,
)
from metaplastic.support.seeding import seeded
from tasks.sines import Sines

DEVICE = os.environ.get("METAPLASTIC_TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no GPU here"
    ),
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(*layers).double()


def square() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 6)).double()


def taught(name: str, device: str) -> dict[str, Tensor]:
    """Gradients and feedback after two minibatches by a rule."""
    chain = rules()[name].route == "inverse"
    model = (square() if chain else network()).to(device)
    x = torch.randn(4, *((6,) if chain else (2, 6, 6)), generator=seeded(1), dtype=torch.float64)
    y = torch.randint(3, (4,), generator=seeded(2)).to(device)
    credit = metaplastic.credit(name, model, example=x.to(device))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        credit.backward(model, x.to(device), y, F.cross_entropy)
        optimizer.step()
    found = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return found | dict(credit.state_dict())


@pytest.mark.parametrize("name", rules())
def test_a_rule_leaves_the_gradients_and_the_feedback_of_the_processor(name: str) -> None:
    there, here = taught(name, DEVICE), taught(name, "cpu")
    assert there.keys() == here.keys()
    for key, value in there.items():
        if isinstance(value, Tensor):
            assert value.device.type == torch.device(DEVICE).type or not value.dim()
            torch.testing.assert_close(value.cpu(), here[key], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", ["feedback_alignment", "direct_feedback_alignment"])
def test_a_network_learns_in_place_as_on_the_processor(rule: str) -> None:
    x, y = torch.randn(4, 2, 6, 6, generator=seeded(1)).double(), torch.tensor([0, 1, 2, 0])
    models = {device: network().to(device) for device in (DEVICE, "cpu")}
    for device, model in models.items():
        net = PlasticModule(model, rule, example=x.to(device), rate=0.1)
        for _ in range(3):
            net(x.to(device))
            net.learn(y.to(device))
    for there, here in zip(models[DEVICE].parameters(), models["cpu"].parameters(), strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-7, atol=1e-9)


def test_a_lifetime_and_its_meta_gradient_are_those_of_the_processor() -> None:
    stream = Sines(functions=2, steps_per_function=2, batch=4)
    torch.manual_seed(0)
    own = flp_stable.build(Problem(stream.spec, "tiny")).double()
    episode = stream.sample(2, seeded(3)).to("cpu", torch.float64)
    found = {}
    for device in (DEVICE, "cpu"):
        learner = copy.deepcopy(own).to(device)
        loss = learner(episode.to(device)).loss
        loss.backward()
        found[device] = [loss, *(p.grad for p in learner.parameters() if p.grad is not None)]
    assert len(found[DEVICE]) > 2
    for there, here in zip(found[DEVICE], found["cpu"], strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-7, atol=1e-9)


def test_interference_is_that_of_the_processor() -> None:
    stream = Sines(functions=2, steps_per_function=2, batch=4)
    torch.manual_seed(0)
    own = flp_stable.build(Problem(stream.spec, "tiny")).double()
    episode = stream.sample(2, seeded(3)).to("cpu", torch.float64)
    found = {
        device: interference(copy.deepcopy(own).to(device), episode.to(device), after=2, exact=3)
        for device in (DEVICE, "cpu")
    }
    assert found[DEVICE].change.device.type == torch.device(DEVICE).type
    torch.testing.assert_close(
        found[DEVICE].change.cpu(), found["cpu"].change, rtol=1e-7, atol=1e-9
    )
    there, here = (
        [*one.by_distance(), one.across(seen=True), one.summary()["sites"]]
        for one in (found[DEVICE], found["cpu"])
    )
    torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_meta_training_on_it_changes_what_can_be_learned() -> None:
    stream = Sines(functions=2, steps_per_function=2, batch=4)
    learner = flp_stable.build(Problem(stream.spec, "tiny")).to(DEVICE)
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    rates = flp_stable.rates(Problem(stream.spec, "tiny"))
    config = TrainerConfig(steps=2, tasks=2)
    MetaTrainer(learner, stream, make_optimizer(learner, rates), config).fit()
    moved = [not torch.equal(a, b) for a, b in zip(before, learner.parameters(), strict=True)]
    assert any(moved)
