"""A learner in Avalanche: its metrics there are ours on the same stream."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metaplastic import Direct, Hebb, LearningRule, OnlineLearner, PlasticModule, objective_for
from metaplastic.episode import Episode, TaskStream
from metaplastic.evaluate.evaluation import over_lifetime
from metaplastic.evaluate.report_from_matrix import report_from_matrix
from metaplastic.support import torchvision_import
from metaplastic.support.seeding import seeded
from tasks.avalanche_benchmark import to_benchmark
from tasks.clusters import Clusters
from tests.helpers.avalanche_here import MARKS, need_avalanche

need_avalanche()
pytestmark = MARKS


def stream() -> Clusters:
    return Clusters(
        order="by_class", split="test", ways=4, shots=6, queries_per_class=9, inputs=8, signal=4,
        spread=1.2,
    )  # fmt: skip


def learner(passes: int = 1) -> OnlineLearner:
    pathway = Direct(teaching="error", strength=1.0, learn_strength=False, gate="derivative")
    rule = LearningRule(pathway, Hebb(rate=0.1, per="shared"))
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    return OnlineLearner(network, rule, objective_for(stream().spec), passes=passes)


def lifetime(stream: TaskStream) -> Episode:
    """The one that evaluation with seed 0 samples first."""
    return stream.sample(1, seeded(0, "lifetime", 0))


def evaluator() -> Any:
    from avalanche.evaluation.metrics import accuracy_metrics, bwt_metrics, forgetting_metrics
    from avalanche.training.plugins import EvaluationPlugin

    return EvaluationPlugin(
        accuracy_metrics(experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
        bwt_metrics(stream=True),
        loggers=[],
        strict_checks=False,
    )


def taken(strategy: Any, benchmark: Any) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
    """Accuracy after each experience on each, and the last metrics by their first name."""
    rows, last = [], {}
    for experience in benchmark.train_stream:
        strategy.train(experience, shuffle=False)
        last = strategy.eval(benchmark.test_stream)
        of_one = {name.rpartition("/")[2]: last[name] for name in last if "Acc_Exp" in name}
        rows.append([of_one[f"Exp{number:03}"] for number in range(len(benchmark.test_stream))])
    return np.array(rows), {name.partition("/")[0]: value for name, value in last.items()}


def test_accuracy_and_forgetting_of_a_learner_are_ours_on_the_same_stream() -> None:
    from metaplastic.online.avalanche_strategy import OnlineStrategy

    own, episode = learner(), lifetime(stream())
    ours = over_lifetime(own, stream(), 1, seed=0)
    strategy = OnlineStrategy(own, evaluator=evaluator(), seed=int(episode.seed))
    matrix, last = taken(strategy, to_benchmark(episode))
    assert ours.accuracy is not None
    assert np.allclose(matrix, ours.accuracy[0], atol=1e-6)
    assert len(np.unique(matrix)) > 4
    assert last["Top1_Acc_Stream"] == pytest.approx(ours.on_all("accuracy").mean[-1])
    assert last["StreamForgetting"] == pytest.approx(float(ours.forgetting("accuracy").mean))
    assert last["StreamBWT"] == pytest.approx(float(ours.backward_transfer("accuracy").mean))
    assert last["StreamForgetting"] > 0


def test_accuracy_and_forgetting_of_a_plastic_module_are_those_of_a_loop() -> None:
    from metaplastic.online.avalanche_strategy import OnlineStrategy

    def module() -> PlasticModule:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        return PlasticModule(network, "feedback_alignment", example=torch.zeros(1, 8), rate=0.1)

    episode = lifetime(stream())
    strategy = OnlineStrategy(module(), evaluator=evaluator(), train_mb_size=2)
    matrix, last = taken(strategy, to_benchmark(episode))
    net, rows = module(), []
    queries = [
        (episode.query_x[0][own], episode.query_y[0][own])
        for own in (episode.query_subtask[0] == number for number in range(4))
    ]
    for x, y in zip(
        episode.support_x.flatten(0, 2).split(6), episode.support_y.flatten().split(6), strict=True
    ):
        for pair in zip(x.split(2), y.split(2), strict=True):
            net.train()(pair[0])
            net.learn(pair[1])
        net.eval()
        rows.append([float((net(x).argmax(1) == y).float().mean()) for x, y in queries])
    assert np.allclose(matrix, rows)
    report = report_from_matrix(np.array(rows, dtype=float).clip(0, 1))
    assert last["StreamForgetting"] == pytest.approx(float(report.forgetting("accuracy").mean))


def test_replay_is_a_plugin_that_works_and_keeps_the_learner_as_it_is() -> None:
    from avalanche.training.plugins import ReplayPlugin

    from metaplastic.online.avalanche_strategy import OnlineStrategy

    own = learner()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    benchmark = to_benchmark(lifetime(stream()))
    plugins = [ReplayPlugin(mem_size=12)]
    strategy = OnlineStrategy(own, evaluator=evaluator(), plugins=plugins, train_mb_size=4)
    strategy.train(benchmark.train_stream)
    assert not own.training
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    changed = strategy.model.fast["2.weight"] - before["network.2.weight"]
    assert changed.abs().max() > 0
    assert len(plugins[0].storage_policy.buffer) == 12


def test_a_plugin_that_adds_to_the_loss_is_refused() -> None:
    from avalanche.core import SupervisedPlugin

    from metaplastic.online.avalanche_strategy import OnlineStrategy

    class Penalty(SupervisedPlugin):  # type: ignore[misc]
        def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            strategy.loss += 1.0

    benchmark = to_benchmark(lifetime(stream()))
    strategy = OnlineStrategy(learner(), evaluator=evaluator(), plugins=[Penalty()])
    with pytest.raises(ValueError, match="A plugin adds to the loss, of which a local rule takes"):
        strategy.train(benchmark.train_stream)


def test_what_cannot_be_a_strategy_is_one_sentence() -> None:
    from metaplastic.online.avalanche_strategy import OnlineStrategy

    with pytest.raises(ValueError, match="learner is of type Linear; give an OnlineLearner"):
        OnlineStrategy(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="passes through its stream more than once"):
        OnlineStrategy(learner(passes=2))


def test_without_avalanche_the_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchvision_import.import_avalanche.cache_clear()
    monkeypatch.setattr(torchvision_import.importlib.util, "find_spec", lambda name: None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "avalanche"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "avalanche", None)
    module = "metaplastic.online.avalanche_strategy"
    monkeypatch.delitem(sys.modules, module, raising=False)
    imported = import_module(module)  # the library is imported without it
    with pytest.raises(ImportError, match=r"Avalanche is not installed, .* pip install"):
        imported.OnlineStrategy  # noqa: B018
    with pytest.raises(ImportError, match="Avalanche is not installed, which a benchmark needs"):
        to_benchmark(lifetime(stream()))
