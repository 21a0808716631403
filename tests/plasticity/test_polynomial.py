"""Polynomial rules and the feedback they were meant for: each against its formula, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic import Backprop, Initialization, LearningRule, OnlineLearner, RandomDirect
from metaplastic.files.rule_file import from_pretrained, save_pretrained
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import POOL, TERMS
from tests.helpers.lifetimes import convolutional, dense, episodes, learned, learner

Array = np.ndarray[Any, np.dtype[np.float64]]
MIXED = {name: 0.01 * (-1) ** k * (k + 1) for k, name in enumerate(TERMS)}


def by_hand(name: str, w: Array, x: Array, y: Array, e: Array, e_below: Array) -> Array:
    """One row of a term as the paper has it: the error e is minus our signal."""
    outer, ones = np.outer, np.ones_like(y)
    return {
        "signal_pre": lambda: -outer(e, x),
        "post_back": lambda: -outer(y, e_below),
        "signal_back": lambda: -outer(e, e_below),
        "decay": lambda: -w,
        "back": lambda: -outer(ones, e_below),
        "signal_total_pre": lambda: -outer(e, ones) @ outer(y, x),
        "post_agreement_back": lambda: -outer(y, y) @ w @ outer(e_below, e_below),
        "signal_agreement_pre": lambda: -outer(e, y) @ w @ outer(e_below, x),
        "post_guess_back": lambda: -outer(y, x) @ w.T @ outer(e, e_below),
        "oja": lambda: outer(y, x) - outer(y, y) @ w,
        "hebb": lambda: outer(y, x),
        "unit_oja": lambda: outer(y, x) - np.diag(y * y) @ w,
        "signal_oja": lambda: -outer(e, x) - np.diag(e * e) @ w,
        "three_factor": lambda: -outer(e * y, x),
    }[name]()


def seen(generator: torch.Generator, tasks: int = 2, rows: int = 3) -> tuple[Tensor, ...]:
    """Weight, pre, post, signal, back of a site of 3 inputs and 4 units."""
    sizes = [(4, 3), (rows, 3), (rows, 4), (rows, 4), (rows, 3)]
    return tuple(
        torch.randn(tasks, *size, generator=generator, dtype=torch.float64) for size in sizes
    )


@pytest.mark.parametrize("name", TERMS)
def test_every_term_is_its_formula_summed_over_rows(name: str, generator: torch.Generator) -> None:
    rule = Polynomial((name,), first={name: 0.7}).double()
    local = seen(generator)
    change = rule.two_sided_delta(*local, rule.coefficients[:, None, None])
    for task in range(2):
        w, x, y, s, b = (tensor[task].numpy() for tensor in local)
        rows = [by_hand(name, w, x[r], y[r], -s[r], -b[r]) for r in range(3)]
        np.testing.assert_allclose(
            change[task].detach(), np.float64(np.float32(0.7)) * sum(rows), atol=1e-12
        )


def test_the_pool_has_the_ten_published_terms_in_their_order() -> None:
    assert len(POOL) == 10
    assert (POOL[0], POOL[2], POOL[9]) == ("signal_pre", "signal_back", "oja")
    assert Polynomial().values() == dict.fromkeys(POOL, 0.0) | {"signal_pre": pytest.approx(1e-3)}


def one_step(made: OnlineLearner, batch: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The plastic weights of one lifetime before and after a single step."""
    episode = episodes(tasks=1, steps=1, batch=batch, shape=(3,))
    initial = made.initialize(episode.support_y, episode.seed)
    with torch.no_grad():
        return initial, made.adapt(episode.support_x, episode.support_y, initial)


def test_a_normalized_rule_sees_activity_in_units_of_the_input_and_signals_in_their_own(
    generator: torch.Generator,
) -> None:
    rule = Polynomial(tuple(TERMS), first=MIXED, normalized=True).double()
    plain = Polynomial(tuple(TERMS), first=MIXED).double()
    w, x, y, s, b = seen(generator)
    rate = rule.coefficients[:, None, None]
    change = rule.two_sided_delta(w, x, y, s, b, rate)
    for task in range(2):
        size, back_size = (
            np.sqrt(np.mean([row @ row for row in one[task].numpy()])) for one in (x, b)
        )
        local = (w, x / size, y / size, s, b / back_size)
        expected = plain.two_sided_delta(*(one[task : task + 1] for one in local), rate)
        torch.testing.assert_close(change[task], expected[0])


