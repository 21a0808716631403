"""Does feedback follow the weights when a network learns from single examples?

    python -m experiments.align
    python -m experiments.align --rules weight_mirror kolen_pollack --networks mlp --seeds 5

Trains two small networks on Fashion-MNIST, one example at a time, by every aligning rule: online by
`PlasticModule`, and by `Credit.backward` with an optimizer. Measures the angle between the weights
and what carries errors back. Where a default does not align, another setting is chosen on MNIST.
Finished runs are kept: the same command goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.lab.alignment.config import CANDIDATES, Align, Setting, defaults, read
from experiments.lab.settings import cli


def main(argv: Sequence[str]) -> None:
    config = read(argv)
    text = run(config)
    print(f"{text}\n\nTable, numbers and figure are in {config.out}.")


def run(config: Align) -> str:
    """All runs that are not there yet, then the report."""
    import torch

    from experiments.lab.alignment.following import stored
    from experiments.lab.alignment.report import report
    from experiments.lab.alignment.tuning import chosen, fails
    from experiments.lab.runs.progress import progress
    from experiments.lab.runs.stored import Run

    torch.set_num_threads(config.threads)
    found: dict[str, tuple[Setting, list[Run]]] = {}
    tried = {}

    def measure(title: str, settings: Sequence[Setting]) -> None:
        with progress(title, len(settings) * config.seeds) as show:
            for number, setting in enumerate(settings):
                runs = []
                for index, seed in enumerate(config.all_seeds):
                    runs.append(stored(setting, seed, config.root, config.out))
                    show(number * config.seeds + index + 1, setting.label)
                found[setting.name] = (setting, runs)

    first = defaults(config)
    measure("defaults", first)
    if config.tune:
        failed = [
            setting
            for setting in first
            if setting.way == config.ways[0]
            and setting.rule in CANDIDATES
            and not setting.weight_decay
            and fails(found[setting.name][1])
        ]
        with progress("other settings", sum(1 + len(CANDIDATES[s.rule]) for s in failed)) as show:
            steps = iter(range(1, 1000))
            tried = chosen(config, failed, lambda note: show(next(steps), note))
        better = [
            replace(setting, options=dict(tried[setting.rule, setting.network][0]["options"]))
            for setting in first
            if (setting.rule, setting.network) in tried and setting.way == config.ways[0]
        ]
        measure("chosen settings", [setting for setting in better if setting.options])
    ordered = sorted(found.values(), key=lambda pair: _place(config, pair[0]))
    return report(config, ordered, tried)


def _place(config: Align, setting: Setting) -> tuple[int, int, bool, bool, int]:
    """Rows of one rule stand together, online before optimizer, defaults first."""
    return (
        config.networks.index(setting.network), config.rules.index(setting.rule),
        bool(setting.options), bool(setting.weight_decay), config.ways.index(setting.way),
    )  # fmt: skip


if __name__ == "__main__":
    cli.run(main)
