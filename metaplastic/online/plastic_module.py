"""Any network learning in place, one minibatch or one example after another, by a local rule.

    net = metaplastic.PlasticModule(model, "feedback_alignment", example=x, rate=0.01)
    prediction = net(x)
    loss = net.learn(y)

Neither an optimizer nor `.backward()` is needed. It is the inner step of `inner.step`, taken in one
pass and written back into the model.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.online.arguments import check_arguments
from metaplastic.online.credit import Credit, credit
from metaplastic.online.memory import Memory
from metaplastic.online.norms import Norms, norm_handlers
from metaplastic.online.passes import Compile, Passes
from metaplastic.online.teaching import Loss
from metaplastic.online.transplant import Transplant, transplant
from metaplastic.pathways.inverse import InversePathway
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.rules import rule_of
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.found import Sites
from metaplastic.sites.names import bare
from metaplastic.sites.outputs import Inputs, Output
from metaplastic.sites.survey import warn_of_unreached
from metaplastic.support.renamed import FormerAttribute


class PlasticModule(nn.Module):
    """A model and a rule: `net(x)` predicts and remembers, `net.learn(y)` changes the model.

    Weights and biases of sites change by the rule. With a rule that goes down a gradient (the delta
    rule, `Adaptive`), every other trainable parameter (norms, embeddings) changes along what the
    same signals give it; with others it stays. In eval mode `net(x)` is the model and nothing is
    remembered.

    Args:
        model: any module; it is changed in place and is `net.model`.
        rule: a name in `metaplastic.rules`, a `LearningRule`, such as
            `from_pretrained(folder).rule`, or a `Credit`.
        example: a minibatch of inputs, as for `credit`; without one, sites are found on the first
            minibatch in train mode.
        plasticity: what sites do, in the place of the rule's own.
        rate: of the delta rule, 0.01 unless given; refused beside a plasticity, which has its own.
        loss_fn: of output and target, the mean over examples, as everywhere in PyTorch; by default
            cross-entropy for targets that are whole numbers (the label -100 teaches nothing), and
            half the squared error for others. One given is handed the whole output.
        seed: of the random feedback and of all noise.
        leave: as for `credit`.
        output: what of the output is learned from, as for `credit`.
        norms: what a BatchNorm is computed with while learning; see `online.norms`. The default is
            the running statistics, because a pretrained network learned single examples as well by
            them as by moving ones, and by the example's own hardly at all (docs/alignment.md).
        compile: True runs passes and steps as straight-line programs, made on the first example of
            each form (in about a second); "inductor" has PyTorch's compiler make machine code of
            them as well (in seconds to a minute, kept on disk for the next process). The same up to
            rounding. What cannot be compiled runs as it would without, and a warning says why.

    `net.rate_scale`, 1 at first, multiplies every rate and may be set at any time. `net.sites` are
    the sites, with what is out of reach and why. `net.transplant` says, site by site, what of the
    plasticity's rates was copied or averaged. `state_dict` holds all of the lifetime: weights,
    feedback, traces, the step and the seed.

    Raises:
        ValueError: as `credit`, and for a rate that is negative, not finite, or beside a
            plasticity.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: str | LearningRule | Credit,
        *,
        example: Any = None,
        plasticity: PlasticityRule | None = None,
        rate: float | None = None,
        loss_fn: Loss | None = None,
        seed: int = 0,
        leave: Collection[str] = (),
        output: Output = None,
        norms: Norms = "stored",
        compile: Compile = False,
    ) -> None:
        super().__init__()
        self.model, self.loss_fn, self.rate_scale = model, loss_fn, 1.0
        self.norms = norms
        norm_handlers(norms)
        check_arguments(rule, plasticity, rate, compile)
        self.compiles = compile
        self._passes: Passes | None = None
        chosen = rule if isinstance(rule, Credit | LearningRule) else rule_of(rule, {})
        self._later: tuple[Any, ...] | None = (chosen, plasticity, rate, seed, leave, output)
        if isinstance(rule, Credit) or (example is not None and example != ()):
            self._begin(example)

    def _begin(self, example: Any) -> None:
        """Find the sites, and make the feedback and all else that a lifetime changes."""
        assert self._later is not None
        rule, plasticity, rate, seed, leave, output = self._later
        made = rule
        if not isinstance(rule, Credit):
            made = credit(rule, self.model, example=example, seed=seed, leave=leave, output=output)
        if isinstance(made.rule.pathway, InversePathway):
            raise ValueError(
                "This rule carries targets through inverses and has no signals at its sites; use "
                "Credit.backward and an optimizer."
            )
        self.credit, own = made, plasticity or made.rule.plasticity
        if rate is not None:  # of the delta rule of a named rule
            own = type(own)(rate=rate, per="shared", learn=False)
        kept = getattr(self.credit.rule.pathway, "feedback", {})
        feedback = "feedback copied" if len(kept) else "feedback sampled"
        feedback = "no feedback" if self.credit.held is None else feedback
        shapes = list(self.credit.shapes.values())
        self.transplant: Transplant = transplant(own, shapes, feedback)
        self.credit.rule.plasticity = self.plasticity = self.transplant.plasticity
        self.memory = Memory(self.credit, self.model)
        self._later = None
        if not self.plasticity.moves_others:
            self._name_others()

    def _name_others(self) -> None:
        """Weights of two axes at no site, which this rule leaves as they are."""
        found, model = self.credit.found, bare(self.model)
        lost = [n for n in self.memory.network.others if model.get_parameter(n).dim() > 1]
        why = "at no site, and the rule changes nothing else"
        new = {name: why for name in lost if name not in found.unreached}
        found.unreached |= new
        warn_of_unreached(new, model)

    @property
    def sites(self) -> Sites:
        """What was found in the model: sites, what is frozen, and what no rule reaches.

        Raises:
            RuntimeError: where no minibatch has been seen yet.
        """
        if self._later is not None:
            raise RuntimeError(
                "No minibatch has been seen yet; hand in example=, or call net(x) in train mode."
            )
        found: Sites = self.credit.found
        return found

    @property
    def is_compiled(self) -> bool:
        """Whether the last pass in train mode was a compiled one."""
        passes = self._passes
        return passes is not None and passes.compiles and passes.compiled is not None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output; in train mode what it takes to learn from it is kept."""
        if not self.training:
            return self.model(*args, **kwargs)
        if torch.is_inference_mode_enabled():
            raise RuntimeError(
                "net(x) was called in torch.inference_mode, where nothing can be learned from; "
                "leave that mode, or call net.eval() first."
            )
        if self._later is not None:
            self._begin(Inputs(args, kwargs))
        return self._made().run(args, kwargs)

    def _made(self) -> Passes:
        """The passes; made anew in a copy, or behind a model that was exchanged."""
        passes = self._passes
        if passes is None or passes.model is not self.model:
            passes = Passes(self.credit, self.memory, self.model, self.norms, self.compiles)
            self._passes = passes
        return passes

    def learn(self, y: Any) -> Tensor:
        """Change the model by what it received of the last output's loss; the mean loss.

        Whatever is raised, nothing has changed; an output whose target was refused may be given
        another. Statistics that the model keeps of its inputs moved in `net(x)`, if at all.

        Raises:
            RuntimeError: if there is no output to learn from, or an input of a site was written
                over.
            ValueError: for a target that does not fit the output, or an empty minibatch.
            FloatingPointError: if the loss, or the change of a site, is not finite.
        """
        if self._later is not None or self._passes is None:
            raise RuntimeError("There is no answer to learn from; call net(x) in train mode first.")
        return self._passes.learn(y, self.loss_fn, self.rate_scale)

    pace = FormerAttribute("rate_scale")

    def __getstate__(self) -> dict[str, Any]:
        """All but the output that was not learned from, whose graph cannot be copied or saved."""
        return {**self.__dict__, "_passes": None}

    def extra_repr(self) -> str:
        if self._later is not None:
            return "sites are found on the first minibatch"
        lost = "; ".join(f"{name}: {why}" for name, why in self.sites.unreached.items())
        return f"sites: {', '.join(self.sites.names)}" + (f"; out of reach: {lost}" if lost else "")
