"""Finding, keeping and checking data, and building a stream by its name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import tasks
from metaplastic.episode import TaskStream
from tasks.data import DataError, Pixels, cache_folder, cached, fingerprint

REPOSITORY = Path(__file__).parents[2]

SLOW_DECODE = """
import sys, time
import numpy as np
from tasks.data import cached

def decode():
    print("decoded")
    time.sleep(0.5)
    return (2, 3), (np.full(3, entry, np.uint8) for entry in range(2))

assert cached("made", decode).tolist() == [[0, 0, 0], [1, 1, 1]]
"""


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_processes_at_once_decode_once(kept: Path) -> None:
    command = [sys.executable, "-c", SLOW_DECODE]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "decoded\n"]
    assert sorted(file.name for file in kept.iterdir()) == [
        "made.npy",
        "made.npy.lock",
        "made.sha256",
    ]


def test_a_decoder_that_fails_leaves_nothing_behind(kept: Path) -> None:
    def broken() -> Iterator[Pixels]:
        yield np.zeros(3, np.uint8)
        raise DataError("The second entry is damaged.")

    with pytest.raises(DataError, match="second entry"):
        cached("made", lambda: ((2, 3), broken()))
    assert [file.name for file in kept.iterdir()] == ["made.npy.lock"]


def test_a_full_disk_is_named_and_leaves_nothing_behind(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*free some space"):
        cached("made", lambda: ((1, 3), [np.zeros(3, np.uint8)]))
    assert [file.name for file in kept.iterdir()] == ["made.npy.lock"]


def test_a_truncated_emptied_or_altered_cache_is_refused_in_a_sentence(kept: Path) -> None:
    cached("made", lambda: ((1, 300), [np.zeros(300, np.uint8)]))
    whole = (kept / "made.npy").read_bytes()
    for damaged in (whole[:-100], b"", whole[:-1] + b"Z"):
        (kept / "made.npy").write_bytes(damaged)
        with pytest.raises(DataError, match=r"made.npy' is damaged .*; delete it and run again\."):
            cached("made", lambda: ((1, 300), [np.zeros(300, np.uint8)]))
    (kept / "made.npy").unlink()
    assert not cached("made", lambda: ((1, 300), [np.zeros(300, np.uint8)])).any()


def test_a_cache_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="set METAPLASTIC_CACHE"):
        cache_folder()


def test_a_fingerprint_tells_values_shapes_and_files_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("same")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    zeros = torch.zeros(2, 3, dtype=torch.uint8)
    prints = {fingerprint(x) for x in (zeros, zeros + 1, zeros.T, zeros.int(), "a", tmp_path / "a")}
    assert len(prints) == 6


def test_a_stream_is_found_by_the_name_of_its_file() -> None:
    assert {"sines", "glyphs", "omniglot", "miniimagenet"} <= set(tasks.names())
    assert not {"data", "images", "taskset"} & set(tasks.names())
    stream = tasks.build("sines", functions=3)
    assert isinstance(stream, TaskStream)
    assert stream.spec.subtasks == 3


def test_names_are_found_without_loading_torch() -> None:
    check = "import sys, tasks; tasks.names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("omniglt", {}, "There is no stream 'omniglt'; did you mean 'omniglot'?"),
        ("sines", {"function": 3}, "sines has no option 'function'; did you mean 'functions'?"),
        ("svhn", {}, "There is no stream 'svhn'; there are "),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest_known_one(
    name: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        tasks.build(name, **options)
