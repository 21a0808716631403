"""What was learned on the page, saved, loaded, and refused where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import CHOICES
from experiments.lab.play.session import Session
from experiments.lab.play.session_file import digest, load, save
from tests.experiments.play.drawings import CROSS, RING, TENT


@pytest.fixture(scope="module")
def session() -> Session:
    made = Session()
    for name, drawing in (("tent", TENT), ("ring", RING), ("tent", TENT)):
        made.teach(name, drawing)
    return made


@pytest.fixture(scope="module")
def saved(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(session, tmp_path_factory.mktemp("saved") / "characters.safetensors")


def test_a_loaded_session_goes_on_to_the_bit(session: Session, saved: Path) -> None:
    one, other = load(saved), load(saved)
    assert one.names == session.names
    assert one.steps == session.steps
    assert one.accuracy() == session.accuracy()
    assert one.ask(CROSS) == session.ask(CROSS)
    assert one.teach("cross", CROSS) == other.teach("cross", CROSS)
    for name in CHOICES:
        for key, value in one.learners[name].tensors().items():
            assert torch.equal(value, other.learners[name].tensors()[key])
    assert session.names == ["tent", "ring"]


def test_every_damaged_byte_is_noticed(saved: Path, tmp_path: Path) -> None:
    content, path = saved.read_bytes(), tmp_path / "damaged"
    for at in range(0, len(content), len(content) // 60):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(PlayError):
            load(path)


@pytest.mark.parametrize("keep", [0, 5, 100, 20_000, -1])
def test_a_file_that_ends_early_is_refused(saved: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "short"
    path.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(PlayError, match="short is not a saved page, or it is damaged"):
        load(path)


def test_other_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlayError, match="nothing cannot be read"):
        load(tmp_path / "nothing")
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(PlayError, match="other is not a saved page"):
        load(tmp_path / "other")
    (tmp_path / "large").write_bytes(bytes(8_000_001))
    with pytest.raises(PlayError, match="large has 8,000,001 bytes"):
        load(tmp_path / "large")
    with pytest.raises(PlayError, match="nothing to save"):
        save(Session(), tmp_path / "empty")


def altered(saved: Path, path: Path, content: dict[str, Any], **tensors: torch.Tensor) -> Path:
    """The file with other content and tensors, and with checksums that fit them."""
    with safe_open(saved, "pt") as file:
        header = dict(file.metadata())
        own = {name: file.get_tensor(name) for name in file.keys()} | tensors  # noqa: SIM118
    text = json.dumps(json.loads(header["content"]) | content)
    header |= {"content": text, "sha256": digest(text, own)}
    safetensors.torch.save_file(own, path, header)
    return path


@pytest.mark.parametrize(
    ("content", "tensors"),
    [
        ({"names": []}, {}),
        ({"names": ["tent", "x" * 99]}, {}),
        ({"names": "ab"}, {}),
        ({"names": None}, {}),
        ({"labels": [0, 1, 7]}, {}),
        ({"labels": [0, 1]}, {}),
        ({"steps": []}, {}),
        ({"steps": [{"label": 0}] * 3}, {}),
        ({}, {"images": torch.zeros(3, 28, 28)}),
        ({}, {"images": torch.zeros(3, 9, 28, dtype=torch.uint8)}),
        ({}, {"features": torch.full((3, 256), torch.nan)}),
        ({}, {"sgd/model.0.weight": torch.zeros(2, 2)}),
        ({}, {"sgd/another": torch.zeros(2, 2)}),
        ({}, {"readout/15.weight": torch.full((1, 96, 256), torch.inf)}),
    ],
)
def test_what_does_not_fit_is_refused_even_with_a_checksum(
    saved: Path, tmp_path: Path, content: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> None:
    path = altered(saved, tmp_path / "altered", content, **tensors)
    with pytest.raises(PlayError, match="altered does not fit this page"):
        load(path)


def test_the_same_content_with_new_checksums_is_accepted(saved: Path, tmp_path: Path) -> None:
    assert load(altered(saved, tmp_path / "altered", {})).names == ["tent", "ring"]
