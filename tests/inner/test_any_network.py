"""Lifetimes of any network: as written out layer by layer, as a loop over tasks, in pieces."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.lab.exact.networks import CLASSES, NETWORKS
from experiments.lab.exact.points import POINTS, learned_per_synapse, mirrored, point
from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Episode,
    Hebb,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    PlasticityRule,
    Polynomial,
    RandomDirect,
    RandomFeedback,
    StableOja,
    Unroll,
)
from metaplastic.inner.generic import AnyNetwork
from metaplastic.inner.state import State, initial_state
from metaplastic.inner.step import step
from tests.helpers.lifetimes import apart, convolutional, dense, episodes, learned, meta_gradient

KINDS: tuple[type[PlasticityRule], ...] = (Hebb, Oja, StableOja, NormalizedHebb, Delta)
Rule = Callable[[], LearningRule]


def of(pathway: Callable[[], Any], kind: Callable[..., Any], **options: Any) -> Rule:
    return lambda: LearningRule(pathway(), kind(rate=0.05), **options)


DIRECT: dict[str, dict[str, Any]] = {
    "error": {"teaching": "error"}, "linear, deep": {"nonlinearity": "linear", "depth": 2},
    "random": {"feedback": "random"}, "none": {"feedback": "none"},
    "readout by feedback": {"readout": "feedback"}, "magnitude": {"hidden_seed": "magnitude"},
    "error as a constant": {"teaching": "error", "detach_error": True},
}  # fmt: skip
RULES: dict[str, Rule] = {
    **{f"direct, {kind.__name__}": of(Direct, kind) for kind in KINDS},
    **{f"direct, {n}": of(lambda o=o: Direct(**o), Oja) for n, o in DIRECT.items()},
    **{f"backprop, {kind.__name__}": of(Backprop, kind) for kind in KINDS},
    "first order": of(lambda: Backprop(second_order=False), Delta),
    "summed, faster below": of(Direct, Oja, reduction="sum", hidden_multiplier=3.0),
    **{
        f"random feedback, {drawn}": of(lambda drawn=drawn: RandomFeedback(weights=drawn), Delta)
        for drawn in ("fixed", "learned", "redrawn")
    },
    "random feedback, leveled": of(lambda: RandomFeedback(weights="redrawn", level=True), Delta),
    "polynomial": lambda: LearningRule(
        RandomFeedback(weights="redrawn", level=True),
        Polynomial(first={"signal_pre": 0.05, "post_back": 0.02, "oja": 0.01}, normalized=True),
    ),
    **{
        f"rates per {per}": lambda per=per: LearningRule(Backprop(), Delta(rate=0.05, per=per))
        for per in ("neuron", "feature", "layer", "shared")
    },
}  # fmt: skip
DENSE_ALONE: dict[str, Rule] = {
    "direct random": of(lambda: RandomDirect(weights="redrawn"), Delta),
    "direct random, fixed": of(RandomDirect, Delta),
    "direct random, polynomial": lambda: LearningRule(
        RandomDirect(weights="redrawn", level=True), Polynomial(normalized=True)
    ),
}
PLAIN: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "dense": (lambda: dense(4, 6, 5, 2), (4,)),
    "convolutional": (convolutional, (1, 5, 5)),
}
CASES = [(name, network) for name in RULES for network in PLAIN]
CASES += [(name, "dense") for name in DENSE_ALONE]


def both(rule: str, network: str, **options: Any) -> tuple[OnlineLearner, OnlineLearner, Episode]:
    """The generic learner, the written-out one with the same parameters, and lifetimes."""
    make, shape = PLAIN[network]
    learners = [
        OnlineLearner(make(), {**RULES, **DENSE_ALONE}[rule](), CrossEntropy(2), **given, **options)
        for given in ({"input_shape": shape}, {})
    ]
    generic, written_out = (one.double() for one in learners)
    draw = torch.Generator().manual_seed(7)
    for parameter in written_out.parameters():
        noise = torch.rand(parameter.shape, generator=draw, dtype=torch.float64)
        parameter.data = parameter.data * (0.5 + noise) + 0.02 * (noise - 0.5)
    generic.load_state_dict(written_out.state_dict())
    assert isinstance(generic.executor, AnyNetwork)
    assert not isinstance(written_out.executor, AnyNetwork)
    return generic, written_out, episodes(shape=shape, steps=10)


@pytest.mark.parametrize(("rule", "network"), CASES)
def test_a_lifetime_is_the_one_written_out(rule: str, network: str) -> None:
    generic, written_out, episode = both(rule, network)
    ends = []
    for one in (generic, written_out):
        support, _ = one.encode_episodes(episode)
        first = one.initialize(episode.support_y, episode.seed)
        ends.append(one.adapt(support, episode.support_y, first))
    weights = State.of_flat(ends[0]).weights
    assert set(weights) <= set(ends[1])
    for name, value in weights.items():
        torch.testing.assert_close(value, ends[1][name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rule", "network"), CASES)
def test_its_meta_gradient_is_the_one_written_out(rule: str, network: str) -> None:
    generic, written_out, episode = both(rule, network)
    assert apart(meta_gradient(generic, episode), meta_gradient(written_out, episode)) < 1e-12


@pytest.mark.parametrize("rule", ["random feedback, learned", "direct, error", "backprop, Delta"])
def test_truncated_it_is_the_one_written_out_too(rule: str) -> None:
    generic, written_out, episode = both(rule, "dense", unroll=Unroll(truncate=4))
    found = meta_gradient(generic, episode)
    assert apart(found, meta_gradient(written_out, episode)) < 1e-12


def any_learner(network: str, rule: LearningRule, **options: Any) -> tuple[OnlineLearner, Episode]:
    tiny = NETWORKS[network]
    made = OnlineLearner(
        tiny.make(torch.float64), rule, CrossEntropy(CLASSES), input_shape=tiny.shape, **options
    )
    return made.double(), episodes(outputs=CLASSES, shape=tiny.shape, tasks=3, steps=6, batch=1)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", POINTS)
def test_lifetimes_side_by_side_are_a_loop_of_steps(rule: str, network: str) -> None:
    made, episode = any_learner(network, point(rule, network)())
    with torch.no_grad():
        first = made.initialize(episode.support_y, episode.seed)
        together = made.adapt(episode.support_x, episode.support_y, first)
        executor = made.executor
        assert isinstance(executor, AnyNetwork)
        for task, seed in enumerate(episode.seed):
            state = initial_state(made.rule, executor.network, seed)
            for x, y in zip(episode.support_x[task], episode.support_y[task], strict=True):
                state, _ = step(made.rule, executor.network, state, x, y)
            for name, value in state.flat().items():
                torch.testing.assert_close(together[name][task], value, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("network", ["residual", "attention", "own matrices"])
@pytest.mark.parametrize("every", [1, 4, 20])
def test_a_checkpointed_lifetime_has_the_same_meta_gradient(every: int, network: str) -> None:
    made, episode = any_learner(network, mirrored(small=1e-3))
    plain = made(episode).loss, meta_gradient(made, episode)
    made.unroll = Unroll(checkpoint_every=every)
    assert torch.equal(made(episode).loss, plain[0])
    assert apart(meta_gradient(made, episode), plain[1]) < 1e-14


@pytest.mark.parametrize("network", ["residual", "attention"])
def test_a_truncated_lifetime_is_one_whose_beginning_has_no_graph(network: str) -> None:
    made, episode = any_learner(network, learned_per_synapse())
    first = made.initialize(episode.support_y, episode.seed)
    with torch.no_grad():
        middle = made.adapt(episode.support_x[:, :4], episode.support_y[:, :4], first)
    end = made.adapt(episode.support_x[:, 4:], episode.support_y[:, 4:], middle)
    prediction = made.predict(end, episode.query_x)
    loss = made.objective.loss(prediction, episode.query_y).mean()
    leaves = learned(made)
    expected = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True,
                                   materialize_grads=True)  # fmt: skip
    made.unroll = Unroll(truncate=2)
    torch.testing.assert_close(made(episode).loss, loss, rtol=1e-13, atol=0.0)
    found = meta_gradient(made, episode)
    assert apart(found, dict(zip(leaves, expected, strict=True))) < 1e-13


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", ["mirrored, adaptive", "weight_mirror", "kolen_pollack"])
def test_a_state_saved_in_the_middle_goes_on_to_the_bit(rule: str, network: str) -> None:
    made, episode = any_learner(network, POINTS[rule]())
    executor = made.executor
    assert isinstance(executor, AnyNetwork)
    x, y = episode.support_x[0], episode.support_y[0]

    def steps(state: State, first: int, last: int) -> State:
        with torch.no_grad():
            for at in range(first, last):
                state, _ = step(made.rule, executor.network, state, x[at], y[at])
        return state

    initial = initial_state(made.rule, executor.network, 5)
    middle = steps(initial, 0, 3)
    file = io.BytesIO()
    torch.save(middle.flat(), file)
    file.seek(0)
    loaded = State.of_flat(torch.load(file, weights_only=True))
    expected = steps(middle, 3, 6).flat()
    for again in (loaded, copy.deepcopy(loaded)):
        found = steps(again, 3, 6).flat()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_stream_in_pieces_is_the_whole_stream() -> None:
    made, episode = any_learner("residual", mirrored())
    x, y = episode.support_x, episode.support_y
    with torch.no_grad():
        fast: dict[str, Tensor] = made.initialize(y, episode.seed)
        whole = made.adapt(x, y, fast)
        for first, last in ((0, 1), (1, 4), (4, 6)):
            fast = made.adapt(x[:, first:last], y[:, first:last], fast)
    assert all(torch.equal(fast[name], value) for name, value in whole.items())
