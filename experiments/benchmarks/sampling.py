"""What drawing lifetimes costs beside learning from them: its share of a meta-step.

A meta-step of FLP at laptop size: 8 lifetimes sampled, their meta-gradient, one step of Adam.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved, peak_mb
from experiments.build import build_learner, build_stream
from experiments.config import Train
from metaplastic import Episode, OnlineLearner, TaskStream
from tasks.data import DataError

TASKS, SHARE = 8, 10.0
STREAMS = ("sines", "glyphs", "omniglot")


def sampling(stream: TaskStream, generator: torch.Generator) -> Callable[[], Episode]:
    return lambda: stream.sample(TASKS, generator)


def learning(learner: OnlineLearner, episodes: Episode) -> Callable[[], None]:
    optimizer = torch.optim.Adam((p for p in learner.parameters() if p.requires_grad), lr=1e-6)

    def meta_step() -> None:
        optimizer.zero_grad()
        learner(episodes).loss.backward()
        optimizer.step()

    return meta_step


def measure(repeat: int, seed: int) -> list[Finding]:
    findings = []
    for task in STREAMS:
        config = Train(task=task, stream=STREAM_OPTIONS.get(task, ()))
        try:
            stream = build_stream(config, "train")
            generator = torch.Generator().manual_seed(seed)
            episodes = stream.sample(TASKS, generator)
        except DataError as reason:
            findings.append(Finding(what=f"sampling {task}", result=f"not measured: {reason}"))
            continue
        learner = build_learner(config, stream)
        rivals = {
            "sampling": sampling(stream, generator), "learning": learning(learner, episodes)
        }  # fmt: skip
        times = interleaved(rivals, repeat)
        draw, learn = (min(times[name]) for name in rivals)
        share = 100 * draw / (draw + learn)
        findings.append(
            Finding(
                what=f"sampling {task}, share of a meta-step of 8 lifetimes",
                result=f"{share:.1f} %; {1e3 * draw:.2f} ms of {1e3 * (draw + learn):.0f} ms",
                goal=f"at most {SHARE:g} %",
                met=share <= SHARE,
                peak_mb=peak_mb(),
                detail={"percent": share, "sampling_s": draw, "learning_s": learn},
            )
        )
    return findings


# At laptop size (the published points per function would only flatter the share).
STREAM_OPTIONS = {"sines": ("steps_per_function=5",)}
