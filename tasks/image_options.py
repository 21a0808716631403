"""Options of few-shot image lifetimes, and their check against a set of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tasks.data import one_of


@dataclass(frozen=True, kw_only=True)
class FewShotOptions:
    """N-way K-shot lifetimes.

    A lifetime samples `ways` classes and has `shots` support images of each, `batch` a step: class
    by class, or shuffled (`order="iid"`); the query set has `queries_per_class` images of each.

    Labels are `"permuted"`: new in every lifetime, `ways` different ones out of the first
    `slots` (by default `ways`); or `"global"`: the number of the class in its split, the same in
    every lifetime, as in OML. `outputs` widens the readout beyond the labels in use (the
    published networks have 1000). `remember` adds that many images of any classes of the split
    to the query under their global labels: OML's remember set, sampled independently of the support
    as published, and marked by subtask `ways`.

    Support and query share no image. `overlap=True` samples them independently, as the FLP code
    does in meta-training. `support_instances` and `query_instances`, each `(first, end)`, are the
    ranges of images of a class for support and query: (0, 15) and (15, 20) are the published
    test on Omniglot. `rotations=True` makes each quarter turn a class of its own: class c turned
    k times has number c + k * (classes of the split). `reflections=True` makes a class of its own
    of each that is mirrored left to right before it is turned: their numbers come after all others.

    `neighbors` samples classes in runs of so many consecutive numbers: characters of one alphabet,
    if classes are ordered by alphabet, are harder to discriminate.

    `distort` applies a small random affine map to every support and query image, and `elastic` a
    smooth random deformation: 0 is none, and `tasks.distort` defines strength 1. Both are data
    augmentation for meta-training.

    `repeats` presents every support image so many times: all presentations shuffled, or class by
    class, each class in so many rounds.
    """

    ways: int = 5
    shots: int = 5
    queries_per_class: int = 5
    order: Literal["iid", "by_class"] = "iid"
    labels: Literal["permuted", "global"] = "permuted"
    slots: int | None = None
    outputs: int | None = None
    remember: int = 0
    overlap: bool = False
    rotations: bool = False
    reflections: bool = False
    support_instances: tuple[int, int] | None = None
    query_instances: tuple[int, int] | None = None
    batch: int = 1
    distort: float = 0.0
    elastic: float = 0.0
    neighbors: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        one_of("order", self.order, ("iid", "by_class"))
        one_of("labels", self.labels, ("permuted", "global"))
        for name in ("ways", "shots", "queries_per_class", "batch", "neighbors", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be at least 1.")
        for name in ("distort", "elastic"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be 0 for none, or a finite "
                    "strength above that."
                )
        if self.remember < 0:
            raise ValueError(f"remember is {self.remember!r}; it must be at least 0.")
        if self.labels == "permuted" and self.remember:
            raise ValueError(
                f"remember is {self.remember!r}, but images of other classes have no label when "
                "labels are permuted; set labels='global'."
            )
        if self.labels == "global" and self.slots is not None:
            raise ValueError(
                f"slots is {self.slots!r}, a pool for permuted labels; omit it with global "
                "labels and widen the readout by outputs."
            )
        if self.slots is not None and self.slots < self.ways:
            raise ValueError(f"slots is {self.slots!r}; {self.ways} ways need at least as many.")
        presentations = self.shots * self.repeats * (1 if self.order == "by_class" else self.ways)
        if presentations % self.batch:
            raise ValueError(
                f"batch is {self.batch!r}; it must divide the {presentations} images of a "
                f"{'class' if self.order == 'by_class' else 'lifetime'}."
            )


def check(options: FewShotOptions, images: Tensor) -> None:
    """Raise ValueError for lifetimes that these images cannot supply."""
    if images.dtype != torch.uint8 or images.ndim not in (4, 5):
        raise ValueError(
            f"Images are {images.dtype} with shape {tuple(images.shape)}; they must be uint8 "
            "with axes classes, instances, height, width and, for color, channels."
        )
    classes, instances, height, width = images.shape[:4]
    if options.rotations and height != width:
        raise ValueError(f"rotations needs square images; these are {height} by {width}.")
    rotated = 4 * classes
    if options.rotations:
        classes = rotated
    if options.reflections:
        classes, rotated = 2 * classes, 2 * rotated
    if options.ways > classes:
        more = f", or make them {rotated} by rotations=True"
        raise ValueError(
            f"ways is {options.ways!r}; this split has {classes} classes. Use at most that "
            f"many{more if options.ways <= rotated and height == width else ''}."
        )
    runs, needed_runs = classes // options.neighbors, -(-options.ways // options.neighbors)
    if needed_runs > runs:
        raise ValueError(
            f"{options.ways} ways in runs of {options.neighbors} neighbors are {needed_runs} runs; "
            f"the {classes} classes of this split make {runs}."
        )
    needed = classes if options.labels == "global" else options.slots or options.ways
    if options.outputs is not None and options.outputs < needed:
        raise ValueError(f"outputs is {options.outputs!r}; the labels in use need {needed}.")
    support = _instances("support_instances", options.support_instances, instances)
    query = _instances("query_instances", options.query_instances, instances)
    shared = 0 if options.overlap else len(set(support) & set(query))
    left = len(query) - min(shared, options.shots)
    if options.shots > len(support) or options.queries_per_class > left:
        raise ValueError(
            f"{options.shots} shots and {options.queries_per_class} queries do not fit into a "
            f"class: it has {len(support)} images for support and then {left} for queries."
        )


def _instances(name: str, chosen: tuple[int, int] | None, instances: int) -> range:
    first, end = chosen or (0, instances)
    if not 0 <= first < end <= instances:
        raise ValueError(
            f"{name} is {chosen!r}; it must be (first, end) within the {instances} images "
            "of a class."
        )
    return range(first, end)
