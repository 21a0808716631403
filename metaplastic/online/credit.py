"""Credit assignment for any module: gradients by a rule's own feedback, in the place of backprop's.

credit = metaplastic.credit("symmetric_alignment", model, example=x)
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss = credit.backward(model, x, y, loss_fn)  # fills .grad; the feedback follows
opt.step()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.online.credit_feedback import Feedback
from metaplastic.online.gradients import by_inverses, finish, one_number, set_aside
from metaplastic.pathways.inverse import InversePathway
from metaplastic.rules import rule_of
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.computed import ComputedWeights
from metaplastic.sites.found import Sites
from metaplastic.sites.names import bare
from metaplastic.sites.outputs import Output, call, pick
from metaplastic.sites.products import Product
from metaplastic.sites.reroute import Carrier, Carry, rerouted, runnable
from metaplastic.sites.shape import site_shapes
from metaplastic.sites.survey import find_sites, warn_of_unreached

Loss = Callable[[Any, Any], Tensor]


class Credit(nn.Module):
    """A rule at the sites of one model: its feedback weights, as buffers, and what they do.

    `sites` maps each site's name to the first site of the same weight: they share feedback.
    `unreached` says of each weight that no rule reaches why. The model is handed in anew at every
    call and is never changed: a copy, or the model inside DistributedDataParallel or
    `torch.compile`, will do.
    """

    def __init__(
        self,
        rule: LearningRule,
        model: nn.Module,
        example: Any,
        seed: int,
        leave: Collection[str],
        output: Output = None,
    ) -> None:
        super().__init__()
        self.rule, self.output = rule, output
        self.found: Sites = find_sites(bare(model), example, leave=leave, output=output)
        warn_of_unreached(self.found.unreached, bare(model))
        self.shapes = {shape.name: shape for shape in site_shapes(self.found)}
        if not rule.attached:  # else by a learner, whose coefficients it keeps
            rule.alignment.attach(list(self.shapes.values()))
            rule.attached = True
        own = rule.pathway.has_feedback
        self.held = Feedback(rule, list(self.shapes.values()), seed) if own else None
        self._computed = ComputedWeights(self.found, example)
        self._errors: Tensor | None = None
        rule.to(next(iter(self.shapes.values())).weight.device)

    @property
    def sites(self) -> dict[str, str]:
        """Every site's name -> the first site of the same weight."""
        return self.found.owners

    @property
    def unreached(self) -> dict[str, str]:
        """Weights that no rule reaches, by parameter -> why."""
        return self.found.unreached

    def feedback(self, name: str) -> Tensor:
        """A site's feedback weights."""
        if self.held is None:
            raise ValueError(f"{type(self.rule).__name__} has no feedback weights.")
        return self.held.of(self.sites[name])

    def weight(self, name: str, model: nn.Module) -> Tensor:
        """A site's weight in a model, computed where it is a computed one."""
        site = self.sites[name]
        if not self.found.is_derived(site):
            return bare(model).get_parameter(self.found.parameters[site][0])
        return self._computed.of(bare(model))[site]

    def through(self, name: str, model: nn.Module) -> Tensor:
        """What carries errors back through a site: of the shape of its weight."""
        weight = self.weight(name, model)
        back = weight if self.held is None else self.feedback(name).to(weight)
        return self.rule.pathway.carrier(weight, back)

    def backward(self, model: nn.Module, x: Any, y: Any, loss_fn: Loss) -> Tensor:
        """Run the model, add to every parameter's `.grad`, let the feedback follow; the loss.

        Sites get `signal x^T` with the signal that came through the feedback; all other parameters
        what the same signals give them.

        Args:
            x: handed to the model as it is, as `*x` if a tuple, as `**x` if a dict.
            loss_fn: of the model's output and y; one number.

        Raises:
            ValueError: for a loss that is not one number, or an output that is not one tensor where
                the rule sends the output's error.
        """
        if isinstance(self.rule.pathway, InversePathway):
            return by_inverses(self.rule.pathway, bare(model), x, y, loss_fn)
        if self.held is not None:
            self.held.prepare(self.rule, lambda: self._weights(model), self.found)
        seen: dict[str, list[Product]] = {}
        had = set_aside(self.rule, self._own_weights(model))
        with self.rerouted(model, seen if self.rule.alignment.sees_inputs else None):
            output = call(runnable(model), x)
            loss = self._send(output, y, loss_fn)
        finish(self.rule, had)
        how = self.rule.alignment
        if self.held is not None and (how.follows or how.noise) and not how.sees_change:
            self.held.follow(self.rule, self._weights(model), None, seen, everywhere=False)
            self.held.step += 1
        return loss

    @contextmanager
    def rerouted(
        self, model: nn.Module, seen: dict[str, list[Product]] | None = None
    ) -> Iterator[None]:
        """For a training loop of one's own: forward and backward within are this rule's.

        Not for direct rules, which must know the output's error. The feedback follows only in
        `backward`.
        """

        def watch(product: Product, out: Tensor) -> None:
            if product.x.requires_grad and seen is not None:  # else nothing is carried from here
                product.x = product.x.detach()
                seen.setdefault(product.site, []).append(product)

        shown = None if seen is None else watch
        carries = not (self.rule.pathway.is_exact or self.rule.pathway.direct)
        through = self.carriers() if carries else None
        with rerouted(model, self.found, self.carrier(model), shown, carrier=through):
            yield

    def carrier(self, model: nn.Module) -> Carry | None:
        """What sends a signal from a product's output to its input; None where backprop does."""
        if self.rule.pathway.is_exact:
            return None
        if self.rule.pathway.direct:
            return lambda product, _, like: self._direct(product, like)
        of = self.carriers()
        return lambda product, signal, like: product.carry(signal, of(product).to(signal), like)

    def carriers(self) -> Carrier:
        """The weights that carry signals back, product by product; each site's once."""
        weights: dict[str, Tensor] = {}

        def carrier(product: Product) -> Tensor:
            site = product.site
            if site not in weights:
                weight = product.whole.detach()
                back = weight if self.held is None else self.feedback(site).to(weight)
                weights[site] = self.rule.pathway.carrier(weight, back)
            return weights[site]

        return carrier

    def detach(self) -> None:
        """Let go of everything that is kept of the last pass."""
        self._errors = None

    def _own_weights(self, model: nn.Module) -> list[nn.Parameter]:
        names = [self.found.parameters[s][0] for s in self.shapes if not self.found.is_derived(s)]
        return [bare(model).get_parameter(name) for name in names]

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        return {name: self.weight(name, model).detach() for name in self.shapes}

    def _send(self, output: Any, y: Any, loss_fn: Loss) -> Tensor:
        if not self.rule.pathway.direct:
            loss = one_number(loss_fn(output, y))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        if not isinstance(output, Tensor):
            raise ValueError(
                f"The model returned a {type(output).__name__}; a direct rule sends the error of "
                "one output tensor. Return a tensor, or use a sequential rule."
            )
        leaf = output.detach().requires_grad_()
        loss = one_number(loss_fn(leaf, y))
        (self._errors,) = torch.autograd.grad(loss, leaf)
        output.backward(self._errors)  # type: ignore[no-untyped-call]
        self._errors = None
        return loss.detach()

    def _direct(self, product: Product, like: Tensor) -> Tensor:
        if self._errors is None:
            raise RuntimeError(
                "A direct rule sends the output's error, which only Credit.backward knows; call it "
                "instead of loss.backward()."
            )
        sent = self.sent(product.site, self._errors, product.examples_first(like))
        return product.examples_first(sent)

    def sent(self, name: str, errors: Tensor, like: Tensor) -> Tensor:
        """What a direct rule sends of the output's errors to the input of a site, shaped `like`.

        Examples are the first axis of both.
        """
        return self.rule.pathway.sent(errors, self.feedback(name), self.shapes[name], like)

    def picked(self, output: Any) -> Tensor:
        """What of the model's output is learned from."""
        return pick(output, self.output)

    def extra_repr(self) -> str:
        lost = "; ".join(f"{name} ({why})" for name, why in self.unreached.items())
        return f"sites: {', '.join(self.sites)}" + (f", out of reach: {lost}" if lost else "")


def credit(
    rule: str | LearningRule,
    model: nn.Module,
    *,
    example: Any,
    seed: int = 0,
    leave: Collection[str] = (),
    output: Output = None,
    **options: Any,
) -> Credit:
    """A learning rule for any model: finds the sites and makes the feedback weights.

    Args:
        rule: a name or alias in `metaplastic.rules`, or a rule of your own.
        example: a minibatch of inputs (a tuple for several, a dict for named ones), to see which
            sites are used and what shapes they meet. The model is run on it once, in eval mode.
        seed: of the random feedback and of all noise.
        leave: modules that keep their exact gradient, by dotted name.
        output: what of the model's output is learned from, where it is not one tensor: a key, a
            position, an attribute, or a function.
        options: of the rule.

    Raises:
        ValueError: for an unknown rule or option, a number out of its range, a model without sites,
            or one that the rule cannot serve; each says what to do.
    """
    return Credit(rule_of(rule, options), model, example, seed, leave, output)
