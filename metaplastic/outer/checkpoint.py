"""Checkpoint files: a `torch.save` archive with a checksum.

A file is the `torch.save` of plain tensors, numbers and strings, then a mark, then the sha256 of
all before it. The digest is compared before the file is read, and reading is always `weights_only`.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from metaplastic.support.disk import write_atomically

KEPT = 2
MARK = b"metaplastic checkpoint 1"
DIGEST = 32
NAME = re.compile(r"step-(\d+)\.checkpoint")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used."""


class CheckpointWarning(UserWarning):
    """A checkpoint was refused and the one before it used."""


def pack(state: dict[str, Any]) -> bytes:
    """`state` as the bytes of a checkpoint file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.write(MARK)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def unpack(content: bytes, name: str) -> dict[str, Any]:
    """The state in the bytes of the file called `name`.

    Raises:
        CheckpointError: if the bytes are not exactly those that `pack` gave.
    """
    body, digest = content[:-DIGEST], content[-DIGEST:]
    if not body.endswith(MARK) or hashlib.sha256(body).digest() != digest:
        raise CheckpointError(
            f"{name} is not a complete checkpoint: its checksum does not match its content. "
            "It was truncated or altered and cannot be used."
        )
    state = torch.load(io.BytesIO(body[: -len(MARK)]), map_location="cpu", weights_only=True)
    assert isinstance(state, dict)  # the digest shows that `pack` wrote it
    return state


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` and delete all but the last two.

    Raises:
        DiskFullError: if there is no room; earlier checkpoints are untouched.
    """
    path = folder / f"step-{step:09d}.checkpoint"
    for leftover in folder.glob(".step-*.checkpoint.*.tmp"):  # of a killed process
        leftover.unlink(missing_ok=True)
    write_atomically(path, pack(state), stands="The checkpoint before it is intact.")
    for old in found(folder)[:-KEPT]:
        old.unlink()
    return path


def found(folder: Path) -> list[Path]:
    """The checkpoint files in `folder`, oldest first."""
    paths = (path for path in folder.glob("step-*.checkpoint") if NAME.fullmatch(path.name))
    return sorted(paths, key=lambda path: int(path.stem.removeprefix("step-")))


def latest(folder: Path) -> tuple[Path, bytes] | None:
    """The newest intact checkpoint and its bytes, or None if there never was one.

    A damaged file is renamed with a `CheckpointWarning`, and the one before it is used.

    Raises:
        CheckpointError: if there are checkpoints and all of them are damaged.
    """
    for path in reversed(found(folder)):
        content = path.read_bytes()
        try:
            unpack(content, str(path))
        except CheckpointError as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            warnings.warn(f"{error} It is now {aside.name}.", CheckpointWarning, stacklevel=2)
        else:
            return path, content
    if refused := list(folder.glob("step-*.damaged")):  # in this or an earlier call
        raise CheckpointError(
            f"No checkpoint in {folder} is intact: {len(refused)} do not match their checksums. "
            "Start the run again in a new folder."
        )
    return None
