"""Exactness by number: a rule in place as in the learner, and autograd's gradients with B = W.

    python -m experiments.exact
    python -m experiments.exact --what rules --dtype float32 --networks attention residual
    python -m experiments.exact --what zoo --networks vision
    python -m experiments.exact --what rules --compiled

Two tables. In the first every rule runs ten steps in tiny networks twice, by `OnlineLearner` and
in place by `PlasticModule`: the largest differences of weights, feedback and traces. In the second
the feedback of every network of `tests/zoo` is a copy of its weights: the largest difference from
autograd's gradient. All are relative to the largest entry of a tensor. The exit status is 1 if a
bound is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.lab.exact.config import BOUNDS, Exact
from experiments.lab.settings import cli


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Exact, argv, Exact())
    missed = 0
    if config.what != "zoo":
        missed += rules(config)
    if config.what != "rules":
        missed += zoo(config)
    if missed:
        print(f"\n{missed} of the bounds missed.")
        sys.exit(1)
    print("\nAll within the bounds.")


def rules(config: Exact) -> int:
    """The table of rules x networks; how many cells miss the bound."""
    import torch

    from experiments.lab.exact.networks import NETWORKS
    from experiments.lab.exact.points import POINTS
    from experiments.lab.exact.report import rules_table, selected
    from experiments.lab.figures.tables import as_markdown
    from experiments.lab.runs.progress import progress

    torch.set_num_threads(config.threads)
    chosen = selected(list(POINTS), config.rules, "rule")
    networks = selected(list(NETWORKS), config.networks, "network")
    rows, missed = [], 0
    with progress("rules", len(chosen)) as show:
        table = rules_table(chosen, networks, config.dtype, config.seed, config.compiled)
        for row, off in table:
            rows.append(row)
            missed += off
            show(len(rows), row["rule"])
    print(f"Weights / feedback / traces, {config.dtype}, bound {BOUNDS[config.dtype]:.0e}\n")
    print(as_markdown(rows, order=()))
    return missed


def zoo(config: Exact) -> int:
    """The table of the zoo; how many networks miss the bound."""
    import torch

    from experiments.lab.exact.report import zoo, zoo_row
    from experiments.lab.figures.tables import as_markdown
    from experiments.lab.runs.progress import progress

    torch.set_num_threads(config.threads)
    entries = zoo(config.networks)
    rows, missed = [], 0
    with progress("networks", len(entries)) as show:
        for entry in entries.values():
            row, off = zoo_row(entry)
            rows.append(row)
            missed += off
            show(len(rows), entry.name)
    print(f"\nFeedback that is the weights, float64, bound {BOUNDS['float64']:.0e}\n")
    print(as_markdown(rows, order=()))
    return missed


if __name__ == "__main__":
    cli.run(main)
