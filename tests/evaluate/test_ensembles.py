"""An ensemble: one readout of the codes of encoders that were trained apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from experiments import meta_test, meta_train
from experiments.lab.networks.build import build_stream
from experiments.lab.settings.config import Stream
from experiments.lab.settings.registry import ConfigError
from metaplastic import CrossEntropy, Direct, Hebb, LearningRule, Oja, OnlineLearner, over_lifetime
from metaplastic.evaluate.ensembles import ensemble
from metaplastic.evaluate.shift_averaging import with_shift_averaging
from metaplastic.files.rule_file import from_pretrained, save_pretrained
from metaplastic.stacked.readouts import CosineReadout, Counted, Gain, NearestMean, UnitLength
from tests.helpers.lifetimes import episodes


def member(
    seed: int, features: int = 6, outputs: int = 3, plastic: int = 1, rule: Any = Oja
) -> OnlineLearner:
    torch.manual_seed(seed)
    body = [nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()]
    head = [nn.Linear(72, features), UnitLength(), CosineReadout(features, outputs), Gain(4.0)]
    rule = LearningRule(Direct(), rule(rate=0.1 * (seed + 1), per="feature"))
    return OnlineLearner(nn.Sequential(*body, *head), rule, CrossEntropy(outputs), plastic=plastic)


def test_codes_of_all_members_stand_side_by_side() -> None:
    members = [member(seed).eval() for seed in (0, 1, 2)]
    x = torch.randn(5, 1, 5, 5)
    joined = ensemble(members).eval()
    codes = torch.cat([one.encode(x) for one in members], -1) / 3**0.5
    assert torch.allclose(joined.encode(x), codes, atol=1e-6)


def test_a_lifetime_is_ojas_rule_with_each_members_rates_on_its_own_code() -> None:
    members = [member(0, features=6).eval(), member(1, features=4).eval()]
    joined = ensemble(members).eval()
    episode = episodes(outputs=3, shape=(1, 5, 5), batch=1).to("cpu", torch.float32)
    with torch.no_grad():
        stream, queries = joined.encode_episodes(episode)
        first = joined.initialize(episode.support_y, episode.seed)
        last = joined.adapt(stream, episode.support_y, first)
    (name,) = joined.plastic_weights
    weight, rates = first[name].clone(), torch.tensor([0.1] * 6 + [0.2] * 4)
    for t in range(stream.shape[1]):
        signal = F.one_hot(episode.support_y[:, t, 0], 3).float()
        change = signal[:, :, None] * stream[:, t] - signal.square()[:, :, None] * weight
        weight = weight + rates * change
    assert torch.allclose(last[name], weight, atol=1e-6)
    cosines = torch.einsum("tqf,tcf->tqc", queries, F.normalize(weight, dim=-1))
    assert torch.allclose(joined.predict(last, queries), 4 * cosines, atol=1e-5)


def test_it_is_saved_and_averaged_over_shifts_as_any_learner(tmp_path: Path) -> None:
    joined = with_shift_averaging(ensemble([member(0), member(1)])).eval()
    loaded = from_pretrained(save_pretrained(joined, tmp_path / "rule", {})).eval()
    x = torch.randn(4, 1, 5, 5)
    assert torch.equal(loaded.encode(x), joined.encode(x))


def test_members_are_as_they_were_and_share_nothing() -> None:
    one, two = member(0), member(1)
    before = [p.clone() for p in one.parameters()]
    joined = ensemble([one, two])
    with torch.no_grad():
        for parameter in joined.parameters():
            parameter.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, one.parameters(), strict=True))


def test_what_cannot_be_joined_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="needs at least two learners; 1 was given"):
        ensemble([member(0)])
    with pytest.raises(ValueError, match="whose readout alone is plastic"):
        ensemble([member(0, plastic=2), member(1, plastic=2)])
    with pytest.raises(ValueError, match="learn by one rule, from one initialization"):
        ensemble([member(0), member(1, rule=Hebb)])
    with pytest.raises(ValueError, match="have as many classes as each other"):
        ensemble([member(0), member(1, outputs=4)])
    mean = nn.Sequential(nn.Flatten(), nn.Linear(25, 4), Counted(), NearestMean(5, 3))
    one = OnlineLearner(mean, LearningRule(Direct(), Oja(rate=1.0)), CrossEntropy(3), plastic=1)
    with pytest.raises(ValueError, match="joins learners that compare by products or cosines"):
        ensemble([one, one])


def test_the_command_joins_rules_of_one_split(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--task", "glyphs", "--runs", str(tmp_path), "--method"]
    rules = []
    for name, *more in (
        ("one",),
        ("two", "--seed", "1"),
        ("other", "--stream", "split=validation"),
    ):
        meta_train.main([*words, "flp_readout", "--name", name, *more])
        rules.append(str(tmp_path / name / "rule"))
    meta_test.main([rules[0], "--ensemble", rules[1], "--episodes", "3"])
    found = json.loads((tmp_path / "one" / "test" / "result.json").read_text())
    assert found["settings"]["ensemble"] == [rules[1]]
    both = ensemble([from_pretrained(rule) for rule in rules[:2]]).eval()
    stream = build_stream(Stream(task="glyphs", preset="tiny"), "test")
    report = over_lifetime(both, stream, lifetimes=3, seed=0)
    assert found["score"] == pytest.approx(float(report.on_all("accuracy").mean[-1]))
    with pytest.raises(ConfigError, match="name rules of one split"):
        meta_test.main([rules[0], "--ensemble", rules[2], "--episodes", "3"])
