"""One hundred unseen characters, one image at a time, by the learner that comes with the package.

python -m experiments.watch
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc

from experiments.lab.settings import cli

SHOTS, QUESTIONS, AT_ONCE = 15, 5, 10  # images taught and asked of a character; characters a line


@dataclass(frozen=True)
class Watch:
    """Let the shipped learner learn unseen characters in one pass, and ask as it goes."""

    characters: Annotated[int, Doc("how many, of alphabets it never met")] = 100
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    seed: Annotated[int, Doc("draws the characters and their order")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    say(cli.parse(Watch, argv, Watch()))


def say(watch: Watch) -> None:
    """A line for every ten characters, as they are learned."""
    for known, right in lived(watch):
        print(f"{known:4d} characters learned: {right:6.1%} of their other images named")


def lived(watch: Watch) -> Iterator[tuple[int, float]]:
    """Characters learned so far, and the share of questions about them that is answered right."""
    import torch

    from metaplastic import from_pretrained, grow

    learner = grow(from_pretrained("omniglot_readout"), watch.characters).eval()
    life = drawn(watch)
    with torch.no_grad():
        images, questions = learner.encode_episodes(life)
        fast = learner.birth(life.support_y, life.seed)
        for start in range(0, watch.characters, AT_ONCE):
            end = min(start + AT_ONCE, watch.characters)
            now = slice(start * SHOTS, end * SHOTS)
            fast = learner.adapt(images[:, now], life.support_y[:, now], fast)
            right = learner.predict(fast, questions).argmax(-1) == life.query_y
            met = torch.isin(life.query_y, life.support_y[:, : end * SHOTS])
            yield end, float(right[met].double().mean())


def drawn(watch: Watch) -> Any:
    """A lifetime of Omniglot's evaluation characters or, without data, of drawn glyphs."""
    import torch

    from tasks.data import DataError
    from tasks.glyphs import Glyphs
    from tasks.split_omniglot import SplitOmniglot

    ways, chance = watch.characters, torch.Generator().manual_seed(watch.seed)
    asked = {"ways": ways, "slots": None, "shots": SHOTS, "queries_per_class": QUESTIONS}
    try:
        held = {"support_instances": (0, SHOTS), "query_instances": (SHOTS, SHOTS + QUESTIONS)}
        root = None if watch.data is None else str(watch.data)
        stream = SplitOmniglot(split="test", root=root, **asked, **held)  # type: ignore[arg-type]
        return stream.sample(1, chance)
    except DataError:
        return Glyphs(split="test", **asked).sample(1, chance)  # type: ignore[arg-type]


if __name__ == "__main__":
    cli.run(main)
