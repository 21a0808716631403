"""Rule files: a learner written to a folder comes back the same, or is refused in a sentence."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    OnlineLearner,
    PlasticityRule,
    objective_for,
)  # fmt: skip
from metaplastic.files.provenance import provenance
from metaplastic.files.rule_file import RuleFileError, from_pretrained, read_config, save_pretrained
from metaplastic.support.describe import describe
from metaplastic.support.disk import DiskFullError
from metaplastic.support.seeding import seeded
from tests.helpers.small_runs import Clusters, small_learner

STREAM = Clusters()


class Decay(PlasticityRule):
    """A user's own rule."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return -rate * weight


class Residual(nn.Module):
    """A user's own encoder."""

    def __init__(self, inside: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.inside, self.scale = inside, scale
        self.options = {"inside": inside, "scale": scale}

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.inside(x)


class Unwritten(nn.Module):
    """An encoder that does not say how it was made."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def learner_by(rule: LearningRule, **options: object) -> OnlineLearner:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return OnlineLearner(network, rule, objective_for(STREAM.spec), **options)  # type: ignore[arg-type]


LEARNERS: dict[str, Callable[[], OnlineLearner]] = {
    "flp": lambda: small_learner(STREAM, rate=0.05),
    "random feedback": lambda: learner_by(
        LearningRule(Direct(feedback="random"), Hebb(rate=0.05, per="neuron"))
    ),
    "oml": lambda: learner_by(
        LearningRule(Backprop(), Delta(rate=0.1, per="shared")),
        plastic=1,
        initialization=Initialization(readout="rows"),
        initialization_at_test=Initialization(readout="redrawn"),
    ),
    "own parts": lambda: learner_by(
        LearningRule(Direct(), Decay(rate=0.1)), encoder=Residual(nn.Linear(4, 4), 0.5)
    ),
    "double precision": lambda: small_learner(STREAM).double(),
}


def predictions(learner: OnlineLearner) -> Tensor:
    dtype = next(learner.parameters()).dtype
    episodes = STREAM.sample(3, seeded(0)).to("cpu", dtype)
    with torch.no_grad():
        result: Tensor = learner.eval()(episodes).prediction
    return result


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_comes_back_with_the_same_predictions(tmp_path: Path, name: str) -> None:
    learner = LEARNERS[name]()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_pretrained(learner, tmp_path / "rule")
    again = from_pretrained(tmp_path / "rule", classes=[Decay, Residual])
    assert torch.equal(predictions(again), predictions(learner))
    groups = {k: [p.shape for p in v] for k, v in learner.parameter_groups().items()}
    assert {k: [p.shape for p in v] for k, v in again.parameter_groups().items()} == groups
    assert describe(again) == describe(learner)


def test_parameters_that_the_user_froze_stay_frozen(tmp_path: Path) -> None:
    learner = small_learner(STREAM)
    learner.network[0].requires_grad_(False)
    save_pretrained(learner, tmp_path / "rule")
    again = from_pretrained(tmp_path / "rule")
    frozen = [p.requires_grad for p in again.parameters()]
    assert frozen == [p.requires_grad for p in learner.parameters()]


def test_a_layer_used_twice_comes_back_twice_and_as_frozen_as_it_was(tmp_path: Path) -> None:
    norm = nn.LayerNorm(4)
    layers = [nn.Linear(4, 4), norm, nn.ReLU(), nn.Linear(4, 4), norm, nn.Linear(4, 3)]
    rule = LearningRule(Backprop(), Delta(rate=0.1))
    learner = OnlineLearner(nn.Sequential(*layers), rule, objective_for(STREAM.spec))
    with torch.no_grad():
        norm.weight.mul_(2)
    norm.requires_grad_(False)
    save_pretrained(learner, tmp_path / "rule")
    again = from_pretrained(tmp_path / "rule")
    assert torch.equal(predictions(again), predictions(learner))
    assert len(again.network) == 6
    assert not any(p.requires_grad for i in (1, 4) for p in again.network[i].parameters())


def test_the_memory_layout_of_a_learner_is_not_the_files_business(tmp_path: Path) -> None:
    conv = nn.Conv2d(2, 3, 3)
    network = nn.Sequential(conv, nn.Flatten(), nn.Linear(12, 3))
    rule = LearningRule(Backprop(), Delta(rate=0.1))
    learner = OnlineLearner(network, rule, objective_for(STREAM.spec))
    learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert not conv.weight.is_contiguous()
    save_pretrained(learner, tmp_path / "rule")
    again = from_pretrained(tmp_path / "rule").state_dict()
    assert all(torch.equal(again[name], t) for name, t in learner.state_dict().items())


def test_it_says_where_it_comes_from(tmp_path: Path) -> None:
    save_pretrained(small_learner(STREAM), tmp_path / "rule", provenance(seed=3, data=STREAM.spec))
    facts = read_config(tmp_path / "rule")["provenance"]
    assert facts["seed"] == 3
    assert facts["data_fingerprint"] == STREAM.spec.fingerprint
    assert facts["torch"] == torch.__version__
    assert {"date", "command", "python"} <= facts.keys()


def test_a_folder_holds_two_files_that_other_programs_can_read(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    learner = small_learner(STREAM)
    save_pretrained(learner, tmp_path / "rule")
    names = sorted(path.name for path in (tmp_path / "rule").iterdir())
    assert names == ["config.json", "model.safetensors"]
    with safetensors.safe_open(tmp_path / "rule" / "model.safetensors", "numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert found.keys() == learner.state_dict().keys()
    for name, tensor in learner.state_dict().items():
        assert (found[name] == tensor.numpy()).all()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_rule_file_with_any_byte_altered_is_refused(tmp_path: Path, file: str) -> None:
    folder = save_pretrained(small_learner(STREAM), tmp_path / "rule")
    content = (folder / file).read_bytes()
    source = random.Random(0)
    for _ in range(30):
        altered = bytearray(content)
        place = source.choice([i for i in range(len(content)) if not chr(content[i]).isspace()])
        altered[place] ^= 1
        (folder / file).write_bytes(altered)
        with pytest.raises(RuleFileError):
            from_pretrained(folder)
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(RuleFileError, match="damaged"):
        from_pretrained(folder)
    (folder / file).unlink()
    with pytest.raises(RuleFileError, match=f"{file} cannot be read"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "bert"}, "is not the config of a rule file"),
        ([1, 2], "is not the config of a rule file"),
        ({"format": "metaplastic rule", "version": 99}, "of version 99"),
    ],
)
def test_a_foreign_config_is_refused(tmp_path: Path, config: object, sentence: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RuleFileError, match=sentence):
        from_pretrained(tmp_path)


def test_a_class_of_the_users_own_must_be_handed_in(tmp_path: Path) -> None:
    save_pretrained(LEARNERS["own parts"](), tmp_path / "rule")
    with pytest.raises(RuleFileError, match=r"'(Decay|Residual)' is unknown.*classes="):
        from_pretrained(tmp_path / "rule")


def test_a_learner_with_a_part_that_cannot_be_described_is_refused(tmp_path: Path) -> None:
    learner = learner_by(LearningRule(Direct(), Hebb(rate=0.1)), encoder=Unwritten())
    with pytest.raises(RuleFileError, match="A Unwritten cannot be described"):
        save_pretrained(learner, tmp_path / "rule")
    assert not (tmp_path / "rule").exists()


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(RuleFileError, match="is not a rule file, so it is not replaced"):
        save_pretrained(small_learner(STREAM), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "dear"


def test_a_full_disk_leaves_the_rule_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = small_learner(STREAM)
    folder = save_pretrained(learner, tmp_path / "rule")
    before = (folder / "config.json").read_bytes()

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFullError, match="The former files are unchanged"):
        save_pretrained(learner, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["rule"]
    assert (folder / "config.json").read_bytes() == before
    from_pretrained(folder)


def test_saving_again_replaces_the_rule(tmp_path: Path) -> None:
    save_pretrained(LEARNERS["oml"](), tmp_path / "rule")
    save_pretrained(LEARNERS["flp"](), tmp_path / "rule")
    assert [path.name for path in tmp_path.iterdir()] == ["rule"]
    assert isinstance(from_pretrained(tmp_path / "rule").rule.pathway, Direct)
