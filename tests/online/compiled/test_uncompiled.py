"""What cannot be compiled runs as it would without, and a sentence says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.lab.exact.points import POINTS
from metaplastic import Delta, LearningRule, PlasticityRule, PlasticModule, RandomFeedback
from metaplastic.alignment.mirror import MirrorAlignment
from tests.helpers.compiled import alike, lives, pair, small, x_of


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Careful(PlasticityRule):
    """A rule whose Python depends on the numbers."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * (signal.mT @ pre) * (2.0 if signal.sum() > 0 else 1.0)


def scheduled() -> LearningRule:
    follow = MirrorAlignment(rate=lambda step: 0.1 / (1 + step))
    return LearningRule(RandomFeedback(weights="redrawn"), Delta(rate=0.05, per="shared"), follow)


def with_dropout() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)
    ).double()  # fmt: skip


def normed() -> nn.Module:
    torch.manual_seed(0)
    first = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(5, 3)).double()


class Branching(nn.Module):
    """A model whose Python depends on the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x if x.sum() > 0 else -x)
        return out


CANNOT: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], str]] = {
    "chance": (with_dropout, lambda: "kolen_pollack", "random numbers"),
    "computed weights": (normed, lambda: "kolen_pollack", "computed from others"),
    "numbers": (small, lambda: LearningRule(RandomFeedback(weights="redrawn"), Careful(rate=0.1)),
                "value of a tensor"),
    "schedule": (small, scheduled, "function of the step"),
    "branches": (Branching, lambda: "kolen_pollack", "cannot be compiled"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_compiled_says_why_and_learns_as_before(case: str) -> None:
    make, rule, words = CANNOT[case]
    nets = pair(make(), rule(), example=x_of(2))
    y = torch.tensor([0, 2])
    torch.manual_seed(5)
    nets[0](x_of(2))
    nets[0].learn(y)
    torch.manual_seed(5)
    with pytest.warns(UserWarning, match=words):
        nets[1](x_of(2))
    nets[1].learn(y)
    assert not nets[1].is_compiled
    alike(nets)


def test_a_word_that_is_no_way_to_compile_is_refused() -> None:
    with pytest.raises(ValueError, match="'fast'"):
        PlasticModule(small(), "backprop", example=x_of(2), compile="fast")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["kolen_pollack", "mirrored, adaptive"])
def test_machine_code_has_the_same_lifetime(rule: str) -> None:
    given: Any = rule if rule == "kolen_pollack" else POINTS[rule]()
    nets = pair(small(), given, compile="inductor", example=x_of(2))
    lives(nets, x_of(2), y=torch.tensor([0, 2]), steps=6)
    assert nets[1].is_compiled


def test_where_calls_need_python_there_is_machine_code_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler, tried = torch._inductor.compile, []

    def without_options(program: Any, example: Any, options: Any) -> Any:
        tried.append(options)
        if "cpp_wrapper" in options:
            raise NotImplementedError("an operation without a call from C++")
        return compiler(program, example, options=options)

    monkeypatch.setattr(torch._inductor, "compile", without_options)
    nets = pair(small(), compile="inductor", example=x_of(2))
    lives(nets, x_of(2), y=torch.tensor([0, 2]))
    assert [options.get("cpp_wrapper") for options in tried] == [True, None] * 2  # of both halves


def test_without_a_compiler_the_program_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no compiler here")

    monkeypatch.setattr(torch._inductor, "compile", fails)
    nets = pair(small(), compile="inductor", example=x_of(2))
    with pytest.warns(UserWarning, match="no compiler here"):
        nets[1](x_of(2))
    nets[0](x_of(2))
    for net in nets:
        net.learn(torch.tensor([0, 2]))
    alike(nets)


def test_of_a_long_program_no_machine_code_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaplastic.traced.machine_code.LONGEST", 3)
    nets = pair(small(), compile="inductor", example=x_of(2))
    nets[0](x_of(2))
    with pytest.warns(UserWarning, match="operations"):
        nets[1](x_of(2))
    for net in nets:
        net.learn(torch.tensor([0, 2]))
    assert nets[1].is_compiled
    alike(nets)
