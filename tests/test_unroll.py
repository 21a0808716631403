"""How a lifetime is run changes its cost and, but for truncation, nothing else."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    FeedbackPathway,
    Hebb,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    PlasticityRule,
    StableOja,
    Unroll,
)
from tests.lives import apart, convolutional, dense, episodes, learned, learner, meta_gradient

# Compilers, asked again for another shape, warn of what they do themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]
Rule = Callable[[], LearningRule]
RULES: dict[str, Rule] = {
    "Oja": lambda: LearningRule(Direct(teaching="error"), Oja(rate=0.05)),
    "Hebb": lambda: LearningRule(Direct(), Hebb(rate=0.05)),
    "SGD, second order": lambda: LearningRule(Backprop(), Delta(rate=0.1)),
    "SGD, first order": lambda: LearningRule(Backprop(second_order=False), Delta(rate=0.1)),
}


def other_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 2)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "dense": (lambda: dense(4, 6, 5, 2), (4,)),
    "convolutional": (convolutional, (1, 5, 5)),
    "other layers": (other_layers, (4,)),
}


def the_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("every", [3, 20])
def test_checkpointing_changes_no_bit(every: int, rule: Rule, network: str) -> None:
    make, shape = NETWORKS[network]
    made, lived = learner(make(), rule()), episodes(shape=shape, steps=7)
    plain = made(lived).loss, meta_gradient(made, lived)
    made.unroll = Unroll(checkpoint_every=every)
    assert torch.equal(made(lived).loss, plain[0])
    assert the_same(meta_gradient(made, lived), plain[1])


def test_checkpointing_covers_several_passes() -> None:
    made, lived = (
        learner(dense(4, 5, 2), RULES["SGD, second order"](), passes=5),
        episodes(shape=(4,), steps=1),
    )
    plain = meta_gradient(made, lived)
    made.unroll = Unroll(checkpoint_every=2)
    assert the_same(meta_gradient(made, lived), plain)


@pytest.mark.parametrize("checkpoint_every", [None, 2])
@pytest.mark.parametrize(("steps", "passes"), [(7, 1), (1, 7)])
def test_truncation_is_a_loop_detached_by_hand_and_is_biased(
    steps: int, passes: int, checkpoint_every: int | None
) -> None:
    made = learner(dense(4, 5, 2), RULES["SGD, second order"](), passes=passes)
    lived = episodes(shape=(4,), steps=steps)
    exact, loss = meta_gradient(made, lived), made(lived).loss
    made.unroll = Unroll(truncate=3, checkpoint_every=checkpoint_every)
    assert torch.equal(made(lived).loss, loss)
    truncated = meta_gradient(made, lived)

    made.unroll, made.passes = Unroll(), 1
    fast = made.birth(lived.support_y, lived.seed)
    for step in range(7):
        if step == 4:  # three steps before the end
            fast = {name: weight.detach() for name, weight in fast.items()}
        now = slice(step % steps, step % steps + 1)
        fast = made.adapt(lived.support_x[:, now], lived.support_y[:, now], fast)
    by_hand = made.objective.loss(made.predict(fast, lived.query_x), lived.query_y).mean()
    expected = torch.autograd.grad(
        by_hand, list(learned(made).values()), allow_unused=True, materialize_grads=True
    )
    assert the_same(truncated, dict(zip(learned(made), expected, strict=True)))
    assert apart(truncated, exact) > 0.1


def test_truncation_longer_than_the_lifetime_is_none() -> None:
    made, lived = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    exact = meta_gradient(made, lived)
    made.unroll = Unroll(truncate=4)
    assert the_same(meta_gradient(made, lived), exact)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_compiled_lifetime_is_the_eager_one(rule: Rule) -> None:
    made, lived = learner(dense(4, 5, 2), rule()), episodes(shape=(4,), steps=4)
    eager = made(lived), meta_gradient(made, lived)
    made.unroll = Unroll(compile=True)
    compiled = made(lived), meta_gradient(made, lived)  # a fall back would warn, and so fail
    assert torch.allclose(compiled[0].prediction, eager[0].prediction, rtol=1e-12, atol=1e-13)
    assert apart(compiled[1], eager[1]) < 1e-12
    with torch.no_grad():
        assert torch.allclose(made(lived).prediction, eager[0].prediction, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("plasticity", "network"),
    [(StableOja, lambda: dense(4, 5, 2)), (NormalizedHebb, convolutional)],
    ids=["stable-oja", "normalized-hebb, convolutions"],
)
def test_compiled_error_teaching_is_the_eager_one(
    plasticity: type[PlasticityRule], network: Callable[[], nn.Sequential]
) -> None:
    rule = LearningRule(Direct(teaching="error", gate="derivative"), plasticity(rate=0.05))
    made = learner(network(), rule)
    shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (4,)
    lived = episodes(shape=shape, steps=1)
    eager = meta_gradient(made, lived)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, lived), eager) < 1e-12


def test_compiled_and_checkpointed_lifetimes_agree_too() -> None:
    made, lived = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, lived)
    made.unroll = Unroll(compile=True, checkpoint_every=2)
    assert apart(meta_gradient(made, lived), eager) < 1e-12


def test_without_a_compiler_the_step_runs_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise RuntimeError("no C compiler found")

    monkeypatch.setattr(torch, "compile", missing)
    made, lived = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, lived)
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="could not be compiled.*no C compiler found"):
        assert the_same(meta_gradient(made, lived), eager)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert the_same(meta_gradient(made, lived), eager)


@pytest.mark.parametrize("wrong", ["first order", "half the feedback", "another value"])
def test_a_compiled_step_with_a_wrong_gradient_is_caught(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def miscompile(step: Callable[..., dict[str, Tensor]], **options: Any) -> Any:
        def compiled(*arguments: Any) -> dict[str, Tensor]:
            rule: LearningRule = arguments[0]
            if wrong == "another value":
                return {name: weight + 1e-6 for name, weight in step(*arguments).items()}
            if wrong == "first order":
                rule.feedback.second_order = False
            handles = [
                parameter.register_hook(lambda gradient: gradient / 2)
                for parameter in rule.feedback.feedback_parameters()
            ]
            result = step(*arguments)
            rule.feedback.second_order = True
            del handles
            return result

        return compiled

    monkeypatch.setattr(torch, "compile", miscompile)
    name = "Oja" if wrong == "half the feedback" else "SGD, second order"
    made, lived = learner(dense(4, 5, 2), RULES[name]()), episodes(shape=(4,), steps=4)
    eager = made(lived).prediction
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="another meta-gradient"):
        assert torch.equal(made(lived).prediction, eager)


@pytest.mark.parametrize(
    ("steps", "passes", "how", "piece"),
    [(1, 5, {}, 5), (2, 5, {}, 5), (4, 1, {"checkpoint_every": 2}, 2), (9, 1, {"truncate": 4}, 4)],
)
def test_what_is_compared_is_what_is_compiled(
    steps: int, passes: int, how: dict[str, int], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def recording(live: Callable[..., dict[str, Tensor]], **options: Any) -> Any:
        def compiled(*arguments: Any) -> dict[str, Tensor]:
            if torch.is_grad_enabled():
                lengths.append(len(arguments[-1]["x"]))
            return live(*arguments)

        return compiled

    monkeypatch.setattr(torch, "compile", recording)
    made = learner(dense(4, 5, 2), RULES["Oja"](), passes=passes)
    lived = episodes(shape=(4,), steps=steps)
    plain = made(lived).prediction
    made.unroll = Unroll(compile=True, **how)
    assert torch.equal(made(lived).prediction, plain)
    assert lengths
    assert set(lengths) == {piece}


def test_a_learner_that_was_compiled_can_be_forgotten() -> None:
    made, lived = learner(dense(4, 5, 2), RULES["Hebb"]()), episodes(shape=(4,), steps=4)
    made.unroll = Unroll(compile=True)
    made(lived)
    rule = weakref.ref(made.rule)
    del made
    gc.collect()
    assert rule() is None


class Decay(PlasticityRule):
    """A user's own rule, in one method."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return -rate * weight


def test_a_users_rule_needs_one_method() -> None:
    made = learner(dense(4, 5, 2), LearningRule(Direct(), Decay(rate=0.5)), jitter=False, plastic=2)
    assert isinstance(made, OnlineLearner)
    assert isinstance(made.rule.feedback, FeedbackPathway)
    lived = episodes(shape=(4,), steps=2, batch=1)
    fast = made.adapt(lived.support_x, lived.support_y, made.birth(lived.support_y, lived.seed))
    assert torch.allclose(fast["2.weight"], made.network[2].weight / 4)
