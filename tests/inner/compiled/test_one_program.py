"""Short lifetimes as one program have the meta-gradient of uncompiled ones, or are not used."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.lab.exact.networks import CLASSES, NETWORKS
from experiments.lab.exact.points import POINTS
from metaplastic import CrossEntropy, OnlineLearner, Unroll
from metaplastic.inner.compiled import one_program
from tests.helpers.lifetimes import RULES, Rule, apart, dense, episodes, learner, meta_gradient

GENERIC = (  # a rule and a network
    ("kolen_pollack", "residual"),
    ("mirrored, adaptive", "mlp"),
    ("polynomial, direct", "attention"),
    ("regularized, learned", "own matrices"),
    ("kolen_pollack", "kernels"),
)


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without machine code, which takes seconds."""
    monkeypatch.setattr(one_program, "machine_code", lambda run, example: run)


def used(made: OnlineLearner) -> bool:
    kept = one_program._KEPT.get(made)
    return kept is not None and kept.program is not None


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_one_program_has_the_meta_gradient_of_the_lifetimes(rule: Rule) -> None:
    made, episode = learner(dense(4, 5, 2), rule()), episodes(shape=(4,), steps=4)
    eager = made(episode), meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    for _ in range(2):
        found = made(episode), meta_gradient(made, episode)
        for name in ("loss", "per_task", "accuracy", "prediction"):
            one, other = (getattr(each[0], name) for each in (found, eager))
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
        assert apart(found[1], eager[1]) < 1e-12
    assert used(made)


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize(("rule", "network"), GENERIC)
def test_so_has_that_of_any_network(rule: str, network: str) -> None:
    tiny = NETWORKS[network]
    made = OnlineLearner(
        tiny.make(torch.float64), POINTS[rule](), CrossEntropy(CLASSES), input_shape=tiny.shape
    ).double()
    episode = episodes(shape=tiny.shape, steps=2, outputs=CLASSES)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, episode), eager) < 1e-11
    assert used(made)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["SGD, second order"])
def test_so_has_its_machine_code(rule: str) -> None:
    made, episode = learner(dense(4, 5, 2), RULES[rule]()), episodes(shape=(4,), steps=2)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, episode), eager) < 1e-12
    assert used(made)


@pytest.mark.usefixtures("as_it_is")
def test_parameters_that_change_are_read_anew() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    made.unroll = Unroll(compile=True)
    meta_gradient(made, episode)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(0.9)
    found = meta_gradient(made, episode)
    made.unroll = Unroll()
    assert apart(found, meta_gradient(made, episode)) < 1e-12


@pytest.mark.usefixtures("as_it_is")
def test_what_is_set_later_is_seen() -> None:
    made, episode = (
        learner(dense(4, 5, 2), RULES["SGD, second order"]()),
        episodes(shape=(4,), steps=4),
    )
    changes: list[Callable[[], None]] = [
        lambda: setattr(made, "passes", 2),
        lambda: setattr(made.rule.pathway, "second_order", False),
        lambda: setattr(made.rule, "rate_scale", 0.5),
    ]
    for change in changes:
        made.unroll = Unroll(compile=True)
        meta_gradient(made, episode)
        change()
        found = meta_gradient(made, episode)
        made.unroll = Unroll()
        assert apart(found, meta_gradient(made, episode)) < 1e-12


@pytest.mark.usefixtures("as_it_is")
def test_an_encoder_below_gets_its_gradient() -> None:
    made = learner(dense(5, 4, 2), RULES["Oja"](), encoder=nn.Linear(4, 5).double())
    episode = episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    found = meta_gradient(made, episode)
    assert apart(found, eager) < 1e-12
    assert used(made)


@pytest.mark.usefixtures("as_it_is")
def test_a_weight_of_two_layers_gets_its_gradient_once() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(4, 4)
    encoder = nn.Sequential(shared, nn.Tanh(), shared).double()
    made = learner(dense(4, 3, 2), RULES["Oja"](), encoder=encoder)
    episode = episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, episode), eager) < 1e-12
    assert used(made)


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize("how", [{"checkpoint_every": 2}, {"truncate": 2}])
def test_what_was_asked_of_long_lifetimes_is_left_to_them(
    how: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    made.unroll = Unroll(compile=True, **how)
    made(episode)
    assert not used(made)


def test_where_nothing_is_compiled_a_sentence_says_why_once() -> None:
    tiny = NETWORKS["residual"]
    made = OnlineLearner(
        tiny.make(torch.float64), POINTS["kolen_pollack"](), CrossEntropy(CLASSES),
        input_shape=tiny.shape,
    ).double()  # fmt: skip
    episode = episodes(shape=tiny.shape, steps=one_program.STEPS + 1, outputs=CLASSES, batch=1)
    eager = made(episode).loss
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="more than 16 steps"):
        assert torch.equal(made(episode).loss, eager)
    assert torch.equal(made(episode).loss, eager)


def test_a_program_with_another_gradient_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(run: Callable[..., Sequence[Tensor]], example: Any) -> Any:
        def half(*inputs: Tensor) -> list[Tensor]:
            return [tensor / 2 for tensor in run(*inputs)]

        return half

    monkeypatch.setattr(one_program, "machine_code", wrong)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="another meta-gradient"):
        found = meta_gradient(made, episode)
    assert apart(found, eager) < 1e-12


@pytest.mark.usefixtures("as_it_is")
def test_a_learner_that_was_traced_can_be_forgotten() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Hebb"]()), episodes(shape=(4,), steps=4)
    made.unroll = Unroll(compile=True)
    made(episode).loss.backward()
    assert used(made)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
