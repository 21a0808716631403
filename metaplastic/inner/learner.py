"""The learner: an ordinary `nn.Module` whose forward is a whole lifetime.

Its parameters are everything an outer loop may tune (first weights, feedback, plasticity,
strengths); what one lifetime changes, the fast weights, is passed around as values with a leading
`tasks` axis. So state_dict, torch.optim and data parallelism work on the learner without our help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.episode import Episode
from metaplastic.inner.compiled import ready, steps_at_once
from metaplastic.inner.initialization import Birth, born
from metaplastic.inner.meta_loss import MetaLoss, exchanged, judged, mean_of
from metaplastic.inner.rows import live_by_row, teaches_rows
from metaplastic.inner.rule import LearningRule
from metaplastic.inner.unroll import Given, Unroll, unroll
from metaplastic.objective import CrossEntropy, Objective
from metaplastic.stacked.stack import FastWeights, Stack


class OnlineLearner(nn.Module):
    """A network that learns online by a rule, one pass over a stream, and is judged afterwards.

    Args:
        network: a plain `nn.Sequential`; layers before its first plastic site are run once for all
            examples, with the encoder. Norms may have scales and shifts, which are meta-learned and
            frozen within a lifetime: only Linear and Conv2d are sites.
        rule: the pathway and plasticity of the inner loop.
        objective: the meta-loss, and what the rule is taught.
        encoder: any module, meta-learned and frozen within a lifetime; `n *input -> n *features`.
        plastic: names of the plastic sites, or how many at the end; None for all.
        birth: where a lifetime's plastic weights come from; `birth_at_test` likewise in eval mode.
        passes: how often the stream is gone through (1 is online learning, MAML uses more).
        batch_learning: the whole support set in one step.
        online_at_test: in eval mode the stream is gone through once, in its own steps.
        unroll: how lifetimes are run in meta-training; may be changed at any time.

    Raises:
        ValueError: if a layer cannot be run or carried back through, no site of that name exists,
            or the readout does not fit the objective; the sentence says which and what to do.
    """

    def __init__(
        self,
        network: nn.Sequential,
        rule: LearningRule,
        objective: Objective,
        *,
        encoder: nn.Module | None = None,
        plastic: Sequence[str] | str | int | None = None,
        birth: Birth | None = None,
        birth_at_test: Birth | None = None,
        passes: int = 1,
        batch_learning: bool = False,
        online_at_test: bool = False,
        unroll: Unroll | None = None,
    ) -> None:
        super().__init__()
        birth = birth or Birth()
        birth_at_test = birth_at_test or birth
        self.network, self.rule, self.objective, self.encoder = network, rule, objective, encoder
        self.stack = Stack(network)
        self.sites = self.stack.choose(plastic)
        self.start = self.sites[0].layer
        if self.sites[-1].shape[0] != objective.outputs:
            raise ValueError(
                f"The readout {self.sites[-1].name!r} has {self.sites[-1].shape[0]} units, but the "
                f"objective has {objective.outputs} outputs; make them the same."
            )
        if passes < 1:
            raise ValueError(f"passes is {passes}; a stream is gone through at least once.")
        self.birth_in_training, self.birth_at_test = birth, birth_at_test
        self.passes, self.batch_learning = passes, batch_learning
        self.online_at_test = online_at_test
        self.unroll = unroll or Unroll()
        self.options: dict[str, Any] = {
            "network": network, "rule": rule, "objective": objective, "encoder": encoder,
            "plastic": [site.name for site in self.sites], "birth": birth,
            "birth_at_test": birth_at_test, "passes": passes, "batch_learning": batch_learning,
            "online_at_test": online_at_test,
        }  # fmt: skip
        self.rule.attach(self.sites, objective.outputs)

    @property
    def online(self) -> bool:
        """Whether, at test, each example is met once and in its order."""
        return self.online_at_test or (self.passes == 1 and not self.batch_learning)

    def slow_weights(self) -> dict[str, Tensor]:
        """The sites' weights that a lifetime does not change, without a tasks axis."""
        plastic = {site.name for site in self.sites}
        return {
            f"{name}.{kind}": weight
            for name, site in self.stack.sites.items()
            for kind, weight in site.module.named_parameters()
            if name not in plastic
        }

    def encode(self, x: Tensor) -> Tensor:
        """All that is frozen within a lifetime: `n *input` -> `n *features`."""
        if self.unroll.encoder == "float32" or not self.training:
            return self._encode(x)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            encoded = self._encode(x)
        return encoded.to(x.dtype)

    def _encode(self, x: Tensor) -> Tensor:
        if self.encoder is not None:
            x = self.encoder(x)
        if self.start == 0:
            return x
        return self.stack.run(x[None], self.slow_weights(), stop=self.start).output[0]

    def birth(self, support_y: Tensor, seed: Tensor) -> FastWeights:
        """The plastic weights at the start of the lifetimes with these labels and seeds."""
        birth = self.birth_in_training if self.training else self.birth_at_test
        if birth.by_class:
            self._check(support_y)
        drawn = self.rule.feedback.born(self.sites, seed)
        return {**born(birth, self.sites, support_y, seed), **drawn}

    def adapt(self, support_x: Tensor, support_y: Tensor, fast: FastWeights) -> FastWeights:
        """The inner loop: from `fast`, through encoded `tasks steps batch *features`, in order.

        May be called piece by piece along a stream.

        Raises:
            ValueError: if inputs and targets are not of the same tasks, steps and batch, or a
                label has no output.
        """
        self._check(support_y)
        if support_x.shape[:3] != support_y.shape[:3]:
            raise ValueError(
                f"Inputs are of tasks, steps and batch {tuple(support_x.shape[:3])}, targets of "
                f"{tuple(support_y.shape[:3])}; make them the same."
            )
        as_in_training = self.training or not self.online_at_test
        passes = self.passes if as_in_training else 1
        if self.batch_learning and as_in_training:
            support_x, support_y = (
                support_x.flatten(1, 2)[:, None],
                support_y.flatten(1, 2)[:, None],
            )
        rule = self.rule
        if rule.rests_in_training and self.training:
            return fast
        coefficients = rule.coefficients(self.sites, support_x.shape[2])
        if teaches_rows(rule, self.sites, self.objective, self.unroll, support_x.shape[2]):
            readout = self.sites[0]
            rate = coefficients[readout.name + ".weight"]
            for _ in range(passes):
                fast = live_by_row(readout, rule.plasticity, rate, fast, support_x, support_y)
            return fast
        ahead = rule.feedback.ahead(self.sites, self.objective, support_y, support_x)
        life = {"x": support_x, "target": support_y, **ahead}
        fixed = (
            self.stack,
            self.sites,
            self.start,
            self.objective,
            coefficients,
            self.slow_weights(),
        )
        live, at_once = rule.live, None
        if self.unroll.compile:
            at_once = steps_at_once(len(self.sites))
            live, fast = ready(live, fixed, fast, life, self.unroll, passes, at_once)

        def onwards(weights: FastWeights, given: Given) -> FastWeights:
            return live(*fixed, weights, given)

        return unroll(onwards, fast, life, self.unroll, passes=passes, at_once=at_once)

    def predict(self, fast: FastWeights, x: Tensor) -> Tensor:
        """Encoded `tasks queries *features` -> `tasks queries outputs`."""
        return self.stack.run(x, {**self.slow_weights(), **fast}, self.start).output

    def encode_episodes(self, episodes: Episode) -> tuple[Tensor, Tensor]:
        """Support (`tasks steps batch *features`) and query features, from one encoder call.

        Raises:
            ValueError: if fields of the episodes do not fit together.
        """
        episodes.check()
        support, query = episodes.support_x, episodes.query_x
        encoded = self.encode(torch.cat([support.flatten(0, 2), query.flatten(0, 1)]))
        learned_from, features = support.shape[:3].numel(), encoded.shape[1:]
        return (
            encoded[:learned_from].reshape(*support.shape[:3], *features),
            encoded[learned_from:].reshape(*query.shape[:2], *features),
        )

    def forward(self, episodes: Episode) -> MetaLoss:
        """Live every lifetime of the meta-batch and ask its queries.

        Raises:
            ValueError: if fields of the episodes do not fit together, or a label has no output.
        """
        self._check(episodes.query_y)
        support, query = self.encode_episodes(episodes)
        lives = [(support, episodes.support_y, query, episodes.query_y)]
        if self.training and self.unroll.both_ways:
            lives.append(exchanged(*lives[0]))
        lived = []
        for x, y, asked, answer in lives:
            fast = self.adapt(x, y, self.birth(y, episodes.seed))
            lived.append(judged(self.objective, self.predict(fast, asked), answer))
        result = mean_of(lived)
        if self.training and (penalty := self.rule.plasticity.penalty()) is not None:
            return result._replace(loss=result.loss + penalty)
        return result

    def _check(self, target: Tensor) -> None:
        # Where targets come in, for a rule would take the label of no output for no label.
        if isinstance(self.objective, CrossEntropy):
            self.objective.check_labels(target)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """What is learned, by kind: `weights`, `feedback`, `plasticity`, `strength`, if any."""
        groups = {
            "feedback": self.rule.feedback.feedback_parameters(),
            "plasticity": list(self.rule.plasticity.parameters()),
            "strength": self.rule.feedback.strength_parameters(),
        }
        taken = {id(parameter) for group in groups.values() for parameter in group}
        groups = {"weights": [p for p in self.parameters() if id(p) not in taken], **groups}
        learned = {name: [p for p in group if p.requires_grad] for name, group in groups.items()}
        return {name: group for name, group in learned.items() if group}
