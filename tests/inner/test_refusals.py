"""What does not fit is refused in one sentence: what was given, what is needed, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Initialization,
    LearningRule,
    MeanSquaredError,
    Oja,
    OnlineLearner,
    Stack,
    Unroll,
)
from tests.helpers.lifetimes import dense, episodes, learner


def flp() -> LearningRule:
    return LearningRule(Direct(), Oja(rate=0.05))


def make(network: nn.Sequential, **options: Any) -> OnlineLearner:
    return OnlineLearner(network, flp(), CrossEntropy(2), **options)


def twice() -> None:
    rule = flp()
    OnlineLearner(dense(4, 2), rule, CrossEntropy(2))
    OnlineLearner(dense(4, 2), rule, CrossEntropy(2))


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return,no-untyped-call]


def shared_site() -> nn.Sequential:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def named(*names: str) -> nn.Sequential:
    """Linear layers by these names; a dot makes a nested Sequential."""
    network = nn.Sequential()
    for name in names:
        outer, _, inner = name.rpartition(".")
        layer = nn.Linear(4, 4)
        network.add_module(outer or name, nn.Sequential() if outer else layer)
        if outer:
            network.get_submodule(outer).add_module(inner, layer)
    return network


conv = nn.Conv2d
REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "batch norm": (
        lambda: Stack(nn.Sequential(conv(1, 2, 3), nn.BatchNorm2d(2))),
        "'1' is a BatchNorm2d, which mixes .* GroupNorm .* encoder",
    ),
    "dropout": (lambda: Stack(nn.Sequential(nn.Linear(1, 2), nn.Dropout())), "Dropout.* samples"),
    "recurrence": (lambda: Stack(nn.Sequential(nn.LSTM(1, 2))), "LSTM.*Use Linear"),
    "attention": (
        lambda: Stack(nn.Sequential(nn.MultiheadAttention(2, 1))), "MultiheadAttention.*Use Linear"
    ),
    "embedding": (lambda: Stack(nn.Sequential(nn.Embedding(2, 2))), "Embedding.*one-hot"),
    "nothing to learn": (lambda: Stack(nn.Sequential(nn.ReLU())), "no Linear or Conv2d"),
    "groups": (lambda: Stack(nn.Sequential(conv(2, 2, 3, groups=2))), "groups=2 .* encoder"),
    "padding mode": (
        lambda: Stack(nn.Sequential(nn.Sequential(conv(1, 2, 3, padding_mode="circular")))),
        "'0.0' .*'circular'",
    ),
    "padding by name": (
        lambda: Stack(nn.Sequential(conv(1, 2, 3, padding="same"))),
        "'0' is .*padding='same'.*padding=1",
    ),
    "hidden attention": (
        lambda: Stack(nn.Sequential(nn.TransformerEncoderLayer(4, 1), nn.Linear(4, 2))),
        "'0.self_attn' is a MultiheadAttention, which cannot run",
    ),
    "hidden batch norm": (
        lambda: Stack(nn.Sequential(Residual(nn.BatchNorm1d(4)), nn.Linear(4, 2))),
        "'0.0' is a BatchNorm1d, which mixes",
    ),
    "in place": (
        lambda: Stack(nn.Sequential(nn.Linear(4, 2), nn.ReLU(inplace=True))),
        "'1' is a ReLU that writes over its input.*inplace=False",
    ),
    "hidden in place": (
        lambda: Stack(nn.Sequential(Residual(nn.ReLU(inplace=True)), nn.Linear(4, 2))),
        "'0.0' is a ReLU that writes over its input",
    ),
    "a network with a forward of its own": (
        lambda: Stack(Residual(nn.Linear(4, 4))), "is a Residual.*encoder"
    ),
    "a site used twice": (
        lambda: Stack(shared_site()), "'2' is layer '0' again.*a layer for each"
    ),
    "two names for one key": (
        lambda: Stack(named("a.b", "a_b")), "'a.b' and 'a_b' would both keep rates as 'a_b'"
    ),
    "a name like a bias": (
        lambda: Stack(named("0", "0_bias")), "'0' and '0_bias' would .* as '0_bias'"
    ),
    "no such site": (lambda: make(dense(4, 5, 2), plastic=["1"]), r"\['1'\].*sites are 0, 2"),
    "no site": (lambda: make(dense(4, 5, 2), plastic=[]), "sites are 0, 2"),
    "too many sites": (lambda: make(dense(4, 5, 2), plastic=3), "plastic is 3.*from 1 to 2"),
    "too few sites": (lambda: make(dense(4, 5, 2), plastic=0), "plastic is 0.*from 1 to 2"),
    "readout left out": (lambda: make(dense(4, 5, 2), plastic=["0"]), "last plastic site is '0'"),
    "readout of another width": (lambda: make(dense(4, 5, 3)), "'2' has 3 units.*2 outputs"),
    "no passes": (lambda: make(dense(4, 2), passes=0), "passes is 0.*at least once"),
    "one rule for two learners": (twice, "already belongs to a learner.*make a new"),
    "convolution as a clamped readout": (
        lambda: make(nn.Sequential(conv(1, 2, 5), nn.Flatten())), "no single activity to clamp"
    ),
    "unflattened": (
        lambda: make(nn.Sequential(nn.Linear(5, 2)))
        .float()(episodes(shape=(1, 5, 5), dtype=torch.float32)),
        r"'0' was given inputs of shape \(1, 5, 5\).*flat vector of 5.*Flatten",
    ),
    "another width": (
        lambda: make(dense(4, 5, 2)).double()(episodes(shape=(3,))),
        r"shape \(3,\) per example.*flat vector of 4",
    ),
    "another number of channels": (
        lambda: make(nn.Sequential(conv(2, 1, 4), nn.Flatten(), nn.Linear(4, 2))).double()(
            episodes(shape=(3, 5, 5))
        ),
        r"shape \(3, 5, 5\) per example.*2 channels",
    ),
    "real targets for classes": (
        lambda: make(dense(4, 2)).double()(episodes(shape=(4,), regression=True)),
        "torch.float64.*class indices.*MeanSquaredError",
    ),
    "labels above the outputs": (
        lambda: make(dense(4, 2)).double()(episodes(shape=(4,), outputs=3)),
        "labels go from 0 to 2, but there are 2 outputs, for labels 0 to 1",
    ),
    "labels below 0": (
        lambda: make(dense(4, 2)).adapt(torch.zeros(1, 1, 2, 4), torch.tensor([[[1, -1]]]), {}),
        "labels go from -1 to 1",
    ),
    "labels of rows that are not there": (
        lambda: make(dense(4, 2), initialization=Initialization(readout="rows")).initialize(
            torch.tensor([[[0, 5]]]), torch.tensor([1])
        ),
        "labels go from 0 to 5",
    ),
    "questions of a class that is not there": (
        lambda: make(dense(4, 2)).double()(
            episodes(shape=(4,))._replace(query_y=torch.full((2, 3), -100))
        ),
        "labels go from -100 to -100",
    ),
    "targets without their outputs": (
        lambda: MeanSquaredError(1).loss(torch.zeros(2, 5, 1), torch.zeros(2, 5)),
        r"shape \(2, 5\).*last axis is the 1 outputs",
    ),
    "classes for a regression": (
        lambda: learner(dense(4, 2), flp(), regression=True)(episodes(shape=(4,))),
        "torch.int64.*real numbers",
    ),
    "rows of a regression": (
        lambda: learner(
            dense(4, 2), flp(), regression=True, initialization=Initialization(readout="rows")
        )(episodes(shape=(4,), regression=True)),
        "redraws readout rows by class.*'redrawn'",
    ),
    "log of zero": (lambda: Oja(scale="log"), "cannot start at 0.*1e-3"),
    "out of bounds": (lambda: Oja(rate=2.0, scale="bounded"), "not inside the bound 1.0"),
    "no feedback layer": (lambda: Direct(depth=0), "depth is 0.*at least one"),
    "no step": (lambda: Unroll(checkpoint_every=0), "checkpoint_every is 0.*at least 1"),
    "truncated to nothing": (lambda: Unroll(truncate=0), "truncate is 0.*at least 1"),
}  # fmt: skip
WORDS: dict[str, tuple[Callable[[Any], object], str]] = {
    "teaching": (lambda word: Direct(teaching=word), "error"),
    "nonlinearity": (lambda word: Direct(nonlinearity=word), "linear"),
    "feedback": (lambda word: Direct(feedback=word), "random"),
    "gate": (lambda word: Direct(gate=word), "derivative"),
    "readout": (lambda word: Direct(readout=word), "clamped"),
    "hidden_seed": (lambda word: Direct(hidden_seed=word), "magnitude"),
    "per": (lambda word: Delta(per=word), "synapse"),
    "scale": (lambda word: Delta(scale=word), "bounded"),
    "reduction": (lambda word: LearningRule(Backprop(), Delta(), reduction=word), "mean"),
    "hidden": (lambda word: Initialization(hidden=word), "redrawn"),
    "readout ": (lambda word: Initialization(readout=word), "rows"),
}


@pytest.mark.parametrize(("attempt", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refused_in_a_sentence(attempt: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()


def test_the_choices_are_listed_once() -> None:
    for attempt, choices in (
        (lambda: Initialization(hidden="lost"), "'learned', 'redrawn', 'zeroed'"),
        (lambda: Initialization(readout="lost"), "'learned', 'redrawn', 'zeroed', 'rows', 'blank'"),
        (lambda: LearningRule(Backprop(), Delta(), reduction="max"), "'mean', 'sum'"),
    ):
        with pytest.raises(ValueError, match=rf"must be one of {choices}\."):
            attempt()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("option", WORDS)
def test_a_misspelled_word_is_refused_with_the_nearest_known_one(option: str) -> None:
    attempt, word = WORDS[option]
    attempt(word)
    with pytest.raises(ValueError, match=f"{option.strip()} is '{word}s'.*mean '{word}'"):
        attempt(word + "s")
