"""The learner as a module: what is run once, how lifetimes begin, what an optimizer sees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    Episode,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
)
from tests.helpers.lifetimes import (
    apart,
    convolutional,
    dense,
    episodes,
    learned,
    learner,
    meta_gradient,
)


def flp(**feedback: Any) -> LearningRule:
    return LearningRule(Direct(**{"teaching": "error", **feedback}), Oja(rate=0.05))


class Counting(nn.Module):
    """An encoder that remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.given = nn.Linear(4, 4), list[torch.Size]()

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x.shape)
        return self.linear(x).tanh()


def test_the_encoder_runs_once_on_support_and_queries_of_all_tasks() -> None:
    encoder = Counting()
    made = learner(dense(4, 5, 2), flp(), encoder=encoder, passes=3)
    made(episodes(shape=(4,), tasks=3, steps=6, batch=2, queries=5))
    assert encoder.given == [torch.Size([3 * 6 * 2 + 3 * 5, 4])]


@pytest.mark.parametrize("network", [lambda: dense(4, 6, 5, 2), convolutional], ids=["mlp", "conv"])
def test_layers_before_the_first_plastic_site_are_hoisted_without_a_trace(network: Any) -> None:
    shape = (1, 5, 5) if network is convolutional else (4,)
    made, episode = learner(network(), flp(), plastic=1), episodes(shape=shape)
    assert made.executor.first > 0
    hoisted = made(episode).loss, meta_gradient(made, episode)
    made.executor.first = 0  # run the frozen layers at every step instead
    assert torch.allclose(made(episode).loss, hoisted[0], rtol=1e-13)
    assert apart(meta_gradient(made, episode), hoisted[1]) < 1e-12


def test_a_stream_may_be_learned_piece_by_piece() -> None:
    made, episode = learner(dense(4, 5, 2), flp()), episodes(shape=(4,), steps=7)
    x, y = episode.support_x, episode.support_y
    initial = made.initialize(y, episode.seed)
    at_once = made.adapt(x, y, initial)
    first = made.adapt(x[:, :3], y[:, :3], initial)
    in_pieces = made.adapt(x[:, 3:], y[:, 3:], first)
    assert all(torch.equal(at_once[name], in_pieces[name]) for name in at_once)
    assert all(
        torch.equal(initial[name], made.initialize(y, episode.seed)[name]) for name in initial
    )


def test_batch_learning_is_one_step_on_everything() -> None:
    made, episode = learner(dense(4, 5, 2), flp(), batch_learning=True), episodes(shape=(4,))
    together = made(episode).prediction
    made.batch_learning = False
    flat = episode._replace(
        support_x=episode.support_x.flatten(1, 2)[:, None],
        support_y=episode.support_y.flatten(1, 2)[:, None],
        support_subtask=episode.support_subtask.flatten(1, 2)[:, None],
    )
    assert torch.equal(made(flat).prediction, together)


def with_initialization(
    initialization: Initialization, at_test: Initialization | None = None
) -> tuple[OnlineLearner, Episode]:
    made = learner(
        dense(4, 5, 4), flp(), initialization=initialization, initialization_at_test=at_test
    )
    return made, episodes(shape=(4,), outputs=2, tasks=3)


def test_every_lifetime_is_initialized_from_its_own_seed() -> None:
    made, episode = with_initialization(Initialization("redrawn", "zeroed"))
    initial = made.initialize(episode.support_y, episode.seed)
    assert not torch.equal(initial["0.weight"][0], initial["0.weight"][1])
    assert initial["2.weight"].abs().max() == 0
    assert initial["0.bias"].abs().max() == 0
    alone = made.initialize(episode.support_y[1:2], episode.seed[1:2])
    assert torch.equal(alone["0.weight"][0], initial["0.weight"][1])
    assert initial["0.weight"].std() == pytest.approx((2 / 4) ** 0.5, rel=0.3)
    torch.manual_seed(99)  # nothing is drawn from the global generator
    assert torch.equal(
        made.initialize(episode.support_y, episode.seed)["0.weight"], initial["0.weight"]
    )


def test_only_the_rows_of_classes_that_will_be_met_are_redrawn() -> None:
    made, episode = with_initialization(Initialization("learned", "rows"))
    episode.support_y[0] = 1
    initial, slow = made.initialize(episode.support_y, episode.seed), made.network[2]
    kept = [[row for row in range(4) if row not in episode.support_y[t]] for t in range(3)]
    assert kept[0] == [0, 2, 3]
    assert kept[1] == [2, 3]
    for task, rows in enumerate(kept):
        drawn = [row for row in range(4) if row not in rows]
        assert torch.equal(initial["2.weight"][task, rows], slow.weight[rows])
        assert torch.equal(initial["2.bias"][task, rows], slow.bias[rows])
        assert (initial["2.weight"][task, drawn] != slow.weight[drawn]).all()
        assert (initial["2.bias"][task, drawn] == 0).all()
    assert torch.equal(initial["0.weight"][2], made.network[0].weight)


