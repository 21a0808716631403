"""A ResNet-20 with BatchNorm: pretrained on five classes, then online on the five others.

Pretraining is ordinary: minibatches, backpropagation, SGD with momentum. For what is learned online
the readout is made anew, and every weight of the network learns.
"""

from __future__ import annotations

import copy
import io
import math
import time
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaplastic
from experiments.lab.credit_checks.networks import initialize
from experiments.lab.deep_training.images import Images, load_images
from experiments.lab.networks.residual import residual
from experiments.lab.norms.config import NEW, OLD, Setting
from experiments.lab.runs.stored import Run, path_of
from experiments.lab.runs.stored import stored as stored_run
from metaplastic.support.disk import write_atomically
from metaplastic.support.seeding import derive, seeded

RATE, MOMENTUM, DECAY = 0.05, 0.9, 5e-4  # of pretraining
HELD_OUT = 0.2
PART = 256  # images at a time, in tests


def stored(setting: Setting, seed: int, root: str | None, out: Path) -> Run:
    """The result of a run, as `runs.stored`."""
    path = path_of(out, setting.name, seed)
    return stored_run(path, asdict(setting), lambda: measured(setting, seed, root, out))


def measured(setting: Setting, seed: int, root: str | None, out: Path) -> Run:
    """Accuracy before and after, in percent; `diverged` is the example at which it broke off."""
    data = load_images("exact", root)
    (x, y), (test_x, test_y) = images(data, NEW, held_out=setting.held_out)
    model, before = started(setting, seed, data, out)
    order = torch.randperm(len(x), generator=seeded("online order", seed))[: setting.examples]
    net = metaplastic.PlasticModule(
        model, setting.rule, example=x[:2], rate=setting.rate, norms=setting.norms,
        seed=derive("feedback", seed),
    )  # fmt: skip
    run: Run = {"settings": asdict(setting), "seed": seed, "old": before, "diverged": None}
    run["first"] = accuracy(model, test_x, test_y)
    right = []
    began = time.process_time()
    for step, row in enumerate(order.tolist(), 1):
        right.append(bool(net(x[row : row + 1]).argmax() == y[row]))
        try:
            net.learn(y[row : row + 1])
        except FloatingPointError:
            run["diverged"] = step
            break
    run["seconds"] = time.process_time() - began
    run["online"] = 100 * fmean(right[len(right) // 2 :])
    run["last"] = accuracy(model, test_x, test_y)
    run["alone"] = alone(model, test_x, test_y) if setting.norms == "own" else None
    return run


def score(run: Run) -> float:
    """Accuracy by the statistics that serve it better; of what diverged, none."""
    return -1.0 if run["diverged"] else max(run["last"], run["alone"] or 0.0)


def images(
    data: Images, classes: range, *, held_out: bool = False
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images of these classes, which are counted from 0."""

    def of(pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        own = (labels >= classes.start) & (labels < classes.stop)
        return data.standardized(pixels[own]), labels[own] - classes.start

    x, y = of(data.x, data.y)
    if not held_out:
        return (x, y), of(data.test_x, data.test_y)
    kept = len(x) - math.ceil(HELD_OUT * len(x))
    return (x[:kept], y[:kept]), (x[kept:], y[kept:])


def started(setting: Setting, seed: int, data: Images, out: Path) -> tuple[nn.Module, float | None]:
    """The network before it learns online, with a new readout, and its accuracy on old classes."""
    model = network(setting.width, seed)
    if setting.start == "random":
        return model, None
    path = out / "pretrained" / f"{setting.width}-{setting.epochs}-{setting.batch}-{seed}.pt"
    if not path.exists():
        pretrain(model, setting, seed, data)
        content = io.BytesIO()
        torch.save(model.state_dict(), content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    model.load_state_dict(torch.load(path, weights_only=True))
    before = accuracy(model, *images(data, OLD)[1])
    initialize(model[-1], 1.0, derive("readout", seed))
    return model.train(), before


def network(width: int, seed: int) -> nn.Sequential:
    model = residual(len(NEW), width=width, norm="batch")
    initialize(model, 1.0, derive("weights", seed))
    return model


def pretrain(model: nn.Module, setting: Setting, seed: int, data: Images) -> None:
    """Minibatches of the old classes, at a rate that falls along half a cosine wave."""
    (x, y), _ = images(data, OLD)
    optimizer = torch.optim.SGD(
        model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    per_epoch = len(x) // setting.batch
    total = setting.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, total))
    model.train()
    for epoch in range(setting.epochs):
        order = torch.randperm(len(x), generator=seeded("pretraining order", seed, epoch))
        for rows in torch.split(order[: per_epoch * setting.batch], setting.batch):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Percent right, by the running statistics."""
    model.eval()
    right = sum(
        int((model(part).argmax(1) == labels).sum())
        for part, labels in zip(torch.split(x, PART), torch.split(y, PART), strict=True)
    )
    model.train()
    return 100 * right / len(x)


@torch.no_grad()
def alone(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Percent right where every image is normalized by its own statistics."""
    other = copy.deepcopy(model).train()
    right = sum(
        int(other(image[None]).argmax() == label) for image, label in zip(x, y, strict=True)
    )
    return 100 * right / len(x)
