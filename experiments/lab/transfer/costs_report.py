"""The table of costs: a rule, SGD and Adam in each network, for images of each shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from experiments.lab.figures.tables import as_markdown
from experiments.lab.networks.transfer_networks import network
from experiments.lab.transfer.cells import ADAM, RULE, SGD
from experiments.lab.transfer.costs import Cost, by_optimizer, by_rule, cost
from metaplastic import LearningRule, StreamSpec

MILLION = 1e6
COUNTED = (
    "Cost, counted while each learner runs, not compiled, one example a step: multiply-adds of "
    "matrix products and convolutions, forward, backward and of the change; and bytes moved, every "
    "tensor that an operation reads and every one that it writes, as if nothing stayed in a cache. "
    "The start is the making of the learner and what its first step costs beyond a later one; of a "
    "rule that sleeps, that is its mirror phase, whose noise inputs are those of all sites "
    "together; that of Adam writes its traces, and SGD has none. M is a million, MB a million "
    "bytes. Then, of the rule: its start in steps, by multiply-adds; the bytes of a step by those "
    "of the others; and its work over {examples} examples, start included, by SGD's."
)


def costs(
    rule: LearningRule, networks: Sequence[str], specs: Mapping[str, StreamSpec], examples: int
) -> tuple[str, list[dict[str, Any]]]:
    """A row for each network and shape of images, with what is counted; and the numbers.

    Args:
        specs: of the streams, by their images.
        examples: of a lifetime.
    """
    starts = {
        SGD: by_optimizer(torch.optim.SGD), ADAM: by_optimizer(torch.optim.Adam),
        RULE: by_rule(rule),
    }  # fmt: skip
    shapes: dict[tuple[tuple[int, ...], int], list[str]] = {}
    for images, spec in specs.items():
        shapes.setdefault((tuple(spec.input_shape), spec.outputs), []).append(images)
    rows, numbers = [], []
    for (shape, outputs), images_of in shapes.items():
        for name in networks:
            models = {label: network(name, shape, outputs, 0) for label in starts}
            found = {label: cost(starts[label], models[label], shape) for label in starts}
            parameters = sum(p.numel() for p in models[SGD].parameters())
            where = {"images": ", ".join(images_of), "network": name}
            rows.append({**where, "parameters": f"{parameters:,}", **_cells(found, examples)})
            numbers.append({
                **where, "parameters": parameters, **{k: asdict(v) for k, v in found.items()},
            })  # fmt: skip
    said = COUNTED.format(examples=examples)
    return f"{said}\n\n{as_markdown(rows, order=())}", numbers


def _cells(found: Mapping[str, Cost], examples: int) -> dict[str, str]:
    cells = {}
    short = {label: label.removeprefix("backprop, ") for label in found}
    for label, one in found.items():
        cells[f"{short[label]}, multiply-adds"] = f"{one.step.multiply_adds / MILLION:.3f} M"
    for label, one in found.items():
        cells[f"{short[label]}, bytes"] = f"{one.step.bytes / MILLION:.2f} MB"
    for label in (ADAM, RULE):  # SGD keeps nothing from one step to the next
        start = found[label].start
        cells[f"{short[label]}, start"] = (
            f"{start.multiply_adds / MILLION:.0f} M, {start.bytes / MILLION:.1f} MB"
        )
    own, sgd, adam = (found[label] for label in (RULE, SGD, ADAM))
    life, other = own.of(examples), sgd.of(examples)
    products = life.multiply_adds / other.multiply_adds
    return cells | {
        "mirror steps": str(own.mirror_steps),
        "noise inputs": f"{own.noise_inputs:,}",
        "start in steps": f"{own.start.multiply_adds / own.step.multiply_adds:.0f}",
        "bytes by SGD's": f"{own.step.bytes / sgd.step.bytes:.1f}",
        "bytes by Adam's": f"{own.step.bytes / adam.step.bytes:.1f}",
        f"over {examples}, multiply-adds by SGD's": f"{products:.2f}",
        f"over {examples}, bytes by SGD's": f"{life.bytes / other.bytes:.1f}",
    }