def test_initialization_at_test_may_differ_from_that_in_training() -> None:
    made, episode = with_initialization(
        Initialization("learned", "rows"), Initialization("learned", "redrawn")
    )
    in_training = made.initialize(episode.support_y, episode.seed)["2.weight"]
    made.eval()
    at_test = made.initialize(episode.support_y, episode.seed)["2.weight"]
    assert torch.equal(in_training[0, 2:], made.network[2].weight[2:])
    assert (at_test[0, 2:] != made.network[2].weight[2:]).all()


def test_every_learned_parameter_is_in_one_group() -> None:
    made = learner(dense(4, 5, 2), flp(), encoder=Counting())
    groups = made.parameter_groups()
    assert list(groups) == ["weights", "feedback", "plasticity", "strength"]
    grouped = [id(p) for group in groups.values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in made.parameters())
    frozen = learner(dense(4, 5, 2), flp(feedback="random", learn_strength=False))
    assert list(frozen.parameter_groups()) == ["weights", "plasticity"]
    sgd = LearningRule(Backprop(), Delta(rate=0.1, learn=False))
    assert list(learner(dense(4, 5, 2), sgd).parameter_groups()) == ["weights"]


def test_a_copy_adapts_the_same_and_is_its_own() -> None:
    made, episode = learner(dense(4, 5, 2), flp()), episodes(shape=(4,))
    other, loss = copy.deepcopy(made), made(episode).loss
    assert torch.equal(other(episode).loss, loss)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1
    assert torch.equal(made(episode).loss, loss)
    assert not torch.equal(other(episode).loss, loss)


def test_a_state_dict_makes_another_learner_the_same() -> None:
    made, episode = learner(dense(4, 5, 2), flp(depth=2)), episodes(shape=(4,))
    other = learner(dense(4, 5, 2), flp(depth=2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    assert not torch.equal(other(episode).loss, made(episode).loss)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(episode).loss, made(episode).loss)


LEARNERS = {
    "FLP": lambda: (dense(4, 5, 2), flp(), (4,)),
    "FLP, convolutions": lambda: (convolutional(), flp(gate="derivative"), (1, 5, 5)),
    "MAML": lambda: (dense(4, 5, 2), LearningRule(Backprop(), Delta(rate=0.1)), (4,)),
    "MAML, convolutions": lambda: (
        convolutional(), LearningRule(Backprop(), Delta(rate=0.1)), (1, 5, 5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS.keys())
@pytest.mark.parametrize("autocast", [False, True], ids=["bfloat16", "autocast"])
def test_half_precision_is_near(make: Any, autocast: bool) -> None:
    network, rule, shape = make()
    made = learner(network, rule, dtype=torch.float32)
    episode = episodes(shape=shape, dtype=torch.float32, steps=4, tasks=4, queries=16)
    exact = made(episode).loss, meta_gradient(made, episode)
    if autocast:
        with torch.autocast("cpu", torch.bfloat16):
            loss, gradient = made(episode).loss, meta_gradient(made, episode)
        assert all(g.dtype == torch.float32 for g in gradient.values())
    else:
        made, episode = made.to(torch.bfloat16), episode.to("cpu", torch.bfloat16)
        loss, gradient = made(episode).loss, meta_gradient(made, episode)
        assert made(episode).prediction.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(exact[0].item(), rel=0.05)
    assert apart(gradient, exact[1]) < 0.2


def test_a_lifetime_without_a_graph_is_the_same_lifetime() -> None:
    made, episode = learner(dense(4, 5, 2), LEARNERS["MAML"]()[1]), episodes(shape=(4,))
    with_graph = made(episode)
    with torch.no_grad():
        without = made(episode)
    assert torch.equal(with_graph.prediction, without.prediction)
    assert without.loss.grad_fn is None
    with torch.inference_mode():
        assert torch.equal(made(episode).prediction, with_graph.prediction)


def test_only_the_loss_carries_a_graph() -> None:
    meta = learner(dense(4, 5, 2), flp())(episodes(shape=(4,), tasks=3, queries=6))
    assert meta.loss.requires_grad
    assert meta.accuracy is not None
    assert meta.per_task.shape == meta.accuracy.shape == (3,)
    assert meta.prediction.shape == (3, 6, 2)
    assert not meta.per_task.requires_grad
    assert not meta.prediction.requires_grad
    assert torch.equal(meta.per_task.mean(), meta.loss.detach())
    regression = learner(dense(4, 5, 2), flp(), regression=True)
    episode = episodes(shape=(4,), regression=True)
    assert regression(episode).accuracy is None
    expected = (regression(episode).prediction - episode.query_y).square().mean()
    assert torch.allclose(regression(episode).loss, expected)


def test_meta_training_lowers_the_meta_loss() -> None:
    made, episode = learner(dense(4, 8, 2), flp()), episodes(shape=(4,), tasks=8, queries=4)
    optimizer, before = torch.optim.Adam(learned(made).values(), lr=3e-3), made(episode).loss
    for _ in range(30):
        optimizer.zero_grad()
        made(episode).loss.backward()
        optimizer.step()
    assert made(episode).loss < 0.9 * before


def test_one_name_of_a_plastic_site_needs_no_list() -> None:
    made = learner(dense(4, 5, 2), flp(), plastic="2")
    assert [site.name for site in made.sites] == ["2"]
