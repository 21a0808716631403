"""Checkpoints and metrics: whole or refused, whatever happens to the disk."""

from __future__ import annotations

import ast
import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch

from metaplastic.outer import checkpoint
from metaplastic.outer.checkpoint import CheckpointError, CheckpointWarning
from metaplastic.outer.identity import check_identity
from metaplastic.outer.loggers import JsonLines, Logger, ResumableLogger
from metaplastic.support.disk import DiskFullError
from tests.helpers.small_runs import small_run
from tests.outer.test_trainer import require_same_run

ROOT = Path(__file__).resolve().parents[2]


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    small_run(tmp_path, steps=10, save_every=2).fit()
    assert [path.name for path in checkpoint.found(tmp_path)] == [
        "step-000000008.checkpoint",
        "step-000000010.checkpoint",
    ]


@pytest.mark.parametrize("damage", ["truncated", "one bit", "emptied", "foreign"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(
    tmp_path: Path, damage: str
) -> None:
    small_run(tmp_path / "one", steps=12, save_every=4).fit()
    small_run(tmp_path / "damaged", steps=8, save_every=4).fit()
    path = checkpoint.found(tmp_path / "damaged")[-1]
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[random.Random(0).randrange(len(content))] ^= 1
    altered = {
        "truncated": content[: len(content) // 2], "one bit": content, "emptied": b"",
        "foreign": b"PK" + content,
    }[damage]  # fmt: skip
    path.write_bytes(altered)
    with pytest.warns(CheckpointWarning, match="its checksum does not match"):
        small_run(tmp_path / "damaged", steps=12).resume()
    require_same_run(tmp_path / "one", tmp_path / "damaged")


def test_no_bit_of_a_checkpoint_can_be_altered_unseen() -> None:
    content = checkpoint.pack({"step": 3, "tensor": torch.arange(4.0)})
    source = random.Random(0)
    for _ in range(200):
        altered = bytearray(content)
        altered[source.randrange(len(content))] ^= 1 << source.randrange(8)
        with pytest.raises(CheckpointError, match="not a complete checkpoint"):
            checkpoint.unpack(bytes(altered), "name")
    assert checkpoint.unpack(content, "name")["step"] == 3


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_over_silently(
    tmp_path: Path,
) -> None:
    small_run(tmp_path, steps=8).fit()
    for path in checkpoint.found(tmp_path):
        path.write_bytes(b"")
    with (
        pytest.warns(CheckpointWarning),
        pytest.raises(CheckpointError, match=r"No checkpoint in .* is intact: 2"),
    ):
        small_run(tmp_path).resume()
    with pytest.raises(CheckpointError, match="is intact: 2"):  # nor when it is read again
        small_run(tmp_path).resume()


def test_a_full_disk_is_a_sentence_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 1, {"step": 1})
    before = sorted(tmp_path.iterdir())

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFullError, match=r"The disk is full: .*before it is intact"):
        checkpoint.save(tmp_path, 2, {"step": 2})
    assert sorted(tmp_path.iterdir()) == before
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert checkpoint.unpack(found[1], "")["step"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_metrics_that_do_not_fit_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    logger = JsonLines(tmp_path / "metrics.jsonl")
    with pytest.raises(DiskFullError, match="The lines before it are intact"):
        logger.log(1, {"loss": 1.0})


def test_rewinding_drops_later_lines_and_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logger = JsonLines(path)
    for step in (2, 4, 6):
        logger.log(step, {"loss": float(step)})
    with path.open("ab") as file:
        file.write(b'{"step": 8, "lo')
    resumed = JsonLines(path)
    resumed.rewind(4)
    resumed.log(6, {"loss": 7.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[-1]["loss"] == 7.0


def test_metrics_of_two_runs_do_not_mix(tmp_path: Path) -> None:
    JsonLines(tmp_path / "m.jsonl").log(1, {})
    with pytest.raises(FileExistsError, match="already holds the metrics of a run"):
        JsonLines(tmp_path / "m.jsonl").log(1, {})


def test_what_is_not_finite_stays_readable_json(tmp_path: Path) -> None:
    JsonLines(tmp_path / "m.jsonl").log(1, {"loss": float("nan"), "other": float("-inf")})
    line = json.loads((tmp_path / "m.jsonl").read_text(), parse_constant=pytest.fail)
    assert str(float(line["loss"])) == "nan"
    assert float(line["other"]) == float("-inf")


def test_json_lines_are_a_sink_that_can_be_taken_back(tmp_path: Path) -> None:
    assert isinstance(JsonLines(tmp_path / "m"), Logger)
    assert isinstance(JsonLines(tmp_path / "m"), ResumableLogger)


def test_nothing_in_the_house_unpickles() -> None:
    """Every torch.load says weights_only=True, and nobody imports pickle or what is built on it."""
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in (ROOT / "metaplastic").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not unsafe & {alias.name.split(".")[0] for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert any(
                    k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    for k in node.keywords
                ), path
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).split(".")[-1]
                assert name not in ("broadcast_object_list", "all_gather_object"), path


@pytest.mark.parametrize("kind", ["constant", "multistep", "exponential", "cosine", "linear"])
@pytest.mark.parametrize("noted", [8, None])
def test_a_run_may_become_longer_where_its_rates_do_not_depend_on_its_length(
    kind: str, noted: int | None
) -> None:
    before, now = ({"schedule": {"kind": kind, "steps": steps}} for steps in (noted, 20))
    if kind in ("cosine", "linear"):
        with pytest.raises(CheckpointError, match=f"schedule.steps was {noted} and is now 20"):
            check_identity(before, now)
    else:
        check_identity(before, now)
        check_identity(now, before)
