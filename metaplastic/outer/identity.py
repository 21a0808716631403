"""What makes a run this run: compared before a checkpoint is resumed, field by field."""

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
    "trainer.checkpoint_every",  # its name in checkpoints of before it was called so
    "trainer.validate_every",
    "trainer.on_divergence",
    "trainer.max_skipped",
)
"""Fields that a resumed run may change: they do not touch what is learned from a given step on.

What to do about a divergence is among them, so that a run that stopped at one can go on past it.
"""


def identity(
    config: TrainerConfig,
    learner: OnlineLearner,
    streams: tuple[TaskStream, TaskStream | None],
    optimizer: Optimizer,
    schedule: LRScheduler | None,
) -> dict[str, Any]:
    """A run as JSON-able values: what it learns, on what, how, and by which numbers."""
    stream, validation = streams
    try:
        description = describe(learner)
    except DescriptionError:  # made of the user's own parts: its tensors must still fit
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
"""Fields that older checkpoints lack, and what they were for those runs."""

ENDING = ("cosine", "linear")
"""Schedules whose rates depend on the length of the run; others only note it."""


def check_identity(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a checkpoint of another run.

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
                f"{is_now!r}. Set it back to resume, or start anew in another folder."
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
