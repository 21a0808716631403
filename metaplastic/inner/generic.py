"""Lifetimes of any network: the inner step under `vmap`, over tasks, along a stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metaplastic.alignment.sleep import Sleep
from metaplastic.inner.initialization import Initialization, initial_weights
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.passes import plain_pass
from metaplastic.inner.state import STEP, State, initial_state
from metaplastic.inner.step import step
from metaplastic.inner.teacher import ObjectiveTeacher
from metaplastic.inner.unroll import Given, Unroll, unroll
from metaplastic.objective import Objective
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.shape import SiteShape
from metaplastic.sites.survey import find_sites
from metaplastic.stacked.stack import FastWeights


class AnyNetwork:
    """The executor of an `OnlineLearner` whose network is any module.

    Args:
        input_shape: of one input to the network.
        plastic: names of sites, how many at the end, or None for all.
    """

    compiles_steps = False  # a few at a time

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        input_shape: Sequence[int],
        plastic: Sequence[str] | str | int | None,
    ) -> None:
        some = next(module.parameters())
        example = torch.zeros(2, *input_shape, dtype=some.dtype, device=some.device)
        found = find_sites(module, example)
        names = [name for name in found.names if not found.is_derived(name)]
        chosen = chosen_sites(names, plastic)
        self.network = PlasticNetwork(module, found, ObjectiveTeacher(objective), chosen)

    @property
    def sites(self) -> Sequence[SiteShape]:
        """The plastic sites, in the order in which they are run."""
        return self.network.shapes

    @property
    def plastic_weights(self) -> list[str]:
        """The parameters that a lifetime changes."""
        return list(self.network.learned)

    def below(self, x: Tensor) -> Tensor:
        """The inputs: frozen layers are in the encoder alone."""
        return x

    def start(
        self, rule: LearningRule, how: Initialization, support_y: Tensor, seed: Tensor
    ) -> FastWeights:
        """The state at the start of the lifetimes with these seeds, flat, `tasks ...`."""
        network = self.network
        weights = initial_weights(how, network, support_y, seed)

        def one(seed: Tensor, own: dict[str, Tensor]) -> FastWeights:
            return initial_state(rule, network, seed, own).flat()

        made: FastWeights
        if rule.pathway.reads_key:
            initial = [
                one(own, {name: weight[task] for name, weight in weights.items()})
                for task, own in enumerate(seed)
            ]
            made = {name: torch.stack([each[name] for each in initial]) for name in initial[0]}
        else:
            made = torch.vmap(one)(seed, weights)
        return _counted(made, 0)

    def adapt(
        self,
        rule: LearningRule,
        x: Tensor,
        y: Tensor,
        fast: FastWeights,
        how: Unroll,
        passes: int,
    ) -> FastWeights:
        """The state after the examples `tasks steps batch ...`, in order, flat."""
        network = self.network
        batch = x.shape[2]
        support = {"x": x, "target": y}
        # Sleep and schedules depend on the step's number, which has to be on the host.
        counts = isinstance(rule.alignment, Sleep) or rule.alignment.scheduled
        if counts and passes > 1:
            raise ValueError(
                f"passes is {passes}, but a rule that sleeps or has a schedule counts the steps of "
                "one pass; use passes=1."
            )

        def onwards(weights: FastWeights, given: Given) -> FastWeights:
            rates = rule.coefficients(network.shapes, batch)
            first = _steps_of(weights) if counts else 0
            for i in range(len(given["x"])):
                number = first + i if counts else None

                def one(
                    flat: FastWeights, x: Tensor, y: Tensor, number: int | None = number
                ) -> FastWeights:
                    state = State.of_flat(flat)
                    after, _ = step(rule, network, state, x, y, number=number, rates=rates)
                    return after.flat()

                weights = torch.vmap(one, randomness="different")(
                    weights, given["x"][i], given["target"][i]
                )
            return _counted(weights, first + len(given["x"])) if counts else weights

        leaves = [*network.module.parameters(), *rule.parameters()]
        return unroll(onwards, fast, support, how, passes=passes, leaves=leaves)

    def predict(self, fast: FastWeights, x: Tensor) -> Tensor:
        """`tasks queries ...` -> `tasks queries outputs`."""

        def one(flat: FastWeights, x: Tensor) -> Tensor:
            return plain_pass(self.network, State.of_flat(flat).weights, x)

        found: Tensor = torch.vmap(one, randomness="different")(fast, x)
        return found


def _counted(state: FastWeights, steps: int) -> FastWeights:
    """A flat state whose number of steps the host knows too, so that no device is waited for."""
    setattr(state[STEP + " number"], ON_HOST, steps)
    return state


def _steps_of(state: FastWeights) -> int:
    number = state[STEP + " number"]
    known: int | None = getattr(number, ON_HOST, None)
    return int(number[0]) if known is None else known


ON_HOST = "steps_on_host"


def chosen_sites(names: list[str], plastic: Sequence[str] | str | int | None) -> list[str]:
    """The sites of these names, or so many at the end, or all; in the order they are run.

    Raises:
        ValueError: for an unknown name, or a number out of range.
    """
    if plastic is None:
        return names
    if isinstance(plastic, str):
        plastic = [plastic]
    if isinstance(plastic, int):
        if not 1 <= plastic <= len(names):
            raise ValueError(
                f"plastic is {plastic}, but the network has {len(names)} sites "
                f"({', '.join(names)}); give a number from 1 to {len(names)}, or names."
            )
        return names[-plastic:]
    unknown = [name for name in plastic if name not in names]
    if unknown or not plastic:
        raise ValueError(
            f"plastic names {unknown!r}, which is not a site of this network whose weight a "
            f"lifetime could change. Its sites are {', '.join(names)}."
        )
    return [name for name in names if name in plastic]
