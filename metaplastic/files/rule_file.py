"""Rule files: a learner as a folder that any program may read and none has to trust.

`config.json` says what the learner is made of and where it comes from; `model.safetensors` holds
its tensors. The config carries the sha256 of the tensors and of itself, and neither file can run
code. A folder is written whole beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from metaplastic.files.provenance import provenance as own_account
from metaplastic.inner.learner import OnlineLearner
from metaplastic.support.catalog import find, shipped
from metaplastic.support.choices import did_you_mean
from metaplastic.support.describe import DescriptionError, build, current_names, describe
from metaplastic.support.disk import saying_when_full, sync_file, temporary_beside, write_durably
from metaplastic.support.seeding import global_seed

FORMAT = "metaplastic rule"
VERSION = 1
KEYS = ("learner", "frozen", "tensors_sha256", "provenance", "sha256")
CONFIG = "config.json"
TENSORS = "model.safetensors"


class RuleFileError(RuntimeError):
    """A folder is not a rule file that can be used, or a learner cannot become one."""


def save_pretrained(
    learner: OnlineLearner,
    folder: str | Path,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write `learner` to `folder`, replacing a rule file that is there.

    Args:
        half: store float32 numbers as float16, in half the space. They come back as float32, with
            11 bits of precision; whether that loses anything is to be measured.
        provenance: further facts beside those known here, such as the seed and the fingerprint of
            the data (see `metaplastic.files.provenance`); JSON-able.

    Raises:
        RuleFileError: if a part of the learner cannot be described, or `folder` holds other files.
        DiskFullError: if it does not fit; what was there is untouched.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and not _is_empty_folder(folder):
        raise RuleFileError(
            f"{folder} exists and is not a rule file, so it is not replaced. Choose another name."
        )
    tensors = {
        # The file format knows one memory layout; a learner may be in another (channels last).
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in learner.state_dict().items()
    }
    if half:
        tensors = {
            name: tensor.half() if tensor.dtype is torch.float32 else tensor
            for name, tensor in tensors.items()
        }
    content = safetensors.torch.save(tensors, metadata={"format": FORMAT})
    try:
        description = describe(learner)
    except DescriptionError as error:
        raise RuleFileError(f"This learner cannot be written as a rule file: {error}") from error
    config = {
        "format": FORMAT,
        "version": VERSION,
        "learner": description,
        "frozen": [
            name
            for name, parameter in learner.named_parameters(remove_duplicate=False)
            if not parameter.requires_grad
        ],
        "half": half,
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
        "provenance": own_account() | dict(provenance or {}),
    }
    config["sha256"] = _digest(config)
    text = json.dumps(config, indent=2, allow_nan=False).encode()
    _write_folder(folder, {CONFIG: text + b"\n", TENSORS: content})
    return folder


def from_pretrained(
    folder: str | Path, classes: Iterable[type] = (), device: torch.device | str = "cpu"
) -> OnlineLearner:
    """The learner in `folder`, in eval mode, as it is used after meta-training.

    Args:
        folder: of a rule file; or the name of a learner that comes with this package (`shipped`),
            if there is no such folder.
        classes: classes of your own that the rule is made of; nothing else is ever imported.

    Raises:
        RuleFileError: if the folder is missing, foreign, damaged, or names a class not handed in.
    """
    folder = find(folder)
    config = read_config(folder)
    content = _read(folder, TENSORS)
    if hashlib.sha256(content).hexdigest() != config["tensors_sha256"]:
        raise RuleFileError(
            f"{folder / TENSORS} is damaged: its checksum is not the one in {CONFIG}. "
            "Fetch or write the rule file again."
        )
    try:
        with global_seed(torch.device("cpu"), "overwritten"):  # spares the caller's generator
            learner = build(config["learner"], classes)
        if not isinstance(learner, OnlineLearner):
            raise DescriptionError(f"it describes a {type(learner).__name__}, not a learner.")
        tensors = safetensors.torch.load(content)
        if config.get("half"):
            tensors = {
                name: tensor.float() if tensor.dtype is torch.float16 else tensor
                for name, tensor in tensors.items()
            }
        current = current_names(learner)
        tensors = {current(name): tensor for name, tensor in tensors.items()}
        learner.load_state_dict(tensors, assign=True)
    except (
        DescriptionError, AttributeError, RuntimeError, TypeError, safetensors.SafetensorError
    ) as error:  # fmt: skip
        raise RuleFileError(f"The rule in {folder} cannot be built: {error}") from error
    frozen = {current(name) for name in config["frozen"]}
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return learner.to(device).eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config of a rule file, its provenance included, once it is known to be whole."""
    folder = find(folder)
    path = folder / CONFIG
    try:
        config = json.loads(_read(folder, CONFIG))
    except ValueError as error:
        raise RuleFileError(f"{path} is damaged or foreign: it is not JSON ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise RuleFileError(
            f"{path} is not the config of a rule file: its format is not {FORMAT!r}."
        )
    if config.get("version") != VERSION:
        raise RuleFileError(
            f"{path} is a rule file of version {config.get('version')!r}; this metaplastic reads "
            f"version {VERSION}. Install a metaplastic that fits."
        )
    if missing := [key for key in KEYS if key not in config]:
        raise RuleFileError(f"{path} is foreign: it has no {missing[0]!r}.")
    if config["sha256"] != _digest(config):
        raise RuleFileError(
            f"{path} is damaged: its checksum does not match its content. "
            "Fetch or write the rule file again."
        )
    return config


def _digest(config: dict[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise RuleFileError(
            f"{folder} is not a rule file: {name} cannot be read ({error.strerror}). "
            f"A rule file is a folder with {CONFIG} and {TENSORS}.{_by_name(folder)}"
        ) from error


def _by_name(folder: Path) -> str:
    """Of a bare name, which a learner that ships may have been meant by: what they are called."""
    names = list(shipped())
    if folder.name != str(folder) or folder.exists() or not names:
        return ""
    return f" Learners that ship: {', '.join(names)}.{did_you_mean(folder, names)}"


def _is_empty_folder(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put `files` into `folder`, all or none.

    A kill between the two renames leaves the former folder whole, as `.NAME.former`.
    """
    fresh, former = temporary_beside(folder), folder.with_name(f".{folder.name}.former")
    with saying_when_full(folder, "What was there before is untouched."):
        shutil.rmtree(fresh, ignore_errors=True)  # in a container process numbers repeat
        try:
            fresh.mkdir(parents=True)
            for name, content in files.items():
                write_durably(fresh / name, content)
            sync_file(fresh)
            if folder.exists():  # a folder with files in it cannot be replaced in one call
                shutil.rmtree(former, ignore_errors=True)
                folder.replace(former)
            os.replace(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
        sync_file(folder.parent)
