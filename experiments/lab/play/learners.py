"""The learners of the page, side by side on one frozen encoder.

The encoder is that of the shipped `omniglot_readout`. Its own learner changes a readout alone, the
others two layers on top of the same features, each by its rule: FLP, whose hidden layer is taught
by feedback that was meta-learned with it (the shipped `omniglot_flp`); the discovered rule that
ships as `omniglot_relative`; feedback alignment; and backpropagation, which with the delta rule is
SGD.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import OnlineLearner, PlasticModule, from_pretrained
from metaplastic.evaluate.shift_averaging import ShiftAveraged
from metaplastic.support.seeding import global_seed, seeded

OUTPUTS = 20  # characters that one page learns
HIDDEN, WIDTH = 128, 256  # units; features of the shipped encoder
READOUT, FLP, DISCOVERED = "omniglot_readout", "omniglot_flp", "omniglot_relative"


@dataclass(frozen=True)
class Choice:
    """A rule of the page: its name there, in a sentence, and its rate (or rate scale)."""

    title: str
    about: str
    rate: float = 1.0


# Rates: the best on validation characters, as `python -m experiments.play --tune` finds them; see
# experiments/results/play.md.
CHOICES = {
    "readout": Choice(
        "Readout only",
        "the shipped omniglot_readout: Oja's rule, a learned rate for each feature",
    ),
    "flp": Choice(
        "FLP",
        "the shipped omniglot_flp: a hidden layer is plastic, too, taught by learned feedback",
    ),
    "discovered": Choice(
        "Discovered rule",
        "the shipped omniglot_relative: both layers are plastic, from random weights",
        0.3,
    ),
    "random": Choice(
        "Random feedback", "feedback alignment: errors go back through fixed random weights", 0.01
    ),
    "sgd": Choice("SGD", "backpropagation: one step of gradient descent for each drawing", 0.003),
}
SHIPPED = {"readout": READOUT, "flp": FLP}
NAMED = {"random": "feedback_alignment", "sgd": "bp"}


@cache
def shipped(name: str = READOUT) -> OnlineLearner:
    """A shipped learner, which does not change; both have the same encoder."""
    return from_pretrained(name).requires_grad_(False)


@torch.no_grad()
def features_of(images: Tensor) -> Tensor:
    """uint8 `n 28 28`, ink 255 on 0 -> `n features` of unit length.

    What `OnlineLearner.encode` gives, with all shifts of the images in one minibatch: of a single
    image these take a third of the time.
    """
    averaged = shipped().encoder
    assert isinstance(averaged, ShiftAveraged)
    reach = averaged.max_shift
    padded = F.pad(images[:, None].float() / 255, [reach] * 4, mode="replicate")
    shifts = list(product(range(1 + 2 * reach), repeat=2))
    height, width = images.shape[1:]
    views = torch.cat([padded[..., y : y + height, x : x + width] for y, x in shifts])
    encoded = averaged.encoder(views.contiguous(memory_format=torch.channels_last))
    return shipped().executor.below(encoded.unflatten(0, (len(shifts), -1)).mean(0))


class Learner(ABC):
    """What the page needs of a learner: an example learned, answers, and its state as tensors."""

    @abstractmethod
    def learn(self, features: Tensor, label: int) -> None:
        """Learn one example, `1 features`, in place.

        Raises:
            FloatingPointError: if the step is not finite; nothing has changed then.
        """

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """`n features` -> `n outputs`."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that learning has changed, by name."""

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave, of the same names, shapes and types."""


class AsShipped(Learner):
    """A shipped learner: the fast weights of its plastic layers, from their initial values."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.shipped, labels = shipped(name), torch.zeros(1, 1, 1, dtype=torch.long)
        with torch.no_grad():
            self.fast = dict(self.shipped.initialize(labels, torch.tensor([seed])))

    @torch.no_grad()
    def learn(self, features: Tensor, label: int) -> None:
        target = torch.tensor([[[label]]])
        fast = dict(self.shipped.adapt(features[None, None], target, self.fast))
        if not all(weight.isfinite().all() for weight in fast.values()):
            raise FloatingPointError("The change of a weight is not finite.")
        self.fast = fast

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        return self.shipped.predict(self.fast, features[None])[0, :, :OUTPUTS]

    def tensors(self) -> dict[str, Tensor]:
        return {name: weight.clone() for name, weight in self.fast.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.fast = {name: weight.clone() for name, weight in tensors.items()}


class TwoLayers(Learner):
    """Two layers on the features that learn in place by a rule."""

    def __init__(self, name: str, rate: float, seed: int = 0) -> None:
        model, example = head(seed), torch.ones(1, WIDTH)
        if name in NAMED:
            self.net = PlasticModule(model, NAMED[name], example=example, rate=rate, seed=seed)
        else:
            rule = from_pretrained(DISCOVERED).rule
            self.net = PlasticModule(model, rule, example=example, seed=seed)
            self.net.rate_scale = rate

    def learn(self, features: Tensor, label: int) -> None:
        self.net.train()(scaled(features))
        self.net.learn(torch.tensor([label]))

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        answer: Tensor = self.net.eval()(scaled(features))
        return answer

    def tensors(self) -> dict[str, Tensor]:
        state = self.net.state_dict()
        return {name: value.clone() for name, value in state.items() if torch.is_tensor(value)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.net.load_state_dict(copy.deepcopy(dict(tensors)))


def scaled(features: Tensor) -> Tensor:
    """Features of mean square 1, for which Kaiming's initial weights are made."""
    return features * math.sqrt(features.shape[-1])


def head(seed: int) -> nn.Sequential:
    """Two layers without biases, sampled Kaiming-normal by the seed."""
    with global_seed(torch.device("cpu"), "overwritten"):
        first = nn.Linear(WIDTH, HIDDEN, bias=False)
        made = nn.Sequential(first, nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS, bias=False))
    generator = seeded(seed, "weights")
    for layer in (made[0], made[2]):
        nn.init.kaiming_normal_(layer.weight, generator=generator)  # type: ignore[arg-type]
    return made


def make_learner(name: str, seed: int = 0, rate: float | None = None) -> Learner:
    """A new learner by its name in `CHOICES`, at another rate where one is given."""
    if name in SHIPPED:
        return AsShipped(SHIPPED[name], seed)
    return TwoLayers(name, CHOICES[name].rate if rate is None else rate, seed)