def test_a_normalized_step_is_relative_whatever_the_scale_and_the_number_of_rows(
    generator: torch.Generator,
) -> None:
    terms = ("signal_pre", "signal_back", "oja")
    rule = Polynomial(terms, first=dict.fromkeys(terms, 0.1), normalized=True).double()
    w, x, y, s, b = seen(generator)
    rate = rule.coefficients[:, None, None]
    once = rule.two_sided_delta(w, x, y, s, b, rate)
    torch.testing.assert_close(rule.two_sided_delta(w, 30 * x, 30 * y, s, 0.1 * b, rate), once)
    twice = (torch.cat([one, one], 1) for one in (x, y, s, b))
    torch.testing.assert_close(rule.two_sided_delta(w, *twice, rate / 2), once)
    silent = rule.two_sided_delta(w, 0 * x, 0 * y, 0 * s, 0 * b, rate)
    assert not silent.any()


GRADCHECKED: dict[str, Any] = {
    "the pool, fixed feedback": (RandomFeedback(), POOL, lambda: dense(3, 3, 3, 2)),
    "all terms": (RandomFeedback(), tuple(TERMS), lambda: dense(3, 3, 2, phi=nn.Softplus)),
    "learned feedback": (RandomFeedback(weights="learned"), POOL, lambda: dense(3, 3, 2)),
    "feedback redrawn": (RandomFeedback(weights="redrawn"), POOL, lambda: dense(3, 3, 2)),
    "backprop": (Backprop(), POOL, lambda: dense(3, 3, 2)),
    "convolutions": (RandomFeedback(weights="learned"), POOL, convolutional),
    "direct, redrawn": (RandomDirect(weights="redrawn"), POOL, lambda: dense(3, 3, 3, 2)),
    "direct, leveled": (RandomDirect(level=True), POOL, lambda: dense(3, 4, 3, 2)),
    "convolutions, leveled": (RandomFeedback(level=True), POOL, convolutional),
}  # fmt: skip


