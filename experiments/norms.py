"""BatchNorm with one example at a time: which statistics should a network learn with?

    python -m experiments.norms
    python -m experiments.norms --starts pretrained --rules backprop --seeds 5

A ResNet-20 learns five new classes of CIFAR-10 online, by each choice of
`PlasticModule(norms=...)`: pretrained on the five other classes, and from random weights. The rate
of every row is chosen on held-out training images. Finished runs are kept: the same command goes
on.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.lab.norms.config import Compare, read, setting
from experiments.lab.settings import cli

OTHER_SEED = 1000  # added to --seed, to choose rates on


def main(argv: Sequence[str]) -> None:
    config = read(argv)
    print(f"{run(config)}\n\nTable and numbers are in {config.out}.")


def run(config: Compare) -> str:
    """All runs that are not there yet, then the report."""
    import torch

    from experiments.lab.norms.learning import score, stored
    from experiments.lab.norms.report import cell, legend, report
    from experiments.lab.runs.progress import progress

    torch.set_num_threads(config.threads)
    cells = [
        (start, rule, norms)
        for start in config.starts
        for rule in config.rules
        for norms in config.norms
    ]
    found, scores, done = [], {}, 0
    with progress("runs", len(cells) * (len(config.rates) + config.seeds)) as show:
        for start, rule, norms in cells:
            held_out = {}
            for rate in config.rates:
                tried = setting(config, start, rule, norms, rate, held_out=True)
                held_out[rate] = score(
                    stored(tried, config.seed + OTHER_SEED, config.root, config.out)
                )
                show(done := done + 1, tried.name)
            best = max(sorted(held_out), key=lambda rate: held_out[rate])
            chosen = setting(config, start, rule, norms, best, held_out=False)
            runs = []
            for seed in config.all_seeds:
                runs.append(stored(chosen, seed, config.root, config.out))
                show(done := done + 1, chosen.name)
            found.append((chosen, runs))
            scores[cell(chosen)] = {f"{rate:g}": value for rate, value in held_out.items()}
    return f"{report(config, found, scores)}\n\n{legend()}"


if __name__ == "__main__":
    cli.run(main)
