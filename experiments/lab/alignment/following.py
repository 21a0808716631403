"""One network that learns from single examples, and the angles between weights and feedback.

Angles are taken every so many examples at the sites that carry errors back, which are all but the
first; delta angles, to the errors of backpropagation, on test images before and after.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaplastic
from experiments.lab.alignment.config import Setting
from experiments.lab.alignment.networks import network
from experiments.lab.credit_checks.data import Images, load_images
from experiments.lab.runs.stored import Run, path_of
from experiments.lab.runs.stored import stored as stored_run
from metaplastic import Credit
from metaplastic.online.credit_angles import SiteAngles, angle
from metaplastic.support.seeding import derive, seeded

TESTED = 32  # test images on which delta angles are measured
LAST = 200  # examples at the end, whose predictions before learning count as accuracy


def stored(setting: Setting, seed: int, root: str | None, out: Path) -> Run:
    """The result of a run, as `runs.stored`."""
    path = path_of(out, setting.name, seed)
    return stored_run(path, asdict(setting), lambda: measured(setting, seed, root))


def measured(setting: Setting, seed: int, root: str | None) -> Run:
    """Angles, norms and accuracy of one run; `diverged` is the example at which it broke off."""
    data = load_images(setting.data_set, root=root)
    order = torch.randperm(len(data.x), generator=seeded("order", seed))[: setting.examples]
    model = network(setting.network, seed)
    credit = metaplastic.credit(
        setting.rule, model, example=data.x[:2], seed=derive("feedback", seed), **setting.options
    )
    before = _deltas(credit, model, data)
    sites = [site for site, found in before.items() if found.weight is not None]
    run: Run = {
        "settings": asdict(setting), "seed": seed, "steps": [], "angles": {s: [] for s in sites},
        "ratios": {s: [] for s in sites}, "diverged": None,
    }  # fmt: skip
    _note(run, 0, credit, model)
    learn = _online if setting.way == "online" else _with_optimizer
    right: list[bool] = []
    began = time.process_time()
    apart = 0.0
    steps = learn(setting, credit, model, data.x[order], data.y[order])
    for step, (correct, finite) in enumerate(steps, 1):
        right.append(correct)
        due, started = step % setting.every == 0, time.process_time()
        if not finite or (due and not _note(run, step, credit, model)):
            run["diverged"] = step
            break
        apart += time.process_time() - started
    run["seconds"] = time.process_time() - began - apart
    run["accuracy"] = 100 * fmean(right[-LAST:])
    run["angle"] = [fmean(values) for values in zip(*run["angles"].values(), strict=True)]
    run["ratio"] = [
        math.exp(fmean(math.log(max(value, 1e-30)) for value in values))
        for values in zip(*run["ratios"].values(), strict=True)
    ]
    run["delta"] = [_mean_delta(before), None]
    if run["diverged"] is None:
        run["delta"][1] = _mean_delta(_deltas(credit, model, data))
    return run


def _note(run: Run, step: int, credit: Credit, model: nn.Module) -> bool:
    """Add the angles and norm ratios of this moment; False, and nothing added, if not finite."""
    found = {}
    with torch.no_grad():
        for site in run["angles"]:
            weight, back = credit.weight(site, model), credit.through(site, model)
            found[site] = (angle(weight, back), float(back.norm() / weight.norm()))
    if not all(math.isfinite(value) for pair in found.values() for value in pair):
        return False
    run["steps"].append(step)
    for site, (degrees, ratio) in found.items():
        run["angles"][site].append(degrees)
        run["ratios"][site].append(ratio)
    return True


Steps = Iterator[tuple[bool, bool]]
"""Of every example: was the prediction before learning right, and is the loss finite?"""


def _online(setting: Setting, credit: Credit, model: nn.Module, x: Tensor, y: Tensor) -> Steps:
    net = metaplastic.PlasticModule(model, credit, rate=setting.rate)
    for number in range(len(x)):
        rows = slice(number, number + 1)
        correct = bool(net(x[rows]).argmax() == y[number])
        try:
            net.learn(y[rows])
        except FloatingPointError:
            yield correct, False
            return
        yield correct, True


def _with_optimizer(
    setting: Setting, credit: Credit, model: nn.Module, x: Tensor, y: Tensor
) -> Steps:
    weights = [credit.weight(site, model) for site in credit.shapes]
    known = {id(weight) for weight in weights}
    others = [p for p in model.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": setting.weight_decay}]
    groups.append({"params": others})
    optimizer = torch.optim.SGD(groups, lr=setting.rate)
    for number in range(len(x)):
        rows = slice(number, number + 1)
        seen: list[Tensor] = []
        optimizer.zero_grad()
        loss = credit.backward(model, x[rows], y[rows], _keeping(seen))
        optimizer.step()
        yield bool(seen[0].argmax() == y[number]), math.isfinite(float(loss))


def _keeping(seen: list[Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy that also keeps the logits."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        seen.append(output.detach())
        return F.cross_entropy(output, y)

    return loss


def _deltas(credit: Credit, model: nn.Module, data: Images) -> dict[str, SiteAngles]:
    return metaplastic.angles(
        credit, model, data.test_x[:TESTED], data.test_y[:TESTED], F.cross_entropy
    )


def _mean_delta(found: dict[str, SiteAngles]) -> float:
    """Over all sites but the last, which receives the error itself."""
    return fmean([site.delta for site in found.values()][:-1])
