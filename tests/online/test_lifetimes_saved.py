"""A lifetime saved, copied or pickled goes on to the bit; what is refused changes nothing."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.lab.exact.networks import Residual
from experiments.lab.exact.points import POINTS
from metaplastic import LearningRule, PlasticModule
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.alignment.sleep import Sleep
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.adaptive import Adaptive

STEPS, MOMENTS = 7, [0, 1, 3, 4, 6]
RULES: dict[str, Callable[[], Any]] = {
    "mirrored, adaptive": POINTS["mirrored, adaptive"],
    "sleep, noise when awake": lambda: LearningRule(
        RandomFeedback(weights="redrawn", spread="xavier"), Adaptive(rate=1e-3, per="shared"),
        Sleep(awake=KolenPollackAlignment(decay=0.01, noise=0.01),
              asleep=MirrorAlignment(examples=3), at_start=3, every=2, steps=1),
    ),
    "polynomial": POINTS["polynomial"],
    **{n: lambda n=n: n for n in ("weight_mirror", "kolen_pollack", "information_alignment",
                                  "batchwise_random_sign", "product_feedback_alignment",
                                  "direct_feedback_alignment")},
    "norms kept": POINTS["uniform_sign"],
}  # fmt: skip


class Normed(nn.Module):
    """A BatchNorm's running means are of the lifetime, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.top = Residual(), nn.BatchNorm2d(2), nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Any:
        return self.body(self.top(self.norm(x)))


def examples() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(STEPS, 2, 2, 5, 5, generator=draw)
    return x, torch.randint(3, (STEPS, 2), generator=draw)


def plastic(rule: str, seed: int = 5, kind: type[nn.Module] = Normed) -> PlasticModule:
    torch.manual_seed(seed)
    return PlasticModule(kind(), RULES[rule](), example=examples()[0][0], seed=seed)


def learn(net: PlasticModule, first: int, last: int) -> None:
    for x, y in list(zip(*examples(), strict=True))[first:last]:
        net(x)
        net.learn(y)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def by_state(net: PlasticModule, rule: str) -> PlasticModule:
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = plastic(rule, seed=99)
    assert not same(fresh.state_dict(), net.state_dict())
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


def pickled(net: PlasticModule, rule: str) -> PlasticModule:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    found: PlasticModule = torch.load(file, weights_only=False)
    return found


WAYS: dict[str, Callable[[PlasticModule, str], PlasticModule]] = {
    "by its state": by_state, "copied": lambda net, rule: copy.deepcopy(net), "pickled": pickled,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
def test_a_lifetime_goes_on_to_the_bit(rule: str, way: str) -> None:
    net = plastic(rule)
    kept = []
    for at in range(STEPS):
        if at in MOMENTS:
            kept.append((at, WAYS[way](net, rule)))
        learn(net, at, at + 1)
    end = net.state_dict()
    for at, copied in kept:
        learn(copied, at, STEPS)
        assert same(copied.state_dict(), end), at


@pytest.mark.parametrize("way", WAYS)
def test_between_prediction_and_step_the_state_is_kept_and_the_prediction_is_not(
    way: str,
) -> None:
    net = plastic("mirrored, adaptive")
    learn(net, 0, 2)
    x, y = (part[2] for part in examples())
    net(x)
    copied = WAYS[way](net, "mirrored, adaptive")
    with pytest.raises(RuntimeError, match="no answer to learn from"):
        copied.learn(y)
    net.learn(y)
    copied(x)
    copied.learn(y)
    learn(net, 3, STEPS)
    learn(copied, 3, STEPS)
    # The running means have met the input once more: those of no learning are the model's own.
    learned = {n for n in net.state_dict() if "running" not in n and "tracked" not in n}
    one, other = (
        {n: found[n] for n in learned} for found in (net.state_dict(), copied.state_dict())
    )
    assert same(one, other)


def test_what_is_saved_is_of_the_lifetime_alone() -> None:
    names = set(plastic("mirrored, adaptive").state_dict())
    for at in (0, 3):
        net = plastic("mirrored, adaptive")
        learn(net, 0, at)
        assert set(net.state_dict()) == names  # nothing appears on the way


def unchanged(net: PlasticModule, error: type[Exception], said: str, act: Any) -> None:
    """That an act is refused in one sentence and that nothing has changed by it."""
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(error, match=said) as raised:
        act()
    assert "\n" not in str(raised.value).strip()
    assert same(net.state_dict(), before)


REFUSING = ["mirrored, adaptive", "sleep, noise when awake", "kolen_pollack", "weight_mirror",
            "polynomial"]  # fmt: skip


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("rule", REFUSING)
def test_what_cannot_be_learned_is_one_sentence_and_the_lifetime_goes_on(
    rule: str, at: int
) -> None:
    net, undisturbed = plastic(rule, kind=Residual), plastic(rule, kind=Residual)
    for one in (net, undisturbed):
        learn(one, 0, at)
    x, y = (part[at] for part in examples())
    unchanged(net, RuntimeError, "no answer", lambda: net.learn(y))
    net(x)
    unchanged(net, ValueError, "labels go from", lambda: net.learn(y + 3))
    unchanged(net, ValueError, "shape", lambda: net.learn(y.float()))
    unchanged(net, ValueError, "meta", lambda: net.learn(y.to("meta")))
    given = x.clone()
    net(given)
    given.mul_(2)
    unchanged(net, RuntimeError, "written over", lambda: net.learn(y))
    unchanged(net, RuntimeError, "no answer", lambda: net.learn(y))
    for bad in (torch.nan, torch.inf):
        wrong = x.clone()
        wrong[0, 0, 0, 0] = bad
        net(wrong)
        unchanged(net, FloatingPointError, "not finite", lambda: net.learn(y))
    unchanged(net, RuntimeError, "ouble|dtype", lambda: net(x.double()))
    with torch.inference_mode():
        unchanged(net, RuntimeError, "inference_mode", lambda: net(x))
    learn(net, at, STEPS)
    learn(undisturbed, at, STEPS)
    assert same(net.state_dict(), undisturbed.state_dict())
    unchanged(net, RuntimeError, "no answer", lambda: net.learn(y))
