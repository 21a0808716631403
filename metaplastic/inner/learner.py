"""The learner: an `nn.Module` whose forward pass runs a meta-batch of lifetimes.

Its parameters are everything that an outer loop may optimize (initial weights, feedback,
plasticity, alignment, strengths); the fast weights, which one lifetime changes, are values with a
leading `tasks` axis. So state_dict, torch.optim and data parallelism work on it as on any module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.episode import Episode
from metaplastic.inner.compiled.one_program import in_one_program
from metaplastic.inner.generic import AnyNetwork
from metaplastic.inner.initialization import Initialization
from metaplastic.inner.meta_loss import (
    MetaLoss,
    exchange_support_and_query,
    loss_of_lifetimes,
    mean_loss,
)  # fmt: skip
from metaplastic.inner.parameter_groups import groups_of
from metaplastic.inner.unroll import Unroll
from metaplastic.inner.written_out import WrittenOut
from metaplastic.objective import CrossEntropy, Objective
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.stacked.stack import FastWeights, Stack
from metaplastic.support.publishing import Publishable
from metaplastic.support.renamed import FormerAttribute, renamed_arguments


class OnlineLearner(Publishable, nn.Module):
    """A network that learns online by a rule, in one pass over a stream, and is then evaluated.

    Args:
        network: any module. A plain `nn.Sequential` is run by the written-out executor, layer by
            layer with a `tasks` axis; its layers before the first plastic site are run once for all
            examples, with the encoder. Any other is run by the generic one, which needs
            `input_shape`. Parameters of no plastic site (norms, say) are meta-learned and frozen
            within a lifetime.
        rule: pathway, plasticity and alignment of the inner loop.
        objective: the meta-loss, and the source of labels and errors for the rule.
        encoder: any module, meta-learned and frozen within a lifetime; `n *input -> n *features`.
        plastic: names of the plastic sites, or how many at the end; None for all.
        initialization: how a lifetime's plastic weights are initialized; `initialization_at_test`
            likewise in eval mode.
        passes: over the stream (1 is online learning, MAML uses more).
        batch_learning: the full support set in one step.
        online_at_test: in eval mode one pass over the stream, in its own steps.
        unroll: how lifetimes are run in meta-training; may be changed at any time.
        input_shape: of one input to the network, for a network that is not a plain `nn.Sequential`,
            or a rule with alignment or traces. With it the generic executor runs any network and
            rule.

    Raises:
        ValueError: for a layer that cannot be run or backpropagated through, a site that does not
            exist, or a readout that does not fit the objective; the message says what to do.
    """

    @renamed_arguments(birth="initialization", birth_at_test="initialization_at_test")
    def __init__(
        self,
        network: nn.Module,
        rule: LearningRule,
        objective: Objective,
        *,
        encoder: nn.Module | None = None,
        plastic: Sequence[str] | str | int | None = None,
        initialization: Initialization | None = None,
        initialization_at_test: Initialization | None = None,
        passes: int = 1,
        batch_learning: bool = False,
        online_at_test: bool = False,
        unroll: Unroll | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        initialization = initialization or Initialization()
        at_test = initialization_at_test or initialization
        self.network, self.rule, self.objective, self.encoder = network, rule, objective, encoder
        self.executor: WrittenOut | AnyNetwork
        if input_shape is None:
            self.executor = WrittenOut(network, rule, objective, plastic)
        else:
            self.executor = AnyNetwork(network, objective, input_shape, plastic)
        self.sites = self.executor.sites
        if self.sites[-1].shape[0] != objective.outputs:
            raise ValueError(
                f"The readout {self.sites[-1].name!r} has {self.sites[-1].shape[0]} units, but the "
                f"objective has {objective.outputs} outputs; make them the same."
            )
        if passes < 1:
            raise ValueError(f"passes is {passes}; a stream is passed over at least once.")
        self.initialization, self.initialization_at_test = initialization, at_test
        self.passes, self.batch_learning = passes, batch_learning
        self.online_at_test = online_at_test
        self.unroll = unroll or Unroll()
        self.options: dict[str, Any] = {
            "network": network, "rule": rule, "objective": objective, "encoder": encoder,
            "plastic": [site.name for site in self.sites], "initialization": initialization,
            "initialization_at_test": at_test, "passes": passes, "batch_learning": batch_learning,
            "online_at_test": online_at_test,
        }  # fmt: skip
        if input_shape is not None:
            self.options["input_shape"] = tuple(input_shape)
        self.rule.attach(self.sites, objective.outputs)

    @property
    def stack(self) -> Stack:
        """The layers of a network that the written-out executor runs.

        Raises:
            AttributeError: for any other network.
        """
        if not isinstance(self.executor, WrittenOut):
            raise AttributeError(
                f"A {type(self.network).__name__} run by the generic executor has no stack of "
                "layers; see `executor.network`."
            )
        return self.executor.stack

    @property
    def plastic_weights(self) -> list[str]:
        """The parameters that a lifetime changes, by the names that `initialize` gives them."""
        return self.executor.plastic_weights

    @property
    def online(self) -> bool:
        """Whether, at test, each example is used once and in its order."""
        return self.online_at_test or (self.passes == 1 and not self.batch_learning)

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
        return self.executor.below(x)

    def initialize(self, support_y: Tensor, seed: Tensor) -> FastWeights:
        """The initial state of the lifetimes with these labels and seeds, `tasks ...`.

        Plastic weights by parameter and, under names that no parameter can have, the rest of the
        state: feedback weights, traces, a step counter and the seed.
        """
        how = self.initialization if self.training else self.initialization_at_test
        if how.by_class:
            self._check(support_y)
        return self.executor.start(self.rule, how, support_y, seed)

    birth = FormerAttribute("initialize")
    birth_in_training = FormerAttribute("initialization")
    birth_at_test = FormerAttribute("initialization_at_test")

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
        return self.adapt_checked(support_x, support_y, fast)

    def adapt_checked(self, support_x: Tensor, support_y: Tensor, fast: FastWeights) -> FastWeights:
        """As `adapt`, of data that is known to fit."""
        as_in_training = self.training or not self.online_at_test
        passes = self.passes if as_in_training else 1
        if self.batch_learning and as_in_training:
            support_x, support_y = (t.flatten(1, 2)[:, None] for t in (support_x, support_y))
        if self.rule.frozen_in_training and self.training:
            return fast
        return self.executor.adapt(self.rule, support_x, support_y, fast, self.unroll, passes)

    def predict(self, fast: FastWeights, x: Tensor) -> Tensor:
        """Encoded `tasks queries *features` -> `tasks queries outputs`."""
        return self.executor.predict(fast, x)

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
        """The meta-loss of the meta-batch: every lifetime is run and evaluated on its queries.

        Raises:
            ValueError: if fields of the episodes do not fit together, or a label has no output.
        """
        self.check_labels(episodes)
        support, query = self.encode_episodes(episodes)
        sets = [(support, episodes.support_y, query, episodes.query_y)]
        if self.training and self.unroll.both_ways:
            sets.append(exchange_support_and_query(*sets[0]))
        losses = []
        for x, y, query_x, query_y in sets:
            given = x, y, query_x, query_y, episodes.seed
            losses.append(in_one_program(self, given) or loss_of_lifetimes(self, *given))
        result = mean_loss(losses)
        penalty = self.rule.plasticity.penalty() if self.training else None
        return result if penalty is None else result._replace(loss=result.loss + penalty)

    def check_labels(self, episodes: Episode) -> None:
        """Check the labels of lifetimes on the processor, before they go to an accelerator.

        Raises:
            ValueError: if a label has no output.
        """
        for target in (episodes.support_y, episodes.query_y):
            self._check(target)

    def _check(self, target: Tensor) -> None:
        # Here, because to a rule the label of no output would be no label.
        if isinstance(self.objective, CrossEntropy):
            self.objective.check_labels(target)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that are learned, by kind.

        The kinds are `weights`, `feedback`, `plasticity`, `alignment` and `strength`, if any.
        """
        return groups_of(self, self.rule)
