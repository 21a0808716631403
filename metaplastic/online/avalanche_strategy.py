"""A learner or a `PlasticModule` as a strategy of Avalanche, in its benchmarks and by its metrics.

    from metaplastic.online.avalanche_strategy import OnlineStrategy

    strategy = OnlineStrategy(net, evaluator=evaluator)
    for experience in benchmark.train_stream:
        strategy.train(experience, shuffle=False)
        strategy.eval(benchmark.test_stream)

It is Avalanche's training loop with the rule in the place of `loss.backward()` and the optimizer.
Avalanche: Carta et al. (2023, JMLR 24(363)). It is imported when `OnlineStrategy` is first
looked up, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metaplastic.inner.learner import OnlineLearner
from metaplastic.online.plastic_module import PlasticModule
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.torchvision_import import import_avalanche

if TYPE_CHECKING:
    from avalanche.training.templates import SupervisedTemplate as Template
else:
    Template = object


class Lifetime(nn.Module):
    """One lifetime of a meta-trained learner as a module: `n *input -> n outputs`, and `learn`.

    The learner stays in eval mode, and none of its parameters is changed: what is learned is in
    `fast`, with a `tasks` axis of length 1. All of its classes count as those of the lifetime
    where the readout's initialization depends on them.

    Args:
        seed: of what is sampled when the lifetime is initialized.

    Raises:
        ValueError: for a learner that needs its stream more than once or all at once.
    """

    def __init__(self, learner: OnlineLearner, seed: int = 0) -> None:
        super().__init__()
        if not learner.online:
            raise ValueError(
                "This learner passes through its stream more than once or all at once, so it "
                "cannot follow a stream of experiences; use one with passes=1 and "
                "batch_learning=False, or online_at_test=True."
            )
        self.learner, self.seed = learner.eval(), seed
        device = next(learner.parameters()).device
        self.fast: FastWeights
        self.begin(device)

    @torch.no_grad()
    def begin(self, device: torch.device) -> None:
        """Initialize the lifetime anew."""
        objective = self.learner.objective
        every = torch.arange(objective.outputs, device=device)[None, None]
        self.fast = self.learner.initialize(every, torch.tensor([self.seed], device=device))

    def train(self, mode: bool = True) -> Lifetime:
        """Set the mode of this module alone: the learner is used as in a test."""
        self.training = mode
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.learner.predict(self.fast, self.learner.encode(x)[None])[0]

    @torch.no_grad()
    def learn(self, x: Tensor, y: Tensor) -> None:
        """One step of the inner loop on a minibatch `n *input`, `n`."""
        self.fast = self.learner.adapt(self.learner.encode(x)[None, None], y[None, None], self.fast)


class LocalLearning(Template):  # type: ignore[misc]
    """A local learning rule as a strategy: it sees each minibatch once, and keeps none.

    Accuracy, forgetting and all other metrics of an `EvaluationPlugin` are those of any strategy,
    and plugins that change the data (replay, say) work. Avalanche shuffles an experience unless
    `strategy.train(experience, shuffle=False)` asks for the order it has.

    Args:
        learner: an `OnlineLearner`, whose lifetime begins here; or a `PlasticModule`, which is
            changed in place.
        train_mb_size: examples in a step of the rule.
        criterion: the loss that is logged, cross-entropy unless given; the rule learns by its own.
        evaluator: an `EvaluationPlugin`, or None; Avalanche's own, which prints, unless given.
        seed: of a learner's lifetime.

    Raises:
        ImportError: where Avalanche is not installed.
        ValueError: for anything else than these two, for a learner that is not online, and, from
            `train`, for a plugin that adds to the loss: no gradient of it is taken.
    """

    def __init__(
        self,
        learner: OnlineLearner | PlasticModule,
        *,
        train_mb_size: int = 1,
        train_epochs: int = 1,
        eval_mb_size: int = 256,
        criterion: Any = None,
        device: str | torch.device = "cpu",
        plugins: Sequence[Any] | None = None,
        evaluator: Any = "default",
        eval_every: int = -1,
        peval_mode: str = "epoch",
        seed: int = 0,
    ) -> None:
        if not isinstance(learner, OnlineLearner | PlasticModule):
            raise ValueError(
                f"learner is of type {type(learner).__name__}; give an OnlineLearner, such as "
                "from_pretrained(folder), or PlasticModule(model, rule)."
            )
        if evaluator == "default":
            from avalanche.training.plugins.evaluation import default_evaluator

            evaluator = default_evaluator
        model: nn.Module = learner
        if isinstance(learner, OnlineLearner):
            model = Lifetime(learner.to(device), seed)
        super().__init__(
            model=model,
            # Avalanche asks for one and clears its gradients; it has nothing to step.
            optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0),
            criterion=criterion or nn.CrossEntropyLoss(),
            train_mb_size=train_mb_size,
            train_epochs=train_epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=plugins,
            evaluator=evaluator,
            eval_every=eval_every,
            peval_mode=peval_mode,
        )

    def make_optimizer(self, **_: Any) -> None:
        """Nothing: no parameter is stepped by an optimizer."""
        self.optimized_param_id: dict[str, Any] = {}

    def _before_backward(self, **kwargs: Any) -> None:
        before = self.loss.clone()
        super()._before_backward(**kwargs)
        if not torch.equal(before, self.loss.detach()):
            raise ValueError(
                "A plugin adds to the loss, of which a local rule takes no gradient; leave it out "
                "(regularization such as EWC or LwF), or use an optimizer with metaplastic.credit."
            )

    def backward(self) -> None:
        """Nothing: errors reach the weights in `optimizer_step`, by the rule."""

    def optimizer_step(self) -> None:
        """One step of the rule on the current minibatch."""
        if isinstance(self.model, Lifetime):
            self.model.learn(self.mb_x, self.mb_y)
        else:
            self.model.learn(self.mb_y)


@cache
def _online_strategy() -> type:
    import_avalanche()
    from avalanche.training.templates import SupervisedTemplate

    content = {"__doc__": LocalLearning.__doc__, "__module__": __name__}
    return type("OnlineStrategy", (LocalLearning, SupervisedTemplate), content)


def __getattr__(name: str) -> Any:
    if name == "OnlineStrategy":
        return _online_strategy()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
