"""The sites of a module, found by running it once on an example, and what no rule reaches."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.sites.found import Sites
from metaplastic.sites.names import left_out, shared_names, site_name
from metaplastic.sites.outputs import Output, call, pick
from metaplastic.sites.products import Source
from metaplastic.sites.surveying import HARMLESS, Survey


class UnreachedWarning(UserWarning):
    """A trainable weight that no rule reaches: it keeps its exact gradient, or gets none."""


def sources_of(
    named: Mapping[str, Tensor], buffers: Mapping[str, Tensor], sites: Mapping[str, str]
) -> list[tuple[Tensor, Source]]:
    """Parameters and buffers as they are used in a pass; `sites` maps parameters to sites."""
    known = [(tensor, Source(name, sites.get(name))) for name, tensor in named.items()]
    return known + [(tensor, Source(f"buffer:{name}", None)) for name, tensor in buffers.items()]


def find_sites(
    model: nn.Module, example: Any, *, leave: Collection[str] = (), output: Output = None
) -> Sites:
    """Run the model once on an example, in eval mode, and find its sites.

    Args:
        example: a minibatch of inputs: a tensor, a tuple of several, or a dict of named ones.
        leave: modules that keep their exact gradient, by dotted name, with all that is in them.
        output: what of the output is learned from; see `outputs.pick`.

    Raises:
        ValueError: for a name in `leave` that is not in the model, a module whose weights are
            inside one kernel, a lazy weight, an example without a batch axis, no site at all.
    """
    skipped = left_out(model, leave)
    named = {name: p for name, p in model.named_parameters() if not name.startswith(skipped)}
    sites = {name: site_name(name) for name, p in named.items() if p.dim() > 1}
    everything = dict(model.named_parameters())
    found = Sites()
    mode = Survey(sources_of(everything, dict(model.named_buffers()), sites), found)
    with as_in_use(model), torch.enable_grad():
        with mode:
            answer = call(model, example)
        picked = pick(answer, output)
        used = _used(picked, named)
    found.output = picked.shape
    if not found.likes:
        raise ValueError(
            f"This {type(model).__name__} has no product of an input with a weight of two axes"
            f"{' outside ' + ', '.join(sorted(leave)) if leave else ''}, so there is no site where "
            "an error could take another way; train it by backprop."
        )
    _name_unreached(found, mode, named, used)
    found.frozen = [
        s for s, ps in found.parameters.items() if not any(_trains(named, p) for p in ps)
    ]
    for name, first in shared_names(model).items():
        owner = sites.get(first)
        if owner in found.likes and not name.startswith(skipped):
            found.owners[site_name(name)] = owner
    found.owners = {
        n: o for o in found.likes for n in [o, *found.owners] if found.owners.get(n, n) == o
    }
    return found


def warn_of_unreached(unreached: Mapping[str, str], model: nn.Module) -> None:
    """Name every trainable weight that no rule reaches, in one warning."""
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    if lost := {name: why for name, why in unreached.items() if name in trainable}:
        listed = "; ".join(f"{name} ({why})" for name, why in lost.items())
        warnings.warn(
            f"No rule reaches {len(lost)} trainable weight{'s' if len(lost) > 1 else ''} of this "
            f"{type(model).__name__}: {listed}. Freeze them, name their modules in leave=, or hand "
            "in an example that uses them.",
            UnreachedWarning,
            stacklevel=4,
        )


def _trains(named: dict[str, nn.Parameter], name: str) -> bool:
    return name in named and named[name].requires_grad


def _used(output: Tensor, named: dict[str, nn.Parameter]) -> set[str] | None:
    """The trainable parameters that the output depends on; None where it is unknown."""
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if not output.requires_grad or not trainable:
        return None
    try:
        found = torch.autograd.grad(output.sum(), list(trainable.values()), allow_unused=True)
    except RuntimeError:  # something was written over, which whoever learns from it will say
        return None
    return {name for name, g in zip(trainable, found, strict=True) if g is not None}


def _name_unreached(
    found: Sites, mode: Survey, named: dict[str, nn.Parameter], used: set[str] | None
) -> None:
    at_sites = {name for names in found.parameters.values() for name in names}
    for name, parameter in named.items():
        odd = mode.uses.get(name, set()) - HARMLESS
        if parameter.dim() < 2 or (name in at_sites and not odd):
            continue
        if not parameter.requires_grad:
            found.unreached[name] = "frozen"
        elif name in mode.blocked:
            found.unreached[name] = "used under torch.no_grad() or detached"
        elif odd:
            found.unreached[name] = f"inside {', '.join(sorted(odd))}, for which there is no rule"
        elif used is not None and name not in used:
            found.unreached[name] = "never used on the example"
        elif name not in mode.uses:
            found.unreached[name] = "inside an operation that cannot be seen"


@contextmanager
def as_in_use(model: nn.Module) -> Iterator[None]:
    """In eval mode, with the state of random generators and modes put back afterwards."""
    training = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        for module, was in training.items():
            module.training = was
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers and not torch.equal(buffer, buffers[name]):
                    buffer.copy_(buffers[name])
