"""Any network learning in place, one minibatch or one example after another, by a local rule.

    net = metaplastic.PlasticModule(model, "feedback_alignment", example=x, rate=0.01)
    answer = net(x)
    loss = net.learn(y)

Neither an optimizer nor `.backward()` is needed. The signals come by a credit-assignment rule; what
a site does about them is a plasticity rule: the delta rule, or one that was meta-learned.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.inner.learner import OnlineLearner
from metaplastic.inner.rule import LearningRule
from metaplastic.online.credit import Credit, Loss, credit
from metaplastic.online.plug_loss import check_finite, usual_loss
from metaplastic.online.plug_watch import Call, watched
from metaplastic.online.transplant import Transplant, site_of, transplant
from metaplastic.pathways.base import Backprop
from metaplastic.pathways.direct_random import RandomDirect
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.base import Delta, PlasticityRule
from metaplastic.rules.backprop import Backpropagation
from metaplastic.rules.direct_feedback_alignment import DirectFeedbackAlignment
from metaplastic.rules.feedback_alignment import FeedbackAlignment
from metaplastic.sites.credit_rule import CreditRule
from metaplastic.stacked.site import Site
from metaplastic.support.level import gain
from metaplastic.support.ranges import check_number


class PlasticModule(nn.Module):
    """A model and a rule: `net(x)` answers and remembers, `net.learn(y)` changes the sites.

    Weights and biases of sites change; every other parameter stays. In eval mode `net(x)` is the
    model and nothing is remembered.

    Args:
        model: any module; it is changed in place and is `net.model`.
        rule: a name in `metaplastic.rules`, a `CreditRule`, a `Credit`, or a `LearningRule` with
            its own plasticity, such as `from_pretrained(folder).rule`.
        example: a minibatch of inputs, as for `credit`.
        plasticity: what sites do; the delta rule at `rate` unless given, or in the rule.
        rate: of the delta rule, 0.01 unless given; refused beside a plasticity, which has its own.
        loss_fn: of answer and target, summed over examples; by default cross-entropy for targets
            that are whole numbers, and half the squared error for others, shaped as the answer.
        seed, leave: as for `credit`.

    `net.pace`, 1 at first, multiplies every rate and may be set at any time.

    `net.transplant` says, site by site, what of the plasticity's rates was copied or averaged, and
    that feedback was redrawn.

    Raises:
        ValueError: as `credit`, for a site that the plasticity rule cannot serve, and for a rate
            that is negative, not finite, or beside a plasticity.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: str | CreditRule | Credit | LearningRule,
        *,
        example: Any = None,
        plasticity: PlasticityRule | None = None,
        rate: float | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
        leave: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.model, self.loss_fn, self.pace, self.level = model, loss_fn, 1.0, False
        if isinstance(rule, OnlineLearner):
            raise ValueError(
                "rule is a whole OnlineLearner, with a network of its own; hand in its rule, as in "
                "from_pretrained(folder).rule."
            )
        if isinstance(rule, LearningRule):
            if rule.hidden_multiplier != 1.0 or rule.reduction != "mean":
                raise ValueError(
                    "This rule has a hidden_multiplier or sums over the batch, which depend on the "
                    "network it was learned in; learn one with hidden_multiplier=1 and 'mean'."
                )
            self.level = getattr(rule.feedback, "level", False)
            plasticity, rule = plasticity or rule.plasticity, _pathway(rule)
        if rate is not None:
            check_number("rate", rate)
            if plasticity is not None:
                raise ValueError(
                    f"rate is {rate}, but the {type(plasticity).__name__} given or in the rule has "
                    "rates of its own; leave rate out, and set net.pace to multiply them."
                )
        if isinstance(rule, Credit):
            self.credit = rule
        else:
            if example is None:
                raise ValueError("example is missing; hand in a minibatch of inputs to find sites.")
            self.credit = credit(rule, model, example=example, seed=seed, leave=leave)
        if self.credit.rule.route == "inverse":
            raise ValueError(
                "This rule carries targets through inverses and has no signals at its sites; use "
                "Credit.backward and an optimizer."
            )
        self.transplant: Transplant = transplant(
            plasticity or Delta(rate=0.01 if rate is None else rate, per="shared", learn=False),
            model,
            self.credit,
        )
        self.plasticity = self.transplant.plasticity
        self._calls: list[Call] = []
        self._answer: Any = None  # with its graph
        self._shown: Any = None  # the same, to tell the site that gave it

    def forward(self, *x: Any) -> Any:
        """The model's answer; in train mode what it takes to learn from it is kept."""
        if not self.training:
            return self.model(*x)
        self._calls = []
        with torch.enable_grad(), watched(self.model, self.credit, self._calls):
            self._answer = self.model(*x)
        return self._answer.detach()

    def learn(self, y: Tensor) -> Tensor:
        """Change every site by what it heard of the last answer's loss; the mean loss.

        Whatever is raised, no weight has changed; an answer whose target was refused may be given
        another. Statistics that the model keeps of its inputs, such as BatchNorm's, moved in
        `net(x)`.

        Raises:
            RuntimeError: if there is no answer to learn from.
            ValueError: without a loss_fn, for a target that does not fit the answer.
            FloatingPointError: if the loss, or the change of a site, is not finite.
        """
        if self._answer is None:
            raise RuntimeError(
                "There is no answer to learn from; call net(x) first, in train mode."
            )
        answer, calls = self._answer, self._calls
        leaf = answer.detach().requires_grad_()
        with torch.enable_grad():
            loss = (self.loss_fn or usual_loss)(leaf, y)
            (errors,) = torch.autograd.grad(loss, leaf)
        self._shown, self._answer, self._calls = answer, None, []
        for call in calls:
            if call.x._version != call.version:
                raise RuntimeError(
                    f"The input of site {call.name!r} was written over after it was used, so what "
                    "its synapses saw is lost; use operations that are not in place."
                )
        signals = self.credit.signals(answer, errors, [call.edge for call in calls])
        for call, signal in zip(calls, signals, strict=True):
            signal = -signal  # where it should go, not where the loss rises
            if self.level:
                signal = signal * gain(units(signal), units(errors)).squeeze()
            call.signal = signal
        batch = len(answer)
        with torch.no_grad():
            changes = [
                (call, self._change(call, batch, -errors, first=call is calls[0])) for call in calls
            ]
            check_finite(loss, ((call.name, part) for call, both in changes for part in both))
            for call, (weight, bias) in changes:
                call.module.weight += weight
                if bias is not None and call.module.bias is not None:
                    call.module.bias += bias
        return loss.detach() / batch

    def _change(
        self, call: Call, batch: int, error: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor | None]:
        rule, signal = self.plasticity, call.signal
        site = site_of(call.name, call.module)
        scale, positions = self.pace / batch, signal.numel() // (batch * len(call.module.weight))
        if rule.averages_positions:
            scale /= positions
        rate = rule.rate(site) * scale
        if type(rule) is Delta:
            weight = rate * call.meeting.outer(signal, call.x, call.module.weight).flatten(1)
        else:
            weight = self._by_rule(site, call, rate, error, first=first)
        bias = rule.bias_rate(site) * scale * units(signal)[0].sum(0) if rule.moves_bias else None
        return weight.view_as(call.module.weight), bias

    def _by_rule(
        self, site: Site, call: Call, rate: Tensor, error: Tensor, *, first: bool
    ) -> Tensor:
        rule, post = self.plasticity, call.activity.detach()
        if rule.reads_answer and call.activity is self._shown:
            post = post.softmax(-1)
        seen = {"pre": rows(site, call.x), "post": units(post), "signal": units(call.signal)}
        matrix = site.matrix(call.module.weight.detach())[None]
        if not rule.two_sided:
            return rule.delta(matrix, rate=rate, **seen)[0]
        if self.credit.rule.route == "direct":
            arrived = self.credit.sent(call.name, error, call.x)
        else:
            carrier = self.credit.through(call.name, self.model)
            arrived = call.meeting.carry(call.signal, carrier, call.x)
        heard = rows(site, call.heard(arrived, first=first))
        return rule.two_sided_delta(matrix, rate=rate, back=heard, **seen)[0]