@pytest.mark.parametrize("case", GRADCHECKED)
def test_the_meta_gradient_through_ten_steps_is_exact(case: str) -> None:
    feedback, terms, network = GRADCHECKED[case]
    first = {name: MIXED[name] for name in terms}
    normalized = getattr(feedback, "level", False)
    plasticity = Polynomial(terms, first=first, l1=0.1, normalized=normalized)
    shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (3,)
    made = learner(network(), LearningRule(feedback, plasticity))
    episode, names = episodes(shape=shape), list(learned(made))
    values = [value.detach().clone().requires_grad_() for value in learned(made).values()]

    def meta_loss(*parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        loss: Tensor = torch.func.functional_call(made, named, (episode,)).loss
        return loss

    assert torch.autograd.gradcheck(meta_loss, values, atol=1e-7, rtol=1e-5)


def test_all_sites_share_the_coefficients_and_nothing_else_is_learned_of_the_rule() -> None:
    rule = LearningRule(RandomFeedback(), Polynomial())
    made = learner(dense(3, 4, 4, 2), rule, initialization=Initialization("redrawn", "redrawn"))
    assert [p.shape for p in made.parameter_groups()["plasticity"]] == [(10,)]
    assert "feedback" not in made.parameter_groups()
    assert all(rule.plasticity.rate(site).equal(rule.plasticity.rate(made.sites[0]))
               for site in made.sites)  # fmt: skip


def test_a_bias_is_moved_as_the_weight_of_an_input_that_is_always_one() -> None:
    torch.manual_seed(1)
    rule = LearningRule(RandomFeedback(), Polynomial(first={"signal_pre": 0.1}))
    initial, after = one_step(learner(dense(3, 4, 2), rule))
    moved = after["2.bias"] - initial["2.bias"]
    episode = episodes(tasks=1, steps=1, batch=1)
    hidden = torch.tanh(episode.support_x[0, 0] @ initial["0.weight"][0].T + initial["0.bias"][0])
    torch.testing.assert_close(
        moved[0][:, None] * hidden, after["2.weight"][0] - initial["2.weight"][0]
    )


def test_the_price_on_coefficients_is_added_in_meta_training_alone() -> None:
    made, episode = {}, episodes()
    for price in (0.0, 0.25):
        torch.manual_seed(0)
        rule = LearningRule(
            RandomFeedback(), Polynomial(first=dict.fromkeys(POOL, -0.01), l1=price)
        )
        made[price] = learner(dense(3, 3, 2), rule, jitter=False)
    free, priced = (made[price](episode).loss for price in (0.0, 0.25))
    torch.testing.assert_close(priced - free, torch.tensor(0.25 * 0.1, dtype=torch.float64),
                               rtol=1e-6, atol=0)  # fmt: skip
    (slope,), (without,) = (
        torch.autograd.grad(loss, [learner_.rule.plasticity.coefficients])
        for loss, learner_ in ((priced, made[0.25]), (free, made[0.0]))
    )
    torch.testing.assert_close(slope, without - 0.25)
    assert made[0.25].eval()(episode).loss.equal(made[0.0].eval()(episode).loss)


def test_a_pruned_rule_makes_the_same_change_where_nothing_but_zeros_was_cut(
    generator: torch.Generator,
) -> None:
    first = {"signal_pre": 0.1, "signal_back": -0.02, "oja": 0.03}
    whole = Polynomial(first=first).double()
    small = whole.pruned(1e-6)
    assert small.terms == ("signal_pre", "signal_back", "oja")
    local = seen(generator)
    torch.testing.assert_close(
        small.two_sided_delta(*local, small.coefficients[:, None, None]),
        whole.two_sided_delta(*local, whole.coefficients[:, None, None]),
    )
    assert small.pruned(0.05).terms == ("signal_pre",)
    kept = Polynomial(first=first, normalized=True, l1=0.5, positions="sum").pruned(1e-6).options
    assert (kept["normalized"], kept["l1"], kept["positions"]) == (True, 0.5, "sum")
    with pytest.raises(ValueError, match="No term is left at threshold 1; the largest"):
        whole.pruned(1.0)


def test_the_equation_is_readable_and_leaves_out_what_is_small() -> None:
    first = {"signal_pre": 0.0312, "signal_back": 0.002, "decay": 1e-5, "oja": -0.04}
    rule = Polynomial(first=first)
    assert rule.equation() == ("dW = -0.04 (y x' - y y'W) + 0.0312 s x' - 0.002 s b' - 1e-05 W")
    assert rule.equation(0.01) == "dW = -0.04 (y x' - y y'W) + 0.0312 s x'"
    assert Polynomial(("oja",)).equation() == "dW = 0"
    normalized = Polynomial(first={"signal_pre": 0.1}, normalized=True)
    assert normalized.equation() == "dW = 0.1 s x'  (x, y in units of |x|, b of |b|)"


@pytest.mark.parametrize(
    "feedback",
    [
        *(RandomFeedback(weights=weights) for weights in ("fixed", "learned", "redrawn")),
        RandomFeedback(level=True), RandomDirect(level=True), RandomDirect(weights="redrawn"),
    ],
)  # fmt: skip
def test_a_rule_file_brings_back_coefficients_and_feedback(tmp_path: Path, feedback: Any) -> None:
    plasticity = Polynomial(
        ("signal_pre", "oja"), first={"oja": 0.02}, l1=0.1, positions="sum",
        normalized=feedback.level,
    )  # fmt: skip
    made = learner(dense(3, 4, 2), LearningRule(feedback, plasticity), dtype=torch.float32)
    with torch.no_grad():
        plasticity.coefficients.add_(0.005)
    save_pretrained(made, tmp_path / "rule")
    again = from_pretrained(tmp_path / "rule")
    episode = episodes(dtype=torch.float32)
    assert torch.equal(again.eval()(episode).prediction, made.eval()(episode).prediction)
    assert again.rule.plasticity.equation() == plasticity.equation()
    assert again.rule.plasticity.penalty_weight == 0.1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"terms": ("signal_per",)}, "Did you mean 'signal_pre'"),
        ({"terms": ()}, "give at least one"),
        ({"terms": ("oja", "oja")}, "each once"),
        ({"terms": ("oja",), "first": {"hebb": 1.0}}, "is not among the terms oja"),
        ({"l1": -1.0}, "l1 is -1.0"),
        ({"positions": "max"}, "positions is 'max'"),
    ],
)
def test_what_makes_no_rule_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Polynomial(**options)
