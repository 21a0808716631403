"""What a few-shot lifetime of images may be, and whether a set of images can supply it."""

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

    A lifetime draws `ways` classes and shows `shots` images of each, `batch` a step: class by
    class, or shuffled (`order="iid"`); then it asks about `queries_per_class` images of each.

    Labels are `"permuted"`: fresh in every lifetime, `ways` different ones out of the first
    `slots` (by default `ways`); or `"global"`: the number of the class in its split, the same in
    every lifetime, as OML has them. `outputs` widens the readout beyond the labels in use (the
    published networks have 1000). `remember` adds that many images of any classes of the split
    to the query under their global labels: OML's remember set, drawn independently of the support
    as published, and marked by subtask `ways`.

    Support and query share no image. `overlap=True` draws them independently, as the FLP code
    does in meta-training. `support_instances` and `query_instances`, each `(first, end)`, say which
    images of a class may be learned from and asked about: (0, 15) and (15, 20) are the published
    test on Omniglot. `rotations=True` makes each quarter turn a class of its own: class c turned
    k times has number c + k * (classes of the split).

    `neighbors` draws classes in runs of so many consecutive numbers: characters of one alphabet,
    where numbers go by alphabets, are harder to tell apart than any others.

    `distort` moves every image, learned from or asked about, by a small random affine map of its
    own, and `elastic` bends it by a smooth random field: 0 leaves it alone, and `tasks.distort`
    says how far 1 goes. Both are for meta-training, where they stand in for more images.

    `repeats` shows every image that is learned from so many times: all showings shuffled, or
    class by class, each class in so many rounds. It makes a long stream of few images.
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
                f"slots is {self.slots!r}, a pool for permuted labels; leave it out where labels "
                "are global and widen the readout by outputs."
            )
        if self.slots is not None and self.slots < self.ways:
            raise ValueError(f"slots is {self.slots!r}; {self.ways} ways need at least as many.")
        whole = self.shots * self.repeats * (1 if self.order == "by_class" else self.ways)
        if whole % self.batch:
            raise ValueError(
                f"batch is {self.batch!r}; it must divide the {whole} images of a "
                f"{'class' if self.order == 'by_class' else 'lifetime'}."
            )


def check(options: FewShotOptions, images: Tensor) -> None:
    """Refuse, in one sentence, lifetimes that these images cannot supply."""
    if images.dtype != torch.uint8 or images.ndim not in (4, 5):
        raise ValueError(
            f"Images are {images.dtype} with shape {tuple(images.shape)}; they must be uint8 "
            "with axes classes, instances, height, width and, for color, channels."
        )
    classes, instances, height, width = images.shape[:4]
    if options.rotations and height != width:
        raise ValueError(f"rotations needs square images; these are {height} by {width}.")
    turned = 4 * classes
    if options.rotations:
        classes = turned
    if options.ways > classes:
        more = f", or turn them into {turned} by rotations=True"
        raise ValueError(
            f"ways is {options.ways!r}; this split has {classes} classes. Ask for at most that "
            f"many{more if options.ways <= turned and height == width else ''}."
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
    learn = _instances("support_instances", options.support_instances, instances)
    ask = _instances("query_instances", options.query_instances, instances)
    shared = 0 if options.overlap else len(set(learn) & set(ask))
    left = len(ask) - min(shared, options.shots)
    if options.shots > len(learn) or options.queries_per_class > left:
        raise ValueError(
            f"{options.shots} shots and {options.queries_per_class} queries do not fit into a "
            f"class: it has {len(learn)} images to learn from and then {left} to be asked about."
        )


def _instances(name: str, chosen: tuple[int, int] | None, instances: int) -> range:
    first, end = chosen or (0, instances)
    if not 0 <= first < end <= instances:
        raise ValueError(
            f"{name} is {chosen!r}; it must be (first, end) within the {instances} images "
            "of a class."
        )
    return range(first, end)
