"""The streams of the table of cells, and how often a lifetime shows an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaplastic import TaskStream

STREAMS: dict[str, dict[str, Any]] = {
    "omniglot": {"shots": 10, "queries_per_class": 10},
    "fashion_mnist": {"shots": 10, "queries_per_class": 40},
    "cifar10": {"shots": 40, "queries_per_class": 40, "image_size": 16},
    "caltech101": {"shots": 20, "queries_per_class": 10, "image_size": 28},
}
Pair = tuple["TaskStream", "TaskStream"]
"""Of validation and of test."""


def options_of(task: str, order: str, ways: int, examples: int, once: bool) -> dict[str, Any]:
    """The options of a stream whose lifetimes have so many examples.

    Its images come as often as that needs; with `once`, there are as many images as examples.
    """
    own = dict(STREAMS[task])
    if once:
        own["shots"] = -(-examples // ways)
    repeats = -(-examples // (ways * own["shots"]))
    return {**own, "ways": ways, "slots": ways, "order": order, "repeats": repeats}


def offered(
    images: Sequence[str], orders: Sequence[str], ways: int, examples: int, once: bool
) -> tuple[dict[tuple[str, str], Pair], list[str]]:
    """The streams by images and order, and a sentence for each set of images.

    It says how often an image is shown or, with `once`, that there are too few images.
    """
    from tasks import build  # only loads once there is work to do

    found: dict[tuple[str, str], Pair] = {}
    notes: list[str] = []
    for task, order in product(images, orders):
        options = options_of(task, order, ways, examples, once)
        pair = tuple(build(task, **options, split=split) for split in ("validation", "test"))
        try:
            shown = {stream.spec.steps for stream in pair}
        except ValueError as error:
            if not once:
                raise
            notes.append(f"{task} is left out, with each of {examples} examples once: {error}")
            continue
        found[task, order] = pair[0], pair[1]
        different, often = ways * options["shots"], options["repeats"]
        often_so = f"each {often} times" if often > 1 else "each once"
        if often > 1 and shown != {examples}:
            often_so = f"each up to {often} times"
        notes.append(
            f"{task}: a lifetime of {examples} examples has {different} different images, "
            f"{often_so}."
        )
    return found, list(dict.fromkeys(notes))
