"""Each rule at the initial weight scale chosen on held-out training images.

The initial scale affects rules with fixed feedback most, so a comparison at a common scale depends
on the scale as well as on the rules. Both are reported.
By hand: all three scales are measured and tabled, so Optuna would have nothing to choose.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from experiments.lab.credit_checks.config import Credit
from experiments.lab.credit_checks.report import over, rounded
from experiments.lab.credit_checks.runs import RUNS
from experiments.lab.credit_checks.training import Training
from experiments.lab.credit_checks.work import Found, Work, measured, prepared
from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json

RULES = ("bp", "fa", "dfa", "usf", "frsf", "brsf", "kp", "wm", "ia", "sa", "aa")
COMMON = 1.0
GAINS = (0.1, 0.3, COMMON)
HELD_OUT = 0.2  # of the training images, to choose by


def tune(config: Credit) -> None:
    """Choose by the mean over seeds on held-out images, then train on all and test."""
    trials = prepared({f"{rule} x {g:g}": _base(rule, g) for rule in RULES for g in GAINS}, config)
    tried = measured(_held_out(trials), config.all_seeds, config.jobs, "tuning")
    chosen = {rule: best(rule, tried) for rule in RULES}
    finals = {f"{rule} x {g:g}": g for rule in RULES for g in {COMMON, chosen[rule]}}
    tested = measured({n: trials[n] for n in finals}, config.all_seeds, config.jobs, "testing")
    table = []
    for rule in RULES:
        row = {"rule": _base(rule, COMMON).rule_name}
        for g in GAINS:
            row[f"validation %, weights x {g:g}"] = rounded(_mean(tried, f"{rule} x {g:g}"))
        row["chosen"] = f"x {chosen[rule]:g}"
        for title, g in (("test %, chosen", chosen[rule]), ("test %, common x 1", COMMON)):
            row[title] = over([run["accuracy"] for run in tested[f"{rule} x {g:g}"]])
        table.append(row)
    text = "\n\n".join([origin(), as_markdown(table, order=())])
    write_json(
        config.out / "tuned.json",
        {"remark": origin(), "seeds": list(config.all_seeds), "table": table}
        | {"validation": tried, "test": tested},
    )
    (config.out / "tuned.md").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\n\nTables and numbers are in {config.out}.")


def best(rule: str, tried: Found) -> float:
    """The scale with the highest mean accuracy; of equal ones the largest."""
    return max(reversed(GAINS), key=lambda gain: _mean(tried, f"{rule} x {gain:g}"))


def _mean(found: Found, name: str) -> float:
    return fmean(float(run["accuracy"]) for run in found[name])


def _base(rule: str, gain: float) -> Training:
    work = RUNS[rule]
    assert isinstance(work, Training)
    return replace(work, gain=gain)


def _held_out(trials: dict[str, Work]) -> dict[str, Work]:
    held: dict[str, Work] = {}
    for name, work in trials.items():
        assert isinstance(work, Training)
        assert work.examples is not None
        held[name] = replace(work, held_out=round(HELD_OUT * work.examples))
    return held
