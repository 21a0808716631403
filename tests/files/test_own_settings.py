"""Settings of a user's own parts: kept when a learner is saved, copied, or used in place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    CreditRule,
    Delta,
    LearningRule,
    OnlineLearner,
    PlasticityRule,
    PlasticModule,
    RandomFeedback,
    RuleFileError,
    credit,
    from_pretrained,
    objective_for,
    rules,
    save_pretrained,
)
from metaplastic.alignment import Alignment, AtSite, KolenPollackAlignment, MirrorAlignment, Sleep
from metaplastic.rules import build, parts_of
from metaplastic.support.seeding import seeded
from tests.helpers.small_runs import Clusters

STREAM = Clusters()
BY_INVERSES = {"gait_prop", "rescaled_gait_prop", "target_propagation"}


class Saturating(PlasticityRule):
    """A bound that no option names, positional, and one that is passed on."""

    def __init__(self, bound: float, *, sharpness: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.bound, self.sharpness = bound, sharpness

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * self.bound * (self.sharpness * signal.mT @ pre).tanh()


class Towards(Alignment):
    """Feedback that goes a share of the way to the weight."""

    follows = True

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        self.share = share

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        return self.share * (site.weight - feedback)


class Mixed(CreditRule):
    """Errors through a mixture of weight and feedback."""

    def __init__(self, mixture: float = 0.5) -> None:
        super().__init__(noise=0.01)
        self.mixture = mixture

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return self.mixture * weight + (1 - self.mixture) * feedback

    def finish(self, gradient: Tensor) -> Tensor:
        return self.mixture * super().finish(gradient)


def learner_by(rule: LearningRule) -> OnlineLearner:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    learner = OnlineLearner(network, rule, objective_for(STREAM.spec), input_shape=(4,))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return learner.eval()


def predictions(learner: OnlineLearner) -> Tensor:
    with torch.no_grad():
        found: Tensor = learner(STREAM.sample(3, seeded(0))).prediction
    return found


def saved_and_loaded(learner: OnlineLearner, folder: Path) -> OnlineLearner:
    save_pretrained(learner, folder)
    return from_pretrained(folder, classes=[Saturating, Towards, Mixed])


PARTS: dict[str, Callable[[], LearningRule]] = {
    "plasticity": lambda: LearningRule(
        RandomFeedback(weights="redrawn"), Saturating(0.7, sharpness=3.0, rate=0.1, per="neuron")
    ),
    "alignment": lambda: LearningRule(RandomFeedback(), Delta(rate=0.1), Towards(0.3)),
    "both, asleep and awake": lambda: LearningRule(
        RandomFeedback(weights="learned"),
        Saturating(0.5, rate=0.1),
        Sleep(awake=Towards(0.3), at_start=2),
    ),
    "learned coefficients": lambda: LearningRule(
        RandomFeedback(),
        Delta(rate=0.1, per="synapse"),
        KolenPollackAlignment(decay=0.1, learn=True, per="synapse"),
    ),
    "coefficients of a mirror": lambda: CreditRule(
        alignment=MirrorAlignment(learn=True, per="neuron"), plasticity=Saturating(0.5, rate=0.1)
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_settings_of_own_parts_survive_a_file_and_a_copy(tmp_path: Path, name: str) -> None:
    learner = learner_by(PARTS[name]())
    again = saved_and_loaded(learner, tmp_path / "rule")
    state = again.state_dict()
    assert state.keys() == learner.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in learner.state_dict().items())
    expected = predictions(learner)
    assert torch.equal(predictions(again), expected)
    assert torch.equal(predictions(copy.deepcopy(learner)), expected)
    assert torch.equal(predictions(copy.deepcopy(again)), expected)


@pytest.mark.parametrize("name", sorted(rules().keys() - BY_INVERSES))
def test_a_named_rule_with_rates_of_its_own_survives_a_file(tmp_path: Path, name: str) -> None:
    learner = learner_by(build(name, plasticity=Delta(rate=0.1, per="neuron")))
    again = saved_and_loaded(learner, tmp_path / "rule")
    assert type(again.rule) is type(learner.rule)
    assert again.rule.plasticity.per == "neuron"
    assert torch.equal(predictions(again), predictions(learner))


def test_a_named_rule_has_the_delta_rule_unless_it_is_given_another() -> None:
    plain = build("kp").plasticity
    assert (type(plain), plain.initial, plain.options["learn"]) == (Delta, 0.01, False)
    assert parts_of("kp") == ("RandomFeedback", "Delta", "KolenPollackAlignment")
    given = Saturating(0.5, rate=0.1)
    assert build("kp", plasticity=given, decay=0.1).plasticity is not None
    assert Mixed(plasticity=given).plasticity is given  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"'dekay'.*Options of 'kp': decay, scale, noise, plast"):
        build("kp", dekay=0.1)
    with pytest.raises(ValueError, match="plasticity is a float; it must be a PlasticityRule"):
        build("kp", plasticity=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="decay is 'x'"):
        build("kp", decay="x")


@pytest.mark.parametrize("name", sorted(BY_INVERSES))
def test_a_rule_without_signals_is_refused_by_a_learner(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no signals at its sites; use Credit\.backward"):
        learner_by(build(name))


def test_a_schedule_cannot_be_saved(tmp_path: Path) -> None:
    learner = learner_by(build("symmetric_alignment", rate=lambda step: 0.1))
    with pytest.raises(RuleFileError, match=r"function cannot be described.*give a number"):
        save_pretrained(learner, tmp_path / "rule")


def test_a_part_that_is_set_later_is_saved(tmp_path: Path) -> None:
    rule = build("weight_mirror")
    rule.plasticity = Saturating(0.7, rate=0.1)
    learner = learner_by(rule)
    again = saved_and_loaded(learner, tmp_path / "rule")
    assert torch.equal(predictions(again), predictions(learner))


def test_a_part_that_a_named_rule_would_not_save_is_refused() -> None:
    rule = build("weight_mirror")
    with pytest.raises(ValueError, match="The alignment of a WeightMirror is its own"):
        rule.alignment = KolenPollackAlignment()
    assert not isinstance(rule.alignment, KolenPollackAlignment)


def test_own_rules_keep_their_settings_in_place() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(2, 4)
    given = Saturating(0.7, sharpness=3.0, rate=0.1)
    net = PlasticModule(model, "fa", example=x, plasticity=given)
    assert isinstance(net.plasticity, Saturating)
    assert (net.plasticity.bound, net.plasticity.sharpness) == (0.7, 3.0)
    assert net.plasticity is not given
    for made in (credit(Mixed(0.2), model, example=x), copy.deepcopy(PlasticModule(
        model, Mixed(0.2), example=x
    )).credit):  # fmt: skip
        rule = made.rule
        assert isinstance(rule, Mixed)
        assert rule.mixture == 0.2
        weight, feedback = model.get_parameter("0.weight"), made.feedback("0")
        expected = 0.2 * weight + 0.8 * feedback
        torch.testing.assert_close(made.through("0", model), expected)


def test_a_schedule_is_a_function_of_the_steps_so_far() -> None:
    """It is zero from the fourth step on, so feedback stands still there."""
    rule = build("symmetric_alignment", rate=lambda step: 0.1 if step < 3 else 0.0)
    learner = learner_by(rule)
    episode = STREAM.sample(2, seeded(1))
    state = learner.initialize(episode.support_y, episode.seed)
    feedback = []
    for step in range(5):
        feedback.append(state["feedback of 0"])
        one = slice(step, step + 1)
        state = learner.adapt(episode.support_x[:, one], episode.support_y[:, one], state)
    assert [bool(torch.equal(a, b)) for a, b in pairwise(feedback)] == [False, False, False, True]
    together = learner.adapt(
        episode.support_x[:, :5],
        episode.support_y[:, :5],
        learner.initialize(episode.support_y, episode.seed),
    )
    assert torch.equal(together["feedback of 0"], state["feedback of 0"])
