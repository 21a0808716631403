"""The state of a lifetime in a model: traces beside the feedback, and the step that writes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from metaplastic.alignment.sleep import Sleep
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.teacher import LossTeacher
from metaplastic.online.credit import Credit
from metaplastic.online.credit_feedback import NORM
from metaplastic.online.losses import usual_loss
from metaplastic.sites.names import bare


class Memory(nn.Module):
    """Traces of every parameter that learns, as buffers, and the count of steps."""

    step: Tensor

    def __init__(self, credit: Credit, model: nn.Module) -> None:
        super().__init__()
        self.network = network_of(credit, model, PlasticNetwork)
        self.sleeps = isinstance(credit.rule.alignment, Sleep)
        device = next(iter(credit.shapes.values())).weight.device
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        own = dict(bare(model).named_parameters())
        for trace in credit.rule.plasticity.traces:
            for name in (*self.network.learned, *self.network.others):
                if name in self.network.computed:
                    like = credit.shapes[self.network.computed[name]].weight
                else:
                    like = own[name]
                self.register_buffer(_key(trace, name), torch.zeros_like(like.detach()))

    def traces(self, credit: Credit) -> dict[str, Tensor]:
        """ "NAME of PARAMETER" -> the trace."""
        return {
            f"{trace} of {name}": getattr(self, _key(trace, name))
            for trace in credit.rule.plasticity.traces
            for name in (*self.network.learned, *self.network.others)
        }

    def apart(self, traces: Mapping[str, Tensor], weights: Iterable[Tensor]) -> dict[str, Tensor]:
        """The traces after a step, copied where they show a weight or another trace.

        Those are written over one by one, and a rule's trace may be the weight as it was.
        """
        shown = {tensor.untyped_storage().data_ptr() for tensor in (*weights, *self.buffers())}
        return {
            name: value.clone() if value.untyped_storage().data_ptr() in shown else value
            for name, value in traces.items()
        }

    def keep(self, traces: Mapping[str, Tensor]) -> None:
        """Write the traces after a step, each of which is `apart`."""
        for name, value in traces.items():
            trace, _, parameter = name.partition(" of ")
            getattr(self, _key(trace, parameter)).copy_(value)

    def restore_norms(self, credit: Credit, model: nn.Module) -> None:
        """Give every forward weight its first norm, if the pathway keeps that."""
        if credit.held is None or not credit.rule.pathway.keeps_norm:
            return
        for site in credit.shapes:
            weight = credit.weight(site, model)
            weight.mul_(credit.held.of(site, NORM) / weight.norm())

    def sleep(self, credit: Credit, model: nn.Module) -> dict[str, Tensor]:
        """The sleeping steps that are due before this step; the buffers before them, if any."""
        held, alignment = credit.held, credit.rule.alignment
        if held is None or not isinstance(alignment, Sleep) or not alignment.due(int(held.step)):
            return {}
        before = {name: buffer.clone() for name, buffer in held.named_buffers()}
        weights = {site: credit.weight(site, model).detach() for site in credit.shapes}
        silent = {site: credit.found.silent_calls(site) for site in credit.shapes}
        held.sleep(credit.rule, weights, silent)
        return before

    @torch.no_grad()
    def awaken(self, credit: Credit, before: Mapping[str, Tensor]) -> None:
        """As if the network had not slept, after a step that was refused."""
        for name, value in before.items():
            assert credit.held is not None
            credit.held.get_buffer(name).copy_(value)


Kind = TypeVar("Kind", bound=PlasticNetwork)


def network_of(credit: Credit, model: nn.Module, kind: type[Kind]) -> Kind:
    """The model as the inner step sees it, with all that learns online."""
    found = credit.found
    at_sites = {name for names in found.parameters.values() for name in names} | set(found.biases)
    others = [
        name
        for name, p in bare(model).named_parameters()
        if p.requires_grad and name not in at_sites
    ]
    return kind(
        bare(model), found, LossTeacher(usual_loss), others=others, output=credit.output,
        computed=True,
    )  # fmt: skip


def _key(trace: str, parameter: str) -> str:
    return f"{trace}|" + parameter.replace(".", "|")
