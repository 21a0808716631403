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

SHOTS, QUERIES, AT_ONCE = 15, 5, 10  # images taught and asked of a character; characters a line


@dataclass(frozen=True)
class Watch:
    """Let the shipped learner learn unseen characters in one pass, and ask as it goes."""

    characters: Annotated[int, Doc("how many, of alphabets it never met")] = 100
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    seed: Annotated[int, Doc("draws the characters and their order")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    print_accuracies(cli.parse(Watch, argv, Watch()))


def print_accuracies(config: Watch) -> None:
    """A line for every ten characters, as they are learned."""
    for count, correct in accuracies(config):
        print(f"{count:4d} characters learned: {correct:6.1%} of their other images named")


def accuracies(config: Watch) -> Iterator[tuple[int, float]]:
    """Characters learned so far, and the share of questions about them that is answered right."""
    import torch

    from metaplastic import from_pretrained, grow

    learner = grow(from_pretrained("omniglot_readout"), config.characters).eval()
    episode = sample_lifetime(config)
    with torch.no_grad():
        images, queries = learner.encode_episodes(episode)
        fast = learner.birth(episode.support_y, episode.seed)
        for start in range(0, config.characters, AT_ONCE):
            end = min(start + AT_ONCE, config.characters)
            now = slice(start * SHOTS, end * SHOTS)
            fast = learner.adapt(images[:, now], episode.support_y[:, now], fast)
            correct = learner.predict(fast, queries).argmax(-1) == episode.query_y
            seen = torch.isin(episode.query_y, episode.support_y[:, : end * SHOTS])
            yield end, float(correct[seen].double().mean())


def sample_lifetime(config: Watch) -> Any:
    """A lifetime of Omniglot's evaluation characters or, without data, of drawn glyphs."""
    import torch

    from tasks.data import DataError
    from tasks.glyphs import Glyphs
    from tasks.split_omniglot import SplitOmniglot

    ways, generator = config.characters, torch.Generator().manual_seed(config.seed)
    options = {"ways": ways, "slots": None, "shots": SHOTS, "queries_per_class": QUERIES}
    try:
        instances = {"support_instances": (0, SHOTS), "query_instances": (SHOTS, SHOTS + QUERIES)}
        root = None if config.data is None else str(config.data)
        stream = SplitOmniglot(split="test", root=root, **options, **instances)  # type: ignore[arg-type]
        return stream.sample(1, generator)
    except DataError:
        return Glyphs(split="test", **options).sample(1, generator)  # type: ignore[arg-type]


if __name__ == "__main__":
    cli.run(main)
