"""What a finished run leaves: the rule as a file, images of its training, what it is worth."""

from __future__ import annotations

from dataclasses import asdict, replace
from statistics import fmean

from experiments.lab.figures.curves import plot_lifetimes, plot_training
from experiments.lab.figures.plots import plot_statistics
from experiments.lab.figures.tables import as_markdown, rows
from experiments.lab.networks.build import build_stream, has_orders
from experiments.lab.runs.evaluation import evaluate
from experiments.lab.runs.run_folder import RunFolder, read_lines, write_json
from experiments.lab.settings.config import Train, record
from metaplastic import OnlineLearner, TaskStream
from metaplastic.files.provenance import provenance
from metaplastic.files.rule_file import save_pretrained


def finish(config: Train, folder: RunFolder, learner: OnlineLearner, stream: TaskStream) -> None:
    """Save the rule, draw what happened, and judge the learner on lifetimes it never met."""
    label = " ".join([config.method, *config.options])
    settings = record(config)
    source = provenance(config.seed, stream.spec) | {
        "settings": {name: settings[name] for name in ("preset", "task", "order", "stream")},
        "spec": asdict(stream.spec),
        "split": getattr(stream, "split", None),  # a preset's is not among the settings
        "method": label,
    }
    save_pretrained(learner, folder.rule, source)
    every = read_lines(folder.metrics)
    lines = [line for line in every if "diverged" not in line]
    skipped = len(every) - len(lines)  # each of them is logged, whatever --log-every
    plot_training(folder.plots, {label: [lines]})
    plot_statistics(folder.plots / "rule.png", lines)
    seconds, sampling = (
        fmean(line[key] for line in lines) if lines else 0.0
        for key in ("seconds", "sampling_share")
    )
    trained = getattr(stream, "split", None)
    judged = evaluate(learner, build_stream(config, "test"), config, folder.root, trained)
    if has_orders(config.task):
        # The same learner on shuffled lifetimes, or on ordered ones: the price of the order.
        other = replace(config, order="iid" if config.order == "incremental" else "incremental")
        (folder.root / "other_order").mkdir(exist_ok=True)
        beside = folder.root / "other_order"
        shuffled = evaluate(learner, build_stream(other, "test"), other, beside, trained)
        judged["other_order"] = {key: shuffled[key] for key in ("stream", "score", "interval")}
    result = judged | {
        "method": label,
        "steps": config.steps,
        "skipped": skipped,
        "minutes": seconds * config.steps / 60,
        "seconds_per_meta_step": seconds,
        "sampling_share": sampling,
    }
    write_json(folder.result, result)
    plot_lifetimes(folder.plots, {label: [result]})
    print(as_markdown(rows({label: [result]})))
    if lines:
        share = f"{seconds:.3g} s, {100 * sampling:.2g} % of it sampling"
        print(f"A meta-step took {share}; see {folder.root}.")
    else:
        print(f"No meta-step was used: {skipped} of {config.steps} diverged; see {folder.metrics}.")
