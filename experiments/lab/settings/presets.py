"""The presets, by size and task.

`laptop` is sized for minutes on two cores; `paper` is what was published (Javed & White 2019;
Lindsey & Litwin-Kumar 2020 and its code); `tiny` is a check that everything runs. Learning rates
and network sizes belong to the methods (`experiments/methods`), which are given the preset's name.
"""

from __future__ import annotations

from typing import Any

SINES = ("sines",)
TRAIN: dict[tuple[str, str], dict[str, Any]] = {
    ("laptop", "sines"): {"steps": 4000, "tasks": 8},
    ("laptop", "images"): {"steps": 2000, "tasks": 2},
    ("laptop", "caltech101"): {
        "steps": 2000, "tasks": 2, "sweep": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    },
    # One lifetime a meta-step, no clipping, constant rates: the published scripts restart every
    # 1000 meta-steps, so that the decay they define (--schedule published) never comes about.
    ("laptop", "split_omniglot"): {
        "steps": 4000, "tasks": 1, "episodes": 10, "save_every": 500,
        "sweep": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    },
    ("paper", "sines"): {
        "steps": 20_000, "tasks": 1, "clip": None, "schedule": "constant", "episodes": 50,
        "checkpoint_every": 20,  # of 400 inner steps: exact
    },
    ("paper", "images"): {
        "steps": 40_000, "tasks": 1, "clip": None, "schedule": "constant", "order": "iid",
    },
    ("paper", "split_omniglot"): {
        "steps": 20_000, "tasks": 1, "clip": None, "schedule": "constant", "episodes": 50,
        "sweep": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    },
    ("tiny", "sines"): {"steps": 3, "tasks": 2, "episodes": 4, "log_every": 1, "save_every": 1},
    ("tiny", "images"): {"steps": 3, "tasks": 2, "episodes": 4, "log_every": 1, "save_every": 1},
}  # fmt: skip

STREAM: dict[tuple[str, str], dict[str, Any]] = {
    ("laptop", "sines"): {"steps_per_function": 5},
    # Twenty classes a lifetime teach an encoder more in a minute than five do; tests have five.
    ("laptop", "images"): {"ways": 20, "slots": 20, "queries_per_class": 3, "rotations": True},
    ("laptop", "split_omniglot"): {
        "ways": 40, "slots": 40, "shots": 5, "queries_per_class": 5, "rotations": True,
        "support_instances": None, "query_instances": None, "distort": 1.0, "elastic": 1.0,
    },
    ("laptop", "caltech101"): {
        "ways": 20, "slots": 20, "shots": 5, "queries_per_class": 5, "rotations": True,
        "distort": 1.0,
    },
    ("paper", "sines"): {},  # the stream's own defaults are the published ones
    ("paper", "images"): {"image_size": 84, "overlap": True},
    ("paper", "omniglot"): {
        "split": "paper", "image_size": 84, "ink": "black", "outputs": 1000, "overlap": True,
    },
    ("paper", "miniimagenet"): {"normalize": True, "outputs": 1000, "overlap": True},
    ("paper", "split_omniglot"): {
        "protocol": "oml", "ways": 5, "shots": 5, "support_instances": None,
        "query_instances": None,
    },
    ("tiny", "sines"): {
        "functions": 3, "steps_per_function": 2, "batch": 4, "queries_per_function": 4,
    },
    ("tiny", "images"): {"ways": 2, "shots": 2, "queries_per_class": 2},
}  # fmt: skip

# Options of tests that differ from meta-training, besides the split.
TEST: dict[tuple[str, str], dict[str, Any]] = {
    ("laptop", "images"): {"ways": 5, "queries_per_class": 5, "rotations": False},
    # 15 training images and 5 query images per character, as published.
    ("laptop", "split_omniglot"): {
        "ways": 600, "slots": None, "shots": 15, "queries_per_class": 5, "rotations": False,
        "support_instances": (0, 15), "query_instances": (15, 20), "distort": 0.0, "elastic": 0.0,
    },
    ("laptop", "caltech101"): {
        "ways": 25, "slots": None, "shots": 15, "queries_per_class": 5, "rotations": False,
        "distort": 0.0,
    },
    ("paper", "split_omniglot"): {
        "ways": 200, "shots": 15, "support_instances": (0, 15), "query_instances": (15, 20),
    },
    ("tiny", "split_omniglot"): {"ways": 3},
    ("paper", "omniglot"): {
        "split": "paper_test", "overlap": False,
        "support_instances": (0, 15), "query_instances": (15, 20),
    },
    ("paper", "miniimagenet"): {
        "overlap": False, "support_instances": (0, 30), "query_instances": (30, 60),
    },
    ("paper", "images"): {"overlap": False},
}  # fmt: skip


def of_preset(
    table: dict[tuple[str, str], dict[str, Any]], preset: str, task: str
) -> dict[str, Any]:
    """The entry of a task in a table, or that of its kind of task."""
    kind = "sines" if task in SINES else "images"
    return table.get((preset, task), table.get((preset, kind), {}))