def units(value: Tensor) -> Tensor:
    """`batch post (positions)` or, of a Linear, `batch (positions) post` -> `1 rows post`."""
    flat = value.movedim(1, -1) if value.dim() == 4 else value
    return flat.flatten(0, -2)[None]


def rows(site: Site, x: Tensor) -> Tensor:
    """What meets the synapses of a site, `1 rows pre`."""
    return site.rows(x[None]) if isinstance(site.module, nn.Conv2d) else x.flatten(0, -2)[None]


class _Kaiming(FeedbackAlignment):
    """Random feedback of the size that meta-training gave it: by the inputs alone."""

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        size: float = self.scale * (2 / weight[0].numel()) ** 0.5
        return (drawn * size).to(weight)


def _pathway(rule: LearningRule) -> CreditRule:
    """The pathway of a meta-learned rule, for any network."""
    if isinstance(rule.feedback, Backprop):
        return Backpropagation()
    if isinstance(rule.feedback, RandomFeedback):
        return _Kaiming(scale=rule.feedback.scale)
    if isinstance(rule.feedback, RandomDirect):
        return DirectFeedbackAlignment(scale=rule.feedback.scale)
    raise ValueError(
        f"The rule's feedback is a {type(rule.feedback).__name__}, made for the sizes of the "
        "network it was learned in; plug in a rule learned with RandomFeedback or RandomDirect, or "
        "name a pathway and hand in its plasticity."
    )
