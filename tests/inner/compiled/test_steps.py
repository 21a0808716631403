"""A compiled lifetime is the eager one, and where it would not be, it is not used."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Direct,
    LearningRule,
    NormalizedHebb,
    PlasticityRule,
    StableOja,
    Unroll,
)
from metaplastic.inner.compiled import one_program
from tests.helpers.lifetimes import (
    RULES,
    Rule,
    apart,
    convolutional,
    dense,
    episodes,
    learner,
    meta_gradient,
    the_same,
)

# Compilers, called again with another shape, warn of what they do themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _a_few_steps_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lifetimes are one program, which has tests of its own."""
    monkeypatch.setattr(one_program, "STEPS", 0)


@pytest.fixture
def without_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced, differentiated and cut in two as ever, and run as it is: C++ takes half a minute."""
    own = torch.compile

    @wraps(own)  # steps look at what it takes
    def plain(function: Any, options: Any = None, **others: Any) -> Any:
        return own(function, backend="aot_eager_decomp_partition", **others)

    monkeypatch.setattr(torch, "compile", plain)


@pytest.mark.usefixtures("without_machine_code")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_compiled_lifetime_is_the_eager_one(rule: Rule) -> None:
    made, episode = learner(dense(4, 5, 2), rule()), episodes(shape=(4,), steps=4)
    eager = made(episode), meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    compiled = made(episode), meta_gradient(made, episode)  # a fall back would warn, and so fail
    assert torch.allclose(compiled[0].prediction, eager[0].prediction, rtol=1e-12, atol=1e-13)
    assert apart(compiled[1], eager[1]) < 1e-12
    with torch.no_grad():
        assert torch.allclose(made(episode).prediction, eager[0].prediction, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_so_has_its_machine_code() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=2)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, episode), eager) < 1e-12


@pytest.mark.usefixtures("without_machine_code")
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
    episode = episodes(shape=shape, steps=1)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    assert apart(meta_gradient(made, episode), eager) < 1e-12


@pytest.mark.usefixtures("without_machine_code")
def test_compiled_and_checkpointed_lifetimes_agree_too() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True, checkpoint_every=2)
    assert apart(meta_gradient(made, episode), eager) < 1e-12


def test_without_a_compiler_the_step_runs_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise RuntimeError("no C compiler found")

    monkeypatch.setattr(torch, "compile", missing)
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    eager = meta_gradient(made, episode)
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="could not be compiled.*no C compiler found"):
        assert the_same(meta_gradient(made, episode), eager)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert the_same(meta_gradient(made, episode), eager)


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
                rule.pathway.second_order = False
            handles = [
                parameter.register_hook(lambda gradient: gradient / 2)
                for parameter in rule.pathway.feedback_parameters()
            ]
            result = step(*arguments)
            rule.pathway.second_order = True
            del handles
            return result

        return compiled

    monkeypatch.setattr(torch, "compile", miscompile)
    name = "Oja" if wrong == "half the feedback" else "SGD, second order"
    made, episode = learner(dense(4, 5, 2), RULES[name]()), episodes(shape=(4,), steps=4)
    eager = made(episode).prediction
    made.unroll = Unroll(compile=True)
    with pytest.warns(UserWarning, match="another meta-gradient"):
        assert torch.equal(made(episode).prediction, eager)


@pytest.mark.parametrize(
    ("steps", "passes", "how", "piece"),
    [(1, 5, {}, 5), (2, 5, {}, 5), (4, 1, {"checkpoint_every": 2}, 2), (9, 1, {"truncate": 4}, 4)],
)
def test_what_is_compared_is_what_is_compiled(
    steps: int, passes: int, how: dict[str, int], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def recording(adapt: Callable[..., dict[str, Tensor]], **options: Any) -> Any:
        def compiled(*arguments: Any) -> dict[str, Tensor]:
            if torch.is_grad_enabled():
                lengths.append(len(arguments[-1]["x"]))
            return adapt(*arguments)

        return compiled

    monkeypatch.setattr(torch, "compile", recording)
    made = learner(dense(4, 5, 2), RULES["Oja"](), passes=passes)
    episode = episodes(shape=(4,), steps=steps)
    plain = made(episode).prediction
    made.unroll = Unroll(compile=True, **how)
    assert torch.equal(made(episode).prediction, plain)
    assert lengths
    assert set(lengths) == {piece}


@pytest.mark.usefixtures("without_machine_code")
def test_a_learner_that_was_compiled_can_be_forgotten() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Hebb"]()), episodes(shape=(4,), steps=4)
    made.unroll = Unroll(compile=True)
    made(episode)
    rule = weakref.ref(made.rule)
    del made
    gc.collect()
    assert rule() is None
