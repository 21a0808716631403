"""Training checks of the credit-assignment rules, and experiments on published claims.

    python -m experiments.credit --check all
    python -m experiments.credit --claims depth signs --seeds 3

Trains small networks by every rule on real images and compares accuracy and angles with pass lines
that a correct implementation meets. A claim is an experiment with a figure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.lab.credit_checks.config import CHECKS, CLAIMS, Credit
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Credit, argv, Credit())
    checks = named(config.check, CHECKS, "a check")
    claims = named(config.claims, CLAIMS, "a claim")
    if not (checks or claims or config.tune):
        raise ConfigError("nothing to do: give --check all, --claims all or --tune.")
    missed = check(config, checks) if checks else 0
    if config.tune:
        from experiments.lab.credit_checks.tuning import tune

        tune(config)
    for claim in claims:
        from experiments.lab.credit_checks.claims import show

        show(config, claim)
    if missed and config.strict:
        sys.exit(1)


def named(given: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """The names given, in the order of `known`."""
    for name in given:
        require(name, ("all", *known), what)
    return [name for name in known if name in given or "all" in given]


def check(config: Credit, rules: Sequence[str]) -> int:
    """Run the checks of some rules and write their tables; returns the number of lines not met."""
    from experiments.lab.credit_checks.checks import CHECKS as ALL
    from experiments.lab.credit_checks.pass_lines import verdicts_on
    from experiments.lab.credit_checks.report import run_rows, verdict_rows
    from experiments.lab.credit_checks.runs import RUNS
    from experiments.lab.credit_checks.work import measured, prepared
    from experiments.lab.figures.tables import as_markdown
    from experiments.lab.runs.run_folder import origin, write_json

    selected = [one for one in ALL if one.rule in rules and one.applies(reduced=config.reduced)]
    if not selected:
        raise ConfigError("none of these checks has a bound for a reduced run: omit --reduced.")
    runs = prepared({name: RUNS[name] for one in selected for name in one.runs}, config)
    found = measured(runs, config.all_seeds, config.jobs, "checks")
    verdicts = [
        (
            one,
            verdicts_on(
                one.lines, {name: found[name] for name in one.runs}, reduced=config.reduced
            ),
        )
        for one in selected
    ]
    every = [verdict for _, some in verdicts for verdict in some]
    missed = sum(not verdict.met for verdict in every)
    tables = [verdict_rows(verdicts), run_rows(verdicts, found)]
    summary = f"{len(every) - missed} of {len(every)} pass lines are met, {missed} NOT met."
    text = "\n\n".join([origin(), summary, *(as_markdown(table, order=()) for table in tables)])
    write_json(
        config.out / "checks.json",
        {"remark": origin(), "seeds": list(config.all_seeds), "reduced": config.reduced}
        | {"lines": tables[0], "runs": found, "settings": {n: repr(w) for n, w in runs.items()}},
    )
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\n\nTables and numbers are in {config.out}.")
    return missed


if __name__ == "__main__":
    cli.run(main)
