"""From signals to another model: the changes of one step, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.inner.changes import Changes, changes_of
from metaplastic.inner.site_change import Signals
from metaplastic.inner.step import leveled, presynaptic
from metaplastic.online import fast
from metaplastic.online.credit import Credit
from metaplastic.online.losses import check_finite, refuse
from metaplastic.online.memory import Memory
from metaplastic.online.plan import Plan
from metaplastic.online.recorded_pass import RecordedPass
from metaplastic.sites.activity import Followed
from metaplastic.sites.products import Product


@torch.no_grad()
def learn(
    credit: Credit,
    memory: Memory,
    plan: Plan,
    model: nn.Module,
    recorded: RecordedPass,
    pushes: Mapping[str, Tensor],
    teaching: Tensor,
    answer: Callable[[], Tensor],
    loss: Tensor,
) -> None:
    """Change the model, the feedback and the traces by one step.

    Raises:
        FloatingPointError: if the loss or a change is not finite; nothing has changed then.
    """
    used = recorded.used
    rates = plan.rates(credit, memory.network, len(teaching))
    numbers = plan.numbers()
    one_number = len(numbers) == len(rates) or not credit.rule.plasticity.promises("outer")
    if used and one_number and fast.serves(credit.rule, used, bool(memory.network.computed)):
        before = changes = None
        _fast(credit, memory, plan, recorded, used, pushes, teaching, answer, loss, rates, numbers)
    else:
        before, changes = _general(
            credit, memory, plan, model, recorded, used, pushes, teaching, answer, loss, rates
        )
    _follow(credit, model, plan, before, changes, recorded.products)
    if credit.held is not None:
        credit.held.step += 1
    memory.step += 1


def _fast(
    credit: Credit,
    memory: Memory,
    plan: Plan,
    recorded: RecordedPass,
    used: list[Product],
    pushes: Mapping[str, Tensor],
    teaching: Tensor,
    answer: Callable[[], Tensor],
    loss: Tensor,
    rates: Mapping[str, Tensor],
    numbers: dict[str, float],
) -> None:
    """Outer products, straight into the weights and the feedback that gets every change."""
    rule, held = credit.rule, credit.held
    signals: list[Tensor] = [recorded.received[p.number] for p in used]  # type: ignore[misc]
    parts, whole, signals, gains = fast.parts_of(
        rule, used, signals, recorded.activity(used, answer),
        lambda gains: recorded.back(used, gains), plan.weights, rates, numbers, teaching,
        recorded.outers,
    )  # fmt: skip
    frozen = set(credit.found.frozen)
    parts = [part for part in parts if part.product.site not in frozen]
    whole = [(product, change) for product, change in whole if product.site not in frozen]
    learned = set(memory.network.learned)
    biases = _biases(memory, used, signals, gains, numbers, learned, len(teaching), rule)
    others = [(name, push, _other_rate(numbers, rule)) for name, push in pushes.items()]
    more = [(owner, push, scale) for owner, _, push, scale in biases] + others
    more += [(product.site, change, 1.0) for product, change in whole]
    wrong = fast.not_finite(parts, more, loss)
    if wrong is not None:
        refuse(wrong)
    copies = type(rule.alignment) is KolenPollackAlignment and held is not None
    if copies and held is not None and (decay := rule.alignment.options["decay"]):
        for site, weight in plan.weights.items():
            held.of(site).lerp_(weight, decay)
    for product, change in whole:
        weights = [plan.weights[product.site]]
        weights += [held.of(product.site)] if copies and held is not None else []
        for weight in weights:
            product.view(weight).add_(change)
    for part in parts:
        site = part.product.site
        copy = (held.of(site),) if copies and held is not None else ()
        fast.write(part, plan.weights[site], *copy)
    _add([(name, push, scale) for _, name, push, scale in biases] + others, plan)


def _add(pushes: list[tuple[str, Tensor, float]], plan: Plan) -> None:
    """Add to many small parameters at once, those of one rate together."""
    by_rate: dict[float, tuple[list[Tensor], list[Tensor]]] = {}
    for name, push, scale in pushes:
        parameters, steps = by_rate.setdefault(scale, ([], []))
        parameters.append(plan.named[name])
        steps.append(push)
    for scale, (parameters, steps) in by_rate.items():
        torch._foreach_add_(parameters, steps, alpha=scale)


def _biases(
    memory: Memory,
    used: list[Product],
    signals: list[Tensor],
    gains: list[float],
    numbers: dict[str, float],
    learned: set[str],
    batch: int,
    rule: object,
) -> list[tuple[str, str, Tensor, float]]:
    """Of each product's bias: its site, its name, where it should go, and how far."""
    found = []
    for product, signal, gain in zip(used, signals, gains, strict=True):
        bias, rate = product.bias, numbers.get(product.site + ".bias")
        if bias is None or rate is None or bias.weight not in learned:
            continue
        units = product.operation.units_last(signal)
        push = units.reshape(-1, units.shape[-1]).sum(0)
        if bias.views:
            push = product.scattered_bias(push, memory.network.module.get_parameter(bias.weight))
        plasticity = rule.plasticity  # type: ignore[attr-defined]
        if plasticity.averages_positions:
            rate = rate / max(units[..., 0].numel() // batch, 1)
        found.append((product.site, bias.weight, push, rate * gain))
    return found


def _other_rate(numbers: Mapping[str, float], rule: object) -> float:
    return list(numbers.values())[-1]


def _general(
    credit: Credit,
    memory: Memory,
    plan: Plan,
    model: nn.Module,
    recorded: RecordedPass,
    used: list[Product],
    pushes: Mapping[str, Tensor],
    teaching: Tensor,
    answer: Callable[[], Tensor],
    loss: Tensor,
    rates: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor] | None, dict[str, Tensor] | None]:
    """The changes as the pure step has them, then written.

    For the alignment, if it needs one: all weights as they were, or the changes by site.
    """
    rule, network = credit.rule, memory.network
    signals: list[Tensor] = [recorded.received[p.number] for p in used]  # type: ignore[misc]
    if rule.pathway.level:
        signals = [leveled(p, s, teaching) for p, s in zip(used, signals, strict=True)]
    back: list[Tensor] = []
    if rule.plasticity.two_sided and isinstance(recorded.mode, Followed):
        mode, held = recorded.mode, credit.held
        ways = [mode.way_back(mode.kept_input[p.number]) for p in used]
        feedback = {} if held is None else {site: held.of(site) for site in held.names}
        own = {site: credit.weight(site, model).detach() for site in credit.shapes}
        back = presynaptic(rule, network, own, feedback, used, ways, signals, teaching)
        back = [b.detach() for b in back]
    values: dict[str, Tensor] = dict(plan.named)
    for product in used:
        name = network.parameter(product.site)
        if name in network.computed:
            values[name] = product.whole
    named = {name: torch.zeros_like(plan.named[name]) for name in network.others}
    activity = recorded.activity(used, answer)
    seen = Signals(used, signals, activity, back, {**named, **pushes}, len(teaching))
    traces = memory.traces(credit)
    done = changes_of(rule, network, values, traces, memory.step + 1, rates, seen)
    _into_parameters(credit, network.computed, plan, done, values)
    check_finite(loss, done.weights.items(), network.site_of)
    before = changes = None
    if rule.alignment.sees_change:
        if network.computed or rule.alignment.reads_before:
            before = {site: credit.weight(site, model).detach().clone() for site in credit.shapes}
        else:
            names = {site: network.parameter(site) for site in credit.shapes}
            changes = {site: done.weights[n] for site, n in names.items() if n in done.weights}
    kept = memory.apart(done.traces, plan.named.values())
    for name, change in done.weights.items():
        plan.named[name].add_(change)
    memory.keep(kept)
    return before, changes


