"""The identity of a run: settings that are compared field by field before it is resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaplastic.episode import TaskStream
from metaplastic.outer.checkpoint import CheckpointError
from metaplastic.support.describe import DescriptionError, describe

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner
    from metaplastic.outer.trainer_config import TrainerConfig

FREE = (
    "trainer.steps",
    "trainer.log_every",
    "trainer.save_every",
    "trainer.checkpoint_every",  # its former name, in older checkpoints
    "trainer.validate_every",
    "trainer.on_divergence",
    "trainer.max_skipped",
)
"""Fields that a resumed run may change: they do not affect the meta-steps taken.

The handling of divergence is among them, so that a run that stopped at one can continue past it.
"""


def identity(
    config: TrainerConfig,
    learner: OnlineLearner,
    streams: tuple[TaskStream, TaskStream | None],
    optimizer: Optimizer,
    schedule: LRScheduler | None,
) -> dict[str, Any]:
    """The settings of a run, JSON-able: trainer, learner, streams, optimizer, schedule."""
    stream, validation = streams
    try:
        description = describe(learner)
    except DescriptionError:  # it has classes of the user; its tensors are still compared
        description = type(learner).__name__
    groups = {
        str(group.get("name", i)): {
            key: value
            for key, value in group.items()
            if key not in ("params", "lr", "initial_lr", "name", "param_names")
        }
        | {"rate": group.get("initial_lr", group["lr"])}
        for i, group in enumerate(optimizer.param_groups)
    }
    parts = {
        "trainer": asdict(config),
        "learner": description,
        "unroll": asdict(learner.unroll),
        "stream": asdict(stream.spec),
        "validation": None if validation is None else asdict(validation.spec),
        "optimizer": {"kind": type(optimizer).__name__, "groups": groups},
        "schedule": None
        if schedule is None
        else getattr(schedule, "description", type(schedule).__name__),
    }
    plain: dict[str, Any] = json.loads(json.dumps(parts, default=float))
    return plain


ADDED = {
    "unroll.encoder": "float32", "unroll.both_ways": False, "learner.options.online_at_test": False,
    "learner.options.rule.options.frozen_in_training": False,
}  # fmt: skip
"""Fields that older checkpoints lack, with their values for those runs."""

ENDING = ("cosine", "linear")
"""Schedules whose rates depend on the length of the run; others only record it."""


def check_identity(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise CheckpointError if a checkpoint is of another run.

    Raises:
        CheckpointError: naming the first field that differs.
    """
    before, after = ADDED | flatten(saved), ADDED | flatten(now)
    for fields in (before, after):
        if fields.get("schedule.kind") not in ENDING:
            fields.pop("schedule.steps", None)
    for field in sorted(before.keys() | after.keys()):
        was, is_now = before.get(field, "absent"), after.get(field, "absent")
        if was != is_now and field not in FREE:
            raise CheckpointError(
                f"The checkpoint is of a different run: {field} was {was!r} and is now "
                f"{is_now!r}. Set it back to resume, or start a new run in another folder."
            )


def flatten(tree: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists by their dotted names."""
    if isinstance(tree, dict):
        branches = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, list):
        branches = [(str(i), value) for i, value in enumerate(tree)]
    else:
        return {name: tree}
    leaves: dict[str, Any] = {}
    for key, value in branches:
        leaves |= flatten(value, f"{name}.{key}" if name else key)
    return leaves
