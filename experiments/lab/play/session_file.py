"""What a tab has learned, as one file: safetensors, with JSON in its header.

Tensors are the drawings and all that learning has changed in every learner; the JSON has the names,
the steps and the sha256 of everything. Reading a file runs no code of it, and what is damaged, or
does not fit the learners, is refused before anything of the session is replaced.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import CHOICES, OUTPUTS, WIDTH
from experiments.lab.play.session import MOST_DRAWINGS, Session, Step, clean

FORMAT = "metaplastic play"
VERSION = 2  # 1 had no FLP
LARGEST = 8_000_000  # bytes
IMAGES, FEATURES = "images", "features"


def save(session: Session, path: Path) -> Path:
    """Write the session to `path`.

    Raises:
        PlayError: where nothing has been learned yet.
    """
    with session.lock:
        if not session.names:
            raise PlayError("Nothing has been learned yet, so there is nothing to save.")
        tensors = {IMAGES: session.images, FEATURES: session.features}
        for name, learner in session.learners.items():
            tensors |= {f"{name}/{key}": value for key, value in learner.tensors().items()}
        content = {
            "names": session.names,
            "labels": session.labels,
            "seed": session.seed,
            "steps": [dataclasses.asdict(step) for step in session.steps],
        }
        text = json.dumps(content)
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "content": text,
        "sha256": digest(text, tensors),
    }
    path.write_bytes(safetensors.torch.save(tensors, metadata=header))
    return path


def load(path: Path) -> Session:
    """The session in a file.

    Raises:
        PlayError: for anything but an undamaged file of `save`.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise PlayError(
                f"{path.name} has {size:,} bytes, and a saved page at most {LARGEST:,}: it is "
                "another file."
            )
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        known: Any = header.get("__metadata__", {})
        tensors = safetensors.torch.load(data)
    except OSError as error:
        raise PlayError(
            f"{path.name} cannot be read ({error.strerror}): choose another."
        ) from error
    except (safetensors.SafetensorError, struct.error, ValueError, AttributeError) as error:
        if isinstance(error, PlayError):
            raise
        raise PlayError(
            f"{path.name} is not a saved page, or it is damaged: choose a file that Save wrote."
        ) from error
    if known.get("format") != FORMAT:
        raise PlayError(f"{path.name} is not a saved page: choose a file that Save wrote.")
    if known.get("version") != str(VERSION):
        raise PlayError(
            f"{path.name} is of version {known.get('version')}, and this page reads version "
            f"{VERSION}: save it again with the same release of metaplastic."
        )
    if known.get("sha256") != digest(known.get("content", ""), tensors):
        raise PlayError(f"{path.name} is damaged, its checksum does not match: choose another.")
    try:
        return restored(json.loads(known["content"]), tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PlayError(
            f"{path.name} does not fit this page ({error}): save it again with the same release of "
            "metaplastic."
        ) from error


def restored(content: dict[str, Any], tensors: dict[str, Tensor]) -> Session:
    """A session of what a file holds.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: for what does not fit.
    """
    session = Session(int(content["seed"]))
    names, labels = content["names"], content["labels"]
    images, features = tensors[IMAGES], tensors[FEATURES]
    if not 0 < len(names) <= OUTPUTS or [clean(n) for n in names] != names:
        raise ValueError("its names")
    if not 0 < len(labels) <= MOST_DRAWINGS or set(labels) != set(range(len(names))):
        raise ValueError("its labels")
    if images.dtype is not torch.uint8 or tuple(images.shape) != (len(labels), 28, 28):
        raise ValueError("its drawings")
    fits = features.shape == (len(labels), WIDTH) and features.dtype is torch.float32
    if not fits or not features.isfinite().all():
        raise ValueError("its features")
    steps = [step_of(given, len(names)) for given in content["steps"]]
    if [step.label for step in steps] != labels:
        raise ValueError("its steps")
    for name, learner in session.learners.items():
        own = {
            key.partition("/")[2]: value
            for key, value in tensors.items()
            if key.startswith(f"{name}/")
        }
        made = learner.tensors()
        kinds = [{k: (tuple(v.shape), v.dtype) for k, v in part.items()} for part in (made, own)]
        if kinds[0] != kinds[1] or not all(v.isfinite().all() for v in own.values()):
            raise ValueError(f"the tensors of {CHOICES[name].title}")
        learner.load(own)
    session.names, session.labels, session.images = list(names), list(labels), images
    session.steps, session.features = steps, features
    session.evaluate()
    return session


def step_of(given: dict[str, Any], count: int) -> Step:
    changes = []
    for part in ("loss", "probability"):
        own = {
            name: {int(label): float(value) for label, value in given[part][name].items()}
            for name in CHOICES
        }
        for values in own.values():
            if not all(0 <= k < count and not math.isnan(v) for k, v in values.items()):
                raise ValueError("its steps")
        changes.append(own)
    return Step(int(given["label"]), changes[0], changes[1], tuple(map(str, given["failed"])))


def digest(text: str, tensors: dict[str, Tensor]) -> str:
    """The sha256 of the text and of every tensor's name, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
