"""A rule in a network of another package: what it reaches, and what the network learns by it."""

from __future__ import annotations

import math
import time
import warnings
from argparse import Namespace
from collections.abc import Iterator
from statistics import fmean, median

import torch
from torch import Tensor

from metaplastic.command.errors import CommandError
from metaplastic.command.images import listed, patterns, read
from metaplastic.command.listing import Found, rule_named
from metaplastic.command.networks import network
from metaplastic.online.plastic_module import PlasticModule
from metaplastic.support.seeding import global_seed

LISTED = 12  # names in a line


def adapt(options: Namespace) -> Iterator[str]:
    """Learn the examples one by one; lines of what happens.

    Raises:
        CommandError: for numbers out of range, a rule that does not fit the network, images that
            cannot be read, or learning that diverges.
    """
    _check(options)
    found = rule_named(options.rule)
    folder = None if options.data is None else listed(options.data)
    classes = options.classes if folder is None else len(folder.classes)
    with global_seed(torch.device("cpu"), options.seed, "network"):
        model, package, own_size = network(options.model, classes, options.pretrained)
    size = options.size or own_size
    first = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(options.seed))
    net = plugged(found, model.train(), first, options)
    yield (
        f"{options.model} of {package}, {classes} outputs, images 3 x {size} x {size}; "
        f"rule {found.name}."
    )
    yield from reached(net)
    before = {name: value.detach().clone() for name, value in net.model.named_parameters()}
    if folder is None:
        examples = patterns(classes, options.examples, size, options.seed)
        source = f"patterns in noise, {classes} classes"
    else:
        examples = read(folder, options.examples, size, options.seed)
        source = f"images of {options.data}, classes {_some(list(folder.classes))}"
    right, spent = [], []
    for number, (x, y) in enumerate(examples, 1):
        start = time.perf_counter()
        right.append(_step(net, x, y, number))
        spent.append(time.perf_counter() - start)
    yield from changed(net, before)
    quarter = max(1, len(right) // 4)
    yield (
        f"learned {len(right)} examples, one at a time ({source}), in {1000 * median(spent):.0f} "
        "ms each (median)"
    )
    yield (
        f"accuracy before learning from each: {_percent(right[:quarter])} of the first {quarter}, "
        f"{_percent(right[-quarter:])} of the last {quarter} (chance: {100 / classes:.0f} %)"
    )


def plugged(
    found: Found, model: torch.nn.Module, example: Tensor, options: Namespace
) -> PlasticModule:
    """The network with the rule in it.

    Raises:
        CommandError: if the rule cannot be used there, or the network not run on such an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is not reached is said by `reached`
            if found.kind is not None:
                return PlasticModule(
                    model, found.name, example=example, rate=options.rate, seed=options.seed
                )
            net = PlasticModule(model, found.rule, example=example, seed=options.seed)
    except Exception as error:  # of another package's network: anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(
            f"{found.name} cannot be put into {options.model} with images of "
            f"{example.shape[-1]} pixels: {reason[:400]}"
        ) from error
    net.rate_scale = 1.0 if options.rate is None else options.rate
    return net


def reached(net: PlasticModule) -> Iterator[str]:
    """What the rule reaches, and what it does not, with the reason."""
    sites = net.sites
    yield f"reached: {len(sites.names)} sites, {_some(sites.names)}"
    where: dict[str, list[str]] = {}
    for site, what in net.transplant.report.items():
        where.setdefault(what, []).append(site)
    for what, names in where.items():
        yield f"  {what}: {len(names)}"
    if not sites.unreached:
        yield "not reached: nothing"
    for name, why in sites.unreached.items():
        yield f"not reached: {name}, {why}"


def changed(net: PlasticModule, before: dict[str, Tensor]) -> Iterator[str]:
    """How many numbers learning changed, and which parameters it did not."""
    now = dict(net.model.named_parameters())
    still = [name for name, value in before.items() if torch.equal(value, now[name].detach())]
    total = sum(value.numel() for value in before.values())
    moved = total - sum(before[name].numel() for name in still)
    yield (
        f"changed: parameters with {moved:,} of {total:,} numbers"
        + (f"; as they were: {_some(still)}" if still else "")
    )


def _step(net: PlasticModule, x: Tensor, y: Tensor, number: int) -> bool:
    """Whether the network named the example before it learned from it."""
    try:
        answer = net(x)
        right = bool((answer.argmax(-1) == y).all())
        net.learn(y)
    except FloatingPointError as error:
        raise CommandError(
            f"learning diverged at example {number} ({error}); give a smaller --rate."
        ) from error
    except Exception as error:  # of another package's network: anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"example {number} cannot be learned: {reason[:400]}") from error
    return right


def _check(options: Namespace) -> None:
    for name, least in (("examples", 1), ("classes", 2), ("size", 8)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise CommandError(f"--{name} is {value}; give at least {least}.")
    rate = options.rate
    if rate is not None and not (math.isfinite(rate) and rate >= 0):
        raise CommandError(f"--rate is {rate}; give a finite number of at least 0.")


def _percent(right: list[bool]) -> str:
    return f"{100 * fmean(right):.0f} %"


def _some(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
