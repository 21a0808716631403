"""A meta-step runs on its device: no value is read, and no tensor of the host takes part.

Device `meta` stands for an accelerator. The table of normal quantiles, which a process makes once
on the host, is there before.
"""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch
from torch import nn

import metaplastic
from experiments import methods
from experiments.lab.networks.problem import Problem
from experiments.lab.settings.registry import ConfigError
from metaplastic import (
    CrossEntropy,
    Delta,
    Direct,
    Episode,
    LearningRule,
    Oja,
    OnlineLearner,
    RandomFeedback,
    TaskStream,
)
from metaplastic.alignment import KolenPollackAlignment, Sleep
from metaplastic.outer.distributed import ProcessGroup
from metaplastic.outer.meta_gradient import meta_gradient
from metaplastic.plasticity.adaptive import Adaptive
from metaplastic.support.noise import normal
from tasks.glyphs import Glyphs
from tasks.sines import Sines
from tests.helpers.device_only import DeviceOnly, HostError
from tests.helpers.lifetimes import episodes

METHODS = [info.name for info in pkgutil.iter_modules(methods.__path__)]
STREAMS: dict[str, TaskStream] = {
    "sines": Sines(functions=2, steps_per_function=2, batch=2),
    "glyphs": Glyphs(ways=2, shots=2, queries_per_class=1),
}
RULES = [name for name, kind in metaplastic.rules().items() if kind.route != "inverse"]


@pytest.fixture(autouse=True, scope="module")
def _the_table_of_quantiles() -> None:
    normal(torch.zeros((), dtype=torch.int64, device="meta"), (1,), torch.float32)


def take_meta_step(learner: OnlineLearner, episode: Episode) -> None:
    """A meta-step on device `meta`, under the strict mode."""
    learner, episode = learner.to("meta"), episode.to("meta")
    parameters = [p for p in learner.parameters() if p.requires_grad]
    with DeviceOnly():
        result = meta_gradient(learner, episode, parameters, 1, (0, 0), ProcessGroup())
        assert result.usable(limit=1e3).device.type == "meta"
        for parameter, gradient in zip(parameters, result.gradients, strict=True):
            parameter.grad = gradient
        if parameters:
            torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, result.norm)
            torch.optim.Adam(parameters).step()


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", METHODS)
def test_a_meta_step_of_a_method_needs_no_host(name: str, kind: str) -> None:
    stream = STREAMS[kind]
    method = importlib.import_module(f"{methods.__name__}.{name}")
    try:
        learner = method.build(Problem(stream.spec, "tiny"))
    except ConfigError:
        assert kind == "sines"  # heads that are for classes alone
        return
    episode = stream.sample(2, torch.Generator().manual_seed(0))
    learner.check_labels(episode)
    take_meta_step(learner.train(), episode)


def by_rule(rule: LearningRule) -> OnlineLearner:
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return OnlineLearner(network, rule, CrossEntropy(3), input_shape=(4,))


@pytest.mark.parametrize("name", RULES)
def test_a_meta_step_of_a_named_rule_needs_no_host(name: str) -> None:
    rule = metaplastic.rules()[name]()  # type: ignore[call-arg]
    few = episodes(outputs=3, shape=(4,), steps=2, dtype=torch.float32)
    take_meta_step(by_rule(rule), few)


def test_so_do_sleep_traces_and_examples_that_are_learned_in_blocks() -> None:
    sleep = Sleep(awake=KolenPollackAlignment(), at_start=1, every=2)
    few = episodes(outputs=3, shape=(4,), steps=3, batch=1, dtype=torch.float32)
    redrawn = RandomFeedback(weights="redrawn", spread="xavier")
    take_meta_step(by_rule(LearningRule(redrawn, Adaptive(rate=0.01), sleep)), few)
    readout = LearningRule(Direct(), Oja(rate=0.1))
    take_meta_step(OnlineLearner(nn.Sequential(nn.Linear(4, 3)), readout, CrossEntropy(3)), few)
    take_meta_step(by_rule(LearningRule(redrawn, Delta(rate=0.1))), few)


def test_the_mode_finds_what_it_is_for() -> None:
    x = torch.ones(3, device="meta")
    for host in (
        lambda: x + torch.ones(3),
        lambda: x * torch.tensor(2.0),
        lambda: x.new_tensor([1.0]),
    ):
        with pytest.raises(HostError), DeviceOnly():
            host()
    with pytest.raises((HostError, RuntimeError, NotImplementedError)), DeviceOnly():
        x.sum().item()
    with DeviceOnly():
        torch.ones(3).sum().item()  # the host may do its own
        assert (2 * x + 1).shape == (3,)
