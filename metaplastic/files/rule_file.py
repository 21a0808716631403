"""Rule files: a learner as a folder that can be read without running code from it.

`config.json` describes the learner and its provenance; `model.safetensors` holds its tensors. The
config has the sha256 of the tensors and of itself. A folder is written under a temporary name and
renamed.
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

from metaplastic.files.bounded import BoundedMemory
from metaplastic.files.provenance import provenance as current_provenance
from metaplastic.inner.learner import OnlineLearner
from metaplastic.support.catalog import find, is_hub_name, shipped
from metaplastic.support.choices import did_you_mean
from metaplastic.support.describe import DescriptionError, build, current_names, describe
from metaplastic.support.disk import saying_when_full, sync_file, temporary_beside, write_durably
from metaplastic.support.seeding import global_seed

FORMAT = "metaplastic rule"
VERSION = 1
KEYS = ("learner", "frozen", "tensors_sha256", "provenance", "sha256")
MOST_TIMES = 10  # the file's size, in memory for what it describes
LEAST = 2**20  # bytes beside that, for buffers that no file holds
CONFIG = "config.json"
TENSORS = "model.safetensors"


class RuleFileError(RuntimeError):
    """A folder is not a usable rule file, or a learner cannot be written as one."""


def save_pretrained(
    learner: OnlineLearner,
    folder: str | Path,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write `learner` to `folder`, replacing a rule file that is there.

    Args:
        half: store float32 numbers as float16. They are loaded as float32 with 11 bits of
            precision; measure whether that changes the accuracy.
        provenance: further facts, such as the seed and the fingerprint of the data (see
            `metaplastic.files.provenance`); JSON-able.

    Raises:
        RuleFileError: if a part of the learner cannot be described, or `folder` holds other files.
        DiskFullError: if there is no space; the former folder is unchanged.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and not _is_empty_folder(folder):
        raise RuleFileError(
            f"{folder} exists and is not a rule file, so it is not replaced. Choose another name."
        )
    tensors = {
        # The file format has one memory layout; a learner may have another (channels last).
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
        "provenance": current_provenance() | dict(provenance or {}),
    }
    config["sha256"] = _digest(config)
    text = json.dumps(config, indent=2, allow_nan=False).encode()
    _write_folder(folder, {CONFIG: text + b"\n", TENSORS: content})
    return folder


def from_pretrained(
    folder: str | Path,
    classes: Iterable[type] = (),
    device: torch.device | str = "cpu",
    revision: str | None = None,
) -> OnlineLearner:
    """The learner in `folder`, in eval mode.

    Args:
        folder: a rule file; or, if there is no such folder, the name of a learner in this package
            (`shipped`), or `user/name`, a repository of the hub (extra `hub`).
        classes: classes of your own that the learner consists of; nothing else is imported.
        revision: of a repository of the hub: a branch, tag or commit.

    Raises:
        RuleFileError: if the folder is missing, not a rule file or damaged, names a class that
            is neither in this package nor in `classes`, or cannot be fetched.
        MissingPackageError: for a repository of the hub, without huggingface_hub.
    """
    folder = located(folder, revision)
    config = read_config(folder)
    content = read_tensors(folder, config)
    limit = LEAST + MOST_TIMES * (len(content) + (folder / CONFIG).stat().st_size)
    try:
        with global_seed(torch.device("cpu"), "overwritten"), BoundedMemory(limit):
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
        frozen = {current(name) for name in config["frozen"]}
    except Exception as error:  # a class that a file names may raise anything for its options
        raise RuleFileError(f"The rule in {folder} cannot be built: {error}") from error
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return learner.to(device).eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config of a rule file, with its provenance, after its checksum is verified."""
    folder = located(folder)
    path = folder / CONFIG
    try:
        config = json.loads(_read(folder, CONFIG))
        if isinstance(config, dict):
            digest = _digest(config)
    except (ValueError, RecursionError) as error:  # the latter for lists within lists
        raise RuleFileError(
            f"{path} is damaged or not of a rule file: it is not JSON ({error})."
        ) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise RuleFileError(
            f"{path} is not the config of a rule file: its format is not {FORMAT!r}."
        )
    if config.get("version") != VERSION:
        raise RuleFileError(
            f"{path} is a rule file of version {config.get('version')!r}; this metaplastic reads "
            f"version {VERSION}. Install a version of metaplastic that reads it."
        )
    if missing := [key for key in KEYS if key not in config]:
        raise RuleFileError(f"{path} is not the config of a rule file: it has no {missing[0]!r}.")
    if config["sha256"] != digest:
        raise RuleFileError(
            f"{path} is damaged: its checksum does not match its content. "
            "Download or write the rule file again."
        )
    return config


def read_tensors(folder: Path, config: Mapping[str, Any]) -> bytes:
    """The tensors of a rule file with this config, as safetensors, after their checksum."""
    content = _read(folder, TENSORS)
    if hashlib.sha256(content).hexdigest() != config["tensors_sha256"]:
        raise RuleFileError(
            f"{folder / TENSORS} is damaged: its checksum is not the one in {CONFIG}. "
            "Download or write the rule file again."
        )
    return content


def located(folder: str | Path, revision: str | None = None) -> Path:
    """The folder of a rule file: the one of this name, a shipped one, or one of the hub."""
    if is_hub_name(folder):
        from metaplastic.files.hub import download  # which knows this file

        return download(str(folder), revision)
    return find(folder)


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
    """For a bare name, the names of the learners in this package; else nothing."""
    names = list(shipped())
    if folder.name != str(folder) or folder.exists() or not names:
        return ""
    return f" Learners in this package: {', '.join(names)}.{did_you_mean(folder, names)}"


def _is_empty_folder(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put `files` into `folder`, all or none.

    A kill between the two renames leaves the former folder as `.NAME.former`.
    """
    fresh, former = temporary_beside(folder), folder.with_name(f".{folder.name}.former")
    with saying_when_full(folder, "The former files are unchanged."):
        shutil.rmtree(fresh, ignore_errors=True)  # in a container process ids repeat
        try:
            fresh.mkdir(parents=True)
            for name, content in files.items():
                write_durably(fresh / name, content)
            sync_file(fresh)
            if folder.exists():  # a non-empty folder cannot be replaced in one call
                shutil.rmtree(former, ignore_errors=True)
                folder.replace(former)
            os.replace(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
        sync_file(folder.parent)
