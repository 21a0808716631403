"""A picture of a rule: what it learned, and how a small network learns by it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.command.errors import CommandError
from metaplastic.command.listing import Found
from metaplastic.online.plastic_module import PlasticModule
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import TERMS
from metaplastic.support.optional import need
from metaplastic.support.seeding import global_seed, seeded

FEW = 12  # numbers that have a bar each
EXAMPLES, CLASSES, INPUTS, WIDTH = 300, 5, 32, 48
WINDOW = 30  # examples that an accuracy is the mean of


def draw(found: Found, path: Path) -> None:
    """Write the picture, in the format that the file's ending names.

    Raises:
        CommandError: for an ending that is no format, a folder that is not there, or a rule that
            has neither numbers nor signals to draw.
        MissingPackageError: without matplotlib.
    """
    figures = need("matplotlib.figure", "--figure", "matplotlib")
    need("matplotlib.backends.backend_agg", "--figure", "matplotlib")
    numbers = learned_numbers(found)
    curves = learning_curves(found)
    if not numbers and not curves:
        raise CommandError(
            f"{found.name} has no learned numbers, and no signals with which a network learns in "
            "place, so there is nothing to draw; leave out --figure."
        )
    panels = bool(numbers) + bool(curves)
    figure = figures.Figure(figsize=(5.2 * panels, 3.6), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    if numbers:
        _draw_numbers(axes[0], numbers)
    if curves:
        _draw_curves(axes[-1], curves)
    figure.suptitle(f"{found.name}: {' + '.join(found.rule.parts)}", fontsize=10)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            f"--figure {path} cannot be written ({' '.join(str(reason).split())}); give a file "
            "such as rule.png in a folder that is there."
        ) from error


def learned_numbers(found: Found) -> dict[str, Tensor]:
    """The learned numbers of the plasticity rule: by term of a polynomial, else rates by site."""
    plasticity = found.rule.plasticity
    if isinstance(plasticity, Polynomial):
        values = plasticity.values().items()
        return {TERMS[name].text: torch.tensor([value]) for name, value in values}
    if found.learner is None:
        return {}
    sites = found.learner.sites
    return {site.name: plasticity.rate(site).detach().flatten() for site in sites}


def learning_curves(found: Found) -> dict[str, list[float]]:
    """By rule: the accuracy of a small network before it learns from each example; {} if it cannot.

    Points around centers, a network of three layers of tanh, one example at a time; beside it the
    same network by backpropagation.
    """
    rules: dict[str, Any] = {found.name: found.name if found.kind else found.rule}
    if found.name not in ("bp", "backprop"):
        rules["backprop, rate 0.01"] = "bp"
    curves = {}
    for name, rule in rules.items():
        try:
            curves[name] = _curve(rule)
        except (ValueError, RuntimeError, FloatingPointError):
            if name == found.name:
                return {}
    return curves


def _curve(rule: Any) -> list[float]:
    with global_seed(torch.device("cpu"), "figure"):
        model = nn.Sequential(
            nn.Linear(INPUTS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(),
            nn.Linear(WIDTH, CLASSES),
        )  # fmt: skip
    generator = seeded(0, "figure")
    centers = torch.randn(CLASSES, INPUTS, generator=generator)
    given = rule if isinstance(rule, str) else copy.deepcopy(rule)
    net, right = PlasticModule(model, given, example=centers[:1]), []
    for _ in range(EXAMPLES):
        label = torch.randint(CLASSES, (1,), generator=generator)
        x = centers[label] + 1.5 * torch.randn(1, INPUTS, generator=generator)
        right.append(float(net(x).argmax() == label))
        net.learn(label)
    sums = torch.tensor([0.0, *right]).cumsum(0)
    return [float(v) for v in (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW]


def _draw_numbers(axes: Any, numbers: dict[str, Tensor]) -> None:
    if sum(value.numel() for value in numbers.values()) <= FEW:
        axes.barh(list(numbers), [float(value.mean()) for value in numbers.values()])
        axes.axvline(0, color="black", linewidth=0.8)
        axes.invert_yaxis()
        axes.set_xlabel("coefficient")
        return
    for name, value in numbers.items():
        axes.hist(value.numpy(), bins=40, alpha=0.7, label=f"site {name}")
    axes.set_xlabel("rate")
    axes.set_ylabel("how many rates")
    axes.legend(fontsize=7)


def _draw_curves(axes: Any, curves: dict[str, list[float]]) -> None:
    for name, curve in curves.items():
        axes.plot(range(WINDOW, EXAMPLES + 1), [100 * v for v in curve], label=name)
    axes.axhline(100 / CLASSES, color="gray", linewidth=0.8, linestyle=":", label="chance")
    axes.set_xlabel("examples, one at a time")
    axes.set_ylabel(f"accuracy of the last {WINDOW}, %")
    axes.set_ylim(0, 102)
    axes.legend(fontsize=7)
