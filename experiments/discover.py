"""Meta-learn a plasticity rule with few coefficients, print its equation, compare.

    python -m experiments.discover --task omniglot --minutes 10

Every lifetime has new weights and new random feedback, so only the rule can be learned. Writes the
run folder of `meta_train` with the rule file, and `pruned`, the same rule without small terms. Both
are compared on validation lifetimes with feedback alignment and backprop at their best rates for
these lifetimes.

    python -m experiments.discover --by evolution --minutes 30

searches a whole rule, alignment and time constants too, on a distribution of networks and data;
with `--estimators` it compares estimators of the meta-gradient in the place of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import Doc

from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import RunFolder, origin, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Order, Train, preset
from experiments.meta_train import resumed

if TYPE_CHECKING:
    from metaplastic import OnlineLearner, TaskStream
    from metaplastic.evaluate.report import ContinualReport

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the baselines; the best is reported
PARTS = 10  # evaluations along a lifetime
AT_A_TIME = 25  # lifetimes


@dataclass(frozen=True, kw_only=True)
class Discover(Train):
    """Meta-learn a plasticity rule with few coefficients and compare it with baselines."""

    by: Annotated[
        Literal["gradient", "evolution"],
        Doc("meta-gradients of a polynomial rule, or a whole rule; see --by evolution --help"),
    ] = "gradient"
    task: Annotated[str, Doc("a file in tasks, of few-shot images")] = "omniglot"
    order: Annotated[Order, Doc("one class after another, or shuffled")] = "iid"
    stream: Annotated[tuple[str, ...], Doc("options of the task, as name=value ...")] = (
        "ways=5", "slots=5", "shots=10", "repeats=5", "queries_per_class=10",
    )  # fmt: skip
    method: Annotated[str, Doc("a file in experiments/methods with terms and feedback")] = (
        "polynomial"
    )
    threshold: Annotated[float, Doc("terms whose coefficient is smaller are pruned")] = 1e-3
    lifetimes: Annotated[int, Doc("of validation, in the comparison")] = 100


def main(argv: Sequence[str]) -> None:
    if cli.peek(argv, "by", Discover().by) == "evolution":
        from experiments.lab.evolution import command

        command.main(argv)
        return
    own = Discover()
    default = replace(
        preset(Discover, argv), method=cli.peek(argv, "method", own.method),
        order=own.order, stream=own.stream,
    )  # fmt: skip
    config = cli.parse(Discover, argv, default)
    run = Train(**{field.name: getattr(config, field.name) for field in fields(Train)})
    if run.resume:
        run = resumed(run, without(argv, ("--threshold", "--lifetimes")))
        config = replace(config, **vars(run))
    from experiments.lab.runs.training import (
        meta_train,  # torch only loads once there is work to do
    )

    meta_train(run)
    report_rule(config)


def without(argv: Sequence[str], flags: Sequence[str]) -> list[str]:
    """A command line without these flags and their values."""
    return [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if word.partition("=")[0] not in flags and before not in flags
    ]


def report_rule(config: Discover) -> None:
    """Print the equation, save the pruned rule, and compare on validation lifetimes."""
    from experiments.lab.networks.build import build_stream, own_classes
    from metaplastic.files.rule_file import from_pretrained, read_config, save_pretrained

    folder = RunFolder(config.runs / config.run_name)
    source = read_config(folder.rule)["provenance"]
    learner = from_pretrained(folder.rule, own_classes(source), config.device)
    rule = plasticity_of(learner)
    print(f"Discovered: {rule.equation()}")
    largest = max(map(abs, rule.values().values()))
    pruned = with_plasticity(learner, rule.pruned(min(config.threshold, largest)))
    save_pretrained(pruned, folder.root / "pruned", source)
    print(f"Pruned:     {plasticity_of(pruned).equation()}\n")

    stream = build_stream(config, "validation")
    curves = {
        "discovered": evaluate_rule(learner, stream, config),
        "discovered, pruned": evaluate_rule(pruned, stream, config),
    }
    for label, feedback in (("feedback alignment", "redrawn"), ("backprop", "gradient")):
        rate, report = best(fixed(config, stream, feedback).to(config.device), stream, config)
        curves[f"{label}, rate {rate:g}"] = report
    finish(folder, curves, learner, pruned, config)


def plasticity_of(learner: OnlineLearner) -> Any:
    """The learner's polynomial rule.

    Raises:
        ConfigError: if it has none.
    """
    from experiments.lab.settings.registry import ConfigError
    from metaplastic.plasticity.polynomial import Polynomial

    plasticity = learner.rule.plasticity
    if not isinstance(plasticity, Polynomial):
        raise ConfigError(
            f"the rule is a {type(plasticity).__name__}, which has no equation: use a method "
            "whose plasticity is a Polynomial."
        )
    return plasticity


def with_plasticity(learner: OnlineLearner, plasticity: Any) -> OnlineLearner:
    """A copy of the learner with another plasticity rule."""
    from copy import deepcopy

    copy = deepcopy(learner)
    copy.rule.plasticity = plasticity
    copy.options["rule"] = copy.rule
    return copy


def fixed(config: Train, stream: TaskStream, feedback: str) -> OnlineLearner:
    """The baseline of the same network: feedback alignment or backprop, at rate 1."""
    from experiments.lab.runs.training import fresh_learner

    replaced = ("terms", "rate", "feedback", "normalized")
    kept = tuple(o for o in config.options if o.partition("=")[0] not in replaced)
    options = (*kept, "terms=signal_pre", "rate=1", f"feedback={feedback}")
    return fresh_learner(replace(config, options=options), stream)


def evaluate_rule(learner: OnlineLearner, stream: TaskStream, config: Discover) -> ContinualReport:
    """The report of a learner on the common lifetimes."""
    from metaplastic.evaluate.evaluation import over_lifetime

    parts = min(PARTS, stream.spec.steps)
    return over_lifetime(
        learner, stream, config.lifetimes, seed=config.seed, snapshots=parts,
        tasks_per_batch=AT_A_TIME,
    )  # fmt: skip


def best(
    learner: OnlineLearner, stream: TaskStream, config: Discover
) -> tuple[float, ContinualReport]:
    """The rate with the best final accuracy on these lifetimes, and its report."""
    found = {}
    for rate in RATES:
        learner.rule.rate_scale = rate
        found[rate] = evaluate_rule(learner, stream, config)
    rate = max(found, key=lambda one: float(found[one].on_all("accuracy").mean[-1]))
    return rate, found[rate]


def finish(
    folder: RunFolder,
    reports: Mapping[str, ContinualReport],
    learner: OnlineLearner,
    pruned: OnlineLearner,
    config: Discover,
) -> None:
    """Write and print the table, plot the figure."""
    from experiments.lab.figures.plots import Curve, plot_lines

    rows, curves = [], {}
    for label, report in reports.items():
        initial, overall = report.initial("accuracy"), report.on_all("accuracy")
        x = [0, *report.examples.tolist()]
        y, low, high = (
            [float(getattr(initial, end)), *getattr(overall, end).tolist()]
            for end in ("mean", "low", "high")
        )
        curves[label] = Curve(x, [y], low, high)
        row = {"accuracy % after examples": label}
        row |= {str(n): f"{100 * value:.1f}" for n, value in zip(x, y, strict=True)}
        rows.append(row | {"95 %": f"{100 * low[-1]:.1f} to {100 * high[-1]:.1f}"})
    title = f"{config.lifetimes} lifetimes of validation; bands: 95 % over lifetimes"
    plot_lines(folder.plots / "discover.png", curves, "examples seen", "accuracy", title)
    write_json(folder.root / "discover.json", {
        "equation": plasticity_of(learner).equation(),
        "coefficients": plasticity_of(learner).values(),
        "pruned": plasticity_of(pruned).equation(),
        "lifetimes": config.lifetimes,
        "table": rows,
    })  # fmt: skip
    text = f"{origin(config.device)}\n\n{as_markdown(rows, order=())}"
    (folder.root / "discover.md").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\n\nThe rule files are {folder.rule} and {folder.root / 'pruned'}.")


if __name__ == "__main__":
    cli.run(main, again="the same command with --resume resumes.")
