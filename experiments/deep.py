"""Train a deep network on CIFAR-10 by named rules; accuracy, and angles to backprop, over training.

    python -m experiments.deep --network resnet20 --epochs 10 --seeds 3
    python -m experiments.deep --network resnet18 --data-set jpeg75 --minutes 600 --flip-crop

Each rule has the learning rate that is best on held-out training images. The same command resumes
an interrupted run, bitwise; finished runs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from experiments.lab.deep_training.config import MORE, RULES, Deep
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require

if TYPE_CHECKING:
    from experiments.lab.deep_training.trainer import Settings
    from experiments.lab.runs.progress import Report


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Deep, argv, Deep())
    check(config)
    import torch

    from experiments.lab.deep_training.report import report
    from experiments.lab.runs.run_lock import alone_in

    torch.set_num_threads(config.threads)
    with alone_in(config.out):
        if not config.report_only:
            train(config)
        report(config)


def check(config: Deep) -> None:
    """Raise ConfigError for invalid settings, before anything is loaded."""
    for rule in config.rules:
        require(rule, (*RULES, *MORE), "a rule of this script")
    if len(set(config.rules)) < len(config.rules):
        raise ConfigError("a rule was given twice: name each once.")
    for name in ("epochs", "tune_epochs", "batch", "angles_every", "width"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{cli.flag(name)} is {value}: it must be at least 1.")
    for rate in (*config.lrs, *(() if config.lr is None else (config.lr,))):
        if not 0 < rate < float("inf"):
            raise ConfigError(f"{rate:g} is not a rate: it must be above 0 and finite.")
    if not (config.rules and (config.lrs or config.lr or config.rates_of)):
        raise ConfigError("nothing to do: give one rule in --rules and one rate in --lrs.")
    if config.lr is not None and config.rates_of is not None:
        raise ConfigError("--lr and --rates-of both set the rates: omit one.")


def train(config: Deep) -> None:
    """Choose the rates, then complete every unfinished run, seed by seed."""
    from experiments.lab.deep_training.runs import train_run
    from experiments.lab.runs.progress import progress

    tuning = [(rule, rate) for rule in config.rules for rate in config.lrs if is_open(config)]
    total = len(tuning) + len(config.rules) * config.seeds
    rates: dict[str, float] = {}
    with progress("deep", total) as bar:
        for rule in config.rules:
            done = sum(one in rates for one, _ in tuning)
            rates[rule] = chosen(
                config, rule, progress_reporter(bar, done, f"choosing a rate of {rule}")
            )
        for done, (seed, rule) in enumerate(product(config.all_seeds, config.rules), len(tuning)):
            settings = run_settings(config, rule, seed, rates[rule])
            say = progress_reporter(bar, done, f"{rule}, seed {seed}")
            train_run(settings, config.folder(rule, seed), config.root, say)
        bar(total)


def is_open(config: Deep) -> bool:
    """Whether rates are to be chosen by tuning runs."""
    return config.lr is None and config.rates_of is None and len(config.lrs) > 1


def progress_reporter(bar: Report, done: int, title: str) -> Callable[[str], None]:
    """A function that reports the state of a run beside the number of finished runs."""
    return lambda words: bar(done, f"{title}: {words}")


def chosen(config: Deep, rule: str, say: Callable[[str], None]) -> float:
    """The rate of a rule: given, of an earlier command, or the best of a few."""
    from experiments.lab.deep_training.tuning import best, rates_of, tried

    if config.lr is not None:
        return config.lr
    if config.rates_of is not None:
        return rates_of(config.rates_of, config.rules)[rule]
    if len(config.lrs) == 1:
        return config.lrs[0]
    any_rate = settings_for(config, rule, config.seed, config.lrs[0], config.tune_epochs)
    return best(tried(any_rate, config.lrs, config.tune_epochs, config.out, config.root, say))


def run_settings(config: Deep, rule: str, seed: int, rate: float) -> Settings:
    """A run's settings, with as many epochs as fit into --minutes."""
    from experiments.lab.deep_training.runs import epochs_in

    settings = settings_for(config, rule, seed, rate, config.epochs)
    if config.minutes is None:
        return settings
    folder = config.folder(rule, seed)
    return replace(settings, epochs=epochs_in(settings, folder, config.root, config.minutes))


def settings_for(config: Deep, rule: str, seed: int, rate: float, epochs: int) -> Settings:
    from experiments.lab.deep_training.trainer import Settings

    return Settings(
        rule=rule, network=config.network, width=config.width,
        norm=config.norm or ("group" if config.network == "resnet20" else "batch"),
        data_set=config.data_set,
        examples=config.examples, held_out=0.0, lr=rate, batch=config.batch, epochs=epochs,
        flip_crop=config.flip_crop, precision=config.precision, every=config.angles_every,
        seed=seed,
    )  # fmt: skip


if __name__ == "__main__":
    cli.run(main, again="the same command resumes.")
