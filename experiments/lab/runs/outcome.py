"""Output of a finished run: the rule file, plots and the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import fmean

from experiments.lab.figures.curves import plot_lifetimes, plot_training
from experiments.lab.figures.plots import plot_statistics
from experiments.lab.figures.tables import as_markdown, rows
from experiments.lab.networks.build import build_stream, has_orders
from experiments.lab.runs.evaluation import evaluate
from experiments.lab.runs.rule_card import write_card
from experiments.lab.runs.run_folder import RunFolder, read_lines, write_json
from experiments.lab.settings.config import Train, record
from metaplastic import OnlineLearner, TaskStream
from metaplastic.files.provenance import provenance
from metaplastic.files.rule_file import save_pretrained
from metaplastic.outer.loggers import Logger, log_files


def finish(
    config: Train,
    folder: RunFolder,
    learner: OnlineLearner,
    stream: TaskStream,
    loggers: Sequence[Logger] = (),
) -> None:
    """Save the rule, plot the training, and evaluate the learner on held-out lifetimes.

    Loggers that keep files receive the figures, the rule file and its card.
    """
    label = " ".join([config.method, *config.options])
    settings = record(config)
    source = provenance(config.seed, stream.spec) | {
        "settings": {name: settings[name] for name in ("preset", "task", "order", "stream")},
        "spec": asdict(stream.spec),
        "split": getattr(stream, "split", None),  # not among the settings if set by a preset
        "method": label,
    }
    save_pretrained(learner, folder.rule, source)
    every = read_lines(folder.metrics)
    lines = [line for line in every if "diverged" not in line]
    skipped = len(every) - len(lines)  # all of them are logged
    plot_training(folder.plots, {label: [lines]})
    plot_statistics(folder.plots / "rule.png", lines)
    seconds, sampling = (
        fmean(line[key] for line in lines) if lines else 0.0
        for key in ("seconds", "sampling_share")
    )
    trained = getattr(stream, "split", None)
    scores = evaluate(learner, build_stream(config, "test"), config, folder.root, trained)
    if has_orders(config.task):
        # The same learner on the other order, to measure the effect of order.
        other = replace(config, order="iid" if config.order == "incremental" else "incremental")
        (folder.root / "other_order").mkdir(exist_ok=True)
        other_folder = folder.root / "other_order"
        shuffled = evaluate(learner, build_stream(other, "test"), other, other_folder, trained)
        scores["other_order"] = {key: shuffled[key] for key in ("stream", "score", "interval")}
    result = scores | {
        "method": label,
        "steps": config.steps,
        "skipped": skipped,
        "minutes": seconds * config.steps / 60,
        "seconds_per_meta_step": seconds,
        "sampling_share": sampling,
    }
    write_json(folder.result, result)
    plot_lifetimes(folder.plots, {label: [result]})
    files = {"card": write_card(config, folder, source, result), "rule": folder.rule}
    figures = {f"plots/{path.stem}": path for path in sorted(folder.plots.glob("*.png"))}
    log_files(loggers, config.steps, files | figures)
    print(as_markdown(rows({label: [result]})))
    if lines:
        share = f"{seconds:.3g} s, {100 * sampling:.2g} % of it sampling"
        print(f"A meta-step took {share}; see {folder.root}.")
    else:
        print(f"No meta-step was used: {skipped} of {config.steps} diverged; see {folder.metrics}.")
