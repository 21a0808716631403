"""When does hidden plasticity pay? Methods on inputs that change from lifetime to lifetime.

    python -m experiments.when_plastic
    python -m experiments.when_plastic --base omniglot --stream shots=5 --changes contrast mixing

Inputs of any stream of classes are changed anew in every lifetime (a new sensor, drift, contrast,
permuted inputs, new kinds of classes). The gain of each method over readout-only plasticity is
shown against the size of the change, lifetime by lifetime. Finished runs are kept: the same command
goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.lab.hidden_plasticity.config import WhenPlastic, read, setting
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require, tasks


def main(argv: Sequence[str]) -> None:
    config = read(argv)
    require(config.base, tasks(), "a task")
    print(f"{run(config)}\n\nTable, figure and numbers are in {config.out}.")


def run(config: WhenPlastic) -> str:
    """All runs that are not there yet, seed by seed, then the report."""
    import torch

    from experiments.lab.hidden_plasticity.report import report
    from experiments.lab.hidden_plasticity.runs import fresh, stored, stream
    from experiments.lab.runs.progress import progress
    from experiments.lab.runs.stored import Run

    torch.set_num_threads(config.threads)
    cells = {
        (change, method): setting(config, change, method)
        for change in config.changes
        for method in config.learners
    }
    for one in cells.values():  # what cannot be built is said before the first run
        try:
            fresh(one, config.seed, stream(one, "train", 1.0, config.root))
            stream(one, "test", 1.0, config.root).spec  # noqa: B018
        except ValueError as error:
            raise ConfigError(f"{one.method}: {error}") from error
    found: dict[str, dict[str, list[Run]]] = {
        change: {method: [] for method in config.learners} for change in config.changes
    }
    with progress("runs", len(cells) * config.seeds) as show:
        done = 0
        for seed in config.all_seeds:
            for (change, method), one in cells.items():
                found[change][method].append(stored(one, seed, config.root, config.out))
                show(done := done + 1, f"{one.name}, seed {seed}")
    return report(config, found)


if __name__ == "__main__":
    cli.run(main, again="the same command goes on.")