def _into_parameters(
    credit: Credit,
    computed: Mapping[str, str],
    plan: Plan,
    done: Changes,
    values: Mapping[str, Tensor],
) -> None:
    """A change of a computed weight becomes one of the parameters that it is computed from."""
    for name, site in computed.items():
        if name not in done.weights:
            continue
        change = done.weights.pop(name)
        parameters = [p for p in credit.found.parameters[site] if plan.named[p].requires_grad]
        parts = torch.autograd.grad(
            values[name], [plan.named[p] for p in parameters], change, allow_unused=True,
            retain_graph=True,
        )  # fmt: skip
        for parameter, part in zip(parameters, parts, strict=True):
            if part is not None:
                had = done.weights.get(parameter)
                done.weights[parameter] = part if had is None else had + part


def _follow(
    credit: Credit,
    model: nn.Module,
    plan: Plan,
    before: dict[str, Tensor] | None,
    changes: dict[str, Tensor] | None,
    products: Sequence[Product],
) -> None:
    """The alignment rule, after the weights have changed."""
    held, alignment = credit.held, credit.rule.alignment
    if held is None or not (alignment.follows or alignment.noise):
        return
    if alignment.sees_change and before is None and changes is None:
        return  # it got every change already
    after = plan.weights or {site: credit.weight(site, model).detach() for site in credit.shapes}
    seen: dict[str, list[Product]] = {}
    for product in products if alignment.sees_inputs else ():
        seen.setdefault(product.site, []).append(product)
    held.follow(credit.rule, after, before, seen, everywhere=True, changes=changes)
