"""The cost of sampling lifetimes: its share of a meta-step.

A meta-step of FLP at laptop size: lifetimes sampled, their meta-gradient, one step of Adam.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved
from experiments.benchmarks.memory import peak_mb
from experiments.lab.networks.build import build_learner, build_stream
from experiments.lab.settings.config import Train
from metaplastic import Episode, OnlineLearner, TaskStream
from tasks.data import DataError

# Lifetimes a meta-step, and the most that sampling may take of it in percent.
STREAMS = {
    "sines": (8, 10.0), "glyphs": (8, 10.0), "omniglot": (8, 10.0), "split_omniglot": (1, 5.0),
    "caltech101": (1, 5.0),
}  # fmt: skip
METHODS = {"split_omniglot": "flp_readout", "caltech101": "flp_readout"}


def sampling(stream: TaskStream, tasks: int, generator: torch.Generator) -> Callable[[], Episode]:
    return lambda: stream.sample(tasks, generator)


def learning(learner: OnlineLearner, episodes: Episode) -> Callable[[], None]:
    optimizer = torch.optim.Adam((p for p in learner.parameters() if p.requires_grad), lr=1e-6)

    def meta_step() -> None:
        optimizer.zero_grad()
        learner(episodes).loss.backward()
        optimizer.step()

    return meta_step


def measure(repeat: int, seed: int) -> list[Finding]:
    findings = []
    for task, (tasks, most) in STREAMS.items():
        method = METHODS.get(task, "flp")
        config = Train(task=task, method=method, stream=STREAM_OPTIONS.get(task, ()))
        try:
            stream = build_stream(config, "train")
            generator = torch.Generator().manual_seed(seed)
            episodes = stream.sample(tasks, generator)
        except DataError as reason:
            findings.append(Finding(what=f"sampling {task}", result=f"not measured: {reason}"))
            continue
        learner = build_learner(config, stream)
        candidates = {
            "sampling": sampling(stream, tasks, generator), "learning": learning(learner, episodes)
        }  # fmt: skip
        times = interleaved(candidates, repeat)
        sample_time, learn_time = (min(times[name]) for name in candidates)
        share = 100 * sample_time / (sample_time + learn_time)
        findings.append(
            Finding(
                what=f"sampling {task}, share of a meta-step of {tasks} lifetimes",
                result=f"{share:.1f} %; {1e3 * sample_time:.2f} ms of "
                f"{1e3 * (sample_time + learn_time):.0f} ms",
                goal=f"at most {most:g} %",
                met=share <= most,
                peak_mb=peak_mb(),
                detail={"percent": share, "sampling_s": sample_time, "learning_s": learn_time},
            )
        )
    return findings


# At laptop size (the published points per function would only flatter the share).
STREAM_OPTIONS = {"sines": ("steps_per_function=5",)}
