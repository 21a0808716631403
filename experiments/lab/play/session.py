"""The model of the page: what one browser tab has drawn, what was learned of it, and how fast.

Every drawing is learned once, when it comes, by every learner. Before and after, each learner is
evaluated on the drawings it has learned so far; the difference is what this step did to them.
"""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from experiments.lab.play.drawing import image_of, strokes_of
from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import CHOICES, OUTPUTS, Learner, features_of, make_learner

T = TypeVar("T")

MOST_DRAWINGS = 300
LONGEST_NAME = 24


@dataclass(frozen=True)
class Answer:
    """What a learner says of a drawing: the probability of each name, the most probable first."""

    names: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """What learning one drawing did, learner by learner.

    `loss` and `probability` are changes of the mean loss (nats) and of the mean probability of the
    right name on the drawings learned before, by their number; both sides of a difference are
    taken over the same names, that of this drawing included.
    """

    label: int
    loss: dict[str, dict[int, float]]
    probability: dict[str, dict[int, float]]
    failed: tuple[str, ...] = ()


@dataclass
class Times:
    """Milliseconds of the last drawing, by what they were spent on."""

    learning: dict[str, float] = field(default_factory=dict)
    answering: dict[str, float] = field(default_factory=dict)


class Session:
    """One tab's characters and learners. Its methods may be called from several threads.

    Args:
        seed: of the initial weights and the random feedback.
    """

    def __init__(self, seed: int = 0) -> None:
        self.lock = threading.RLock()
        self.seed = seed
        self.names: list[str] = []
        self.labels: list[int] = []
        self.images = torch.zeros(0, 28, 28, dtype=torch.uint8)
        self.features = torch.zeros(0, 0)  # of the drawings learned, `drawings features`
        self.logits: dict[str, Tensor] = {}  # on these, of every learner as it is now
        self.steps: list[Step] = []
        self.times = Times()
        self.said: dict[str, Answer] = {}  # of the last drawing that was a query
        self.learners: dict[str, Learner] = {name: make_learner(name, seed) for name in CHOICES}

    def teach(self, name: object, drawing: object) -> Step:
        """Learn one drawing of the character of this name, new or known, by every learner.

        Raises:
            PlayError: for no drawing or name, or too many of them; nothing has changed then.
        """
        with self.lock:
            image = image_of(strokes_of(drawing))[None]
            name = clean(name)
            if name not in self.names and len(self.names) == OUTPUTS:
                raise PlayError(
                    f"{OUTPUTS} characters are learned, and the readouts have no further output: "
                    "give one of their names, or start anew."
                )
            if len(self.labels) == MOST_DRAWINGS:
                raise PlayError(f"{MOST_DRAWINGS} drawings are learned, as many as are kept.")
            clock = Clock()
            features = clock.timed("encoder", lambda: features_of(image))
            if name not in self.names:
                self.names.append(name)
            step = self._learn(features, self.names.index(name), clock)
            self.images = torch.cat([self.images, image])
            self.labels.append(step.label)
            self.steps.append(step)
            self.times.learning = clock.spent
            return step

    def _learn(self, features: Tensor, label: int, clock: Clock) -> Step:
        loss, probability, failed = {}, {}, []
        before = {name: self._evaluate(name) for name in self.learners}
        self.features = torch.cat([self.features, features]) if self.labels else features
        for name, learner in self.learners.items():
            try:
                clock.timed(CHOICES[name].title, lambda: learner.learn(features, label))  # noqa: B023
            except FloatingPointError:
                failed.append(name)
        clock.timed("disturbance", self.evaluate)
        for name, was in before.items():
            now = self._evaluate(name)
            loss[name] = {k: now[k][0] - was[k][0] for k in was}
            probability[name] = {k: now[k][1] - was[k][1] for k in was}
        return Step(label, loss, probability, tuple(failed))

    def evaluate(self) -> None:
        """Every learner's answer to every drawing that was learned."""
        self.logits = {name: own.logits(self.features) for name, own in self.learners.items()}

    def _evaluate(self, name: str) -> dict[int, tuple[float, float]]:
        """Mean loss and mean probability of the right name, on the drawings of each character."""
        if not self.labels:
            return {}
        labels = torch.tensor(self.labels)
        logits = self.logits[name][: len(labels), : len(self.names)]
        right = log_softmax(logits, -1).gather(1, labels[:, None])[:, 0]
        found = {}
        for label in sorted(set(self.labels)):
            own = right[labels == label]
            found[label] = (float(-own.mean()), float(own.exp().mean()))
        return found

    def ask(self, drawing: object) -> dict[str, Answer]:
        """What every learner says of a drawing; nothing is learned.

        Raises:
            PlayError: for no drawing, or where nothing has been learned yet.
        """
        with self.lock:
            image = image_of(strokes_of(drawing))[None]
            if not self.names:
                raise PlayError("Nothing has been learned yet: name this drawing and teach it.")
            clock = Clock()
            features = clock.timed("encoder", lambda: features_of(image))
            found = clock.timed("learners", lambda: self._answers(features))
            self.times.answering, self.said = clock.spent, found
            return found

    def _answers(self, features: Tensor) -> dict[str, Answer]:
        found = {}
        for name, learner in self.learners.items():
            logits = learner.logits(features)[0, : len(self.names)]
            order = logits.argsort(descending=True).tolist()
            chances = logits.softmax(-1)
            found[name] = Answer(
                tuple(self.names[i] for i in order), tuple(float(chances[i]) for i in order)
            )
        return found

    def report(self, step: Step) -> str:
        """What a step did, in a sentence."""
        known = self.labels.count(step.label)
        count = "first drawing" if known == 1 else f"{known} drawings"
        text = f"Learned {self.names[step.label]!r}, {count} of it."
        if step.failed:
            titles = ", ".join(CHOICES[name].title for name in step.failed)
            text += f" {titles} could not: the change was not finite."
        others = {
            CHOICES[name].title: [v for label, v in changes.items() if label != step.label]
            for name, changes in step.probability.items()
        }
        if any(others.values()):
            changed = (f"{title} {100 * fmean(v):+.0f}" for title, v in others.items())
            text += f" Right names of the others, in points: {', '.join(changed)}."
        return text

    def accuracy(self) -> dict[str, dict[int, float]]:
        """By learner and character: the mean probability of the right name on its drawings."""
        with self.lock:
            return {
                name: {label: chance for label, (_, chance) in self._evaluate(name).items()}
                for name in self.learners
            }

    def disturbance(
        self, learner: str, measure: Literal["loss", "probability"] = "probability"
    ) -> list[list[float | None]]:
        """What learning each character did to each other one.

        Row: the character that was learned; column: the one it was measured on; the sum, over the
        drawings learned of the first, of the change of the mean probability of the right name (or
        of the mean loss) on the drawings of the second. None where there was nothing to change yet.
        """
        with self.lock:
            count = len(self.names)
            table: list[list[float | None]] = [[None] * count for _ in range(count)]
            for step in self.steps:
                for label, change in getattr(step, measure)[learner].items():
                    table[step.label][label] = (table[step.label][label] or 0.0) + change
            return table


class Clock:
    """Milliseconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def timed(self, what: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        done = work()
        passed = 1000 * (time.perf_counter() - start)
        self.spent[what] = self.spent.get(what, 0.0) + passed
        return done


def clean(name: object) -> str:
    """A name as it is shown: one line of printable characters.

    Raises:
        PlayError: for no name, or one that is too long.
    """
    text = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text[:1000]).split())
    if not text:
        raise PlayError("This character has no name yet: write one beside the pad.")
    if len(text) > LONGEST_NAME:
        raise PlayError(
            f"The name {text[:LONGEST_NAME]!r}... is too long: give one of {LONGEST_NAME} "
            "characters at most."
        )
    return text
