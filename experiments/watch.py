"""The shipped learner on one hundred new characters, one image at a time.

python -m experiments.watch
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc

from experiments.lab.settings import cli

SHOTS, QUERIES, AT_ONCE = 15, 5, 10  # images per character; characters per line


@dataclass(frozen=True)
class Watch:
    """Adapt the shipped learner to new characters in one pass, with evaluations on the way."""

    characters: Annotated[int, Doc("how many, of held-out alphabets")] = 100
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    seed: Annotated[int, Doc("samples the characters and their order")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    print_accuracies(cli.parse(Watch, argv, Watch()))


def print_accuracies(config: Watch) -> None:
    """Print a line for every ten characters learned."""
    for count, correct in accuracies(config):
        print(f"{count:4d} characters learned: {correct:6.1%} accuracy on their held-out images")


def accuracies(config: Watch) -> Iterator[tuple[int, float]]:
    """The number of characters learned so far, and the accuracy on their queries."""
    import torch

    from metaplastic import from_pretrained, grow

    learner = grow(from_pretrained("omniglot_readout"), config.characters).eval()
    episode = sample_lifetime(config)
    with torch.no_grad():
        images, queries = learner.encode_episodes(episode)
        fast = learner.initialize(episode.support_y, episode.seed)
        for start in range(0, config.characters, AT_ONCE):
            end = min(start + AT_ONCE, config.characters)
            now = slice(start * SHOTS, end * SHOTS)
            fast = learner.adapt(images[:, now], episode.support_y[:, now], fast)
            correct = learner.predict(fast, queries).argmax(-1) == episode.query_y
            seen = torch.isin(episode.query_y, episode.support_y[:, : end * SHOTS])
            yield end, float(correct[seen].double().mean())


def sample_lifetime(config: Watch) -> Any:
    """A lifetime of Omniglot's evaluation characters or, without data, of generated glyphs."""
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
