"""Run a command as a job of a cluster, or of this machine, by submitit.

    python -m experiments.submit --command "meta_train --method flp --tasks 8" --processes 2
    python -m experiments.submit --executor slurm --hours 12 --gpus 1 --command "compare --jobs 4"

Several commands are several jobs. With `--processes` the lifetimes of a meta-batch are divided
among processes. A job that a scheduler preempts, or that reaches its time, is queued again and
resumes. Guide: docs/clusters.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.registry import ROOT, ConfigError, require

if TYPE_CHECKING:
    from submitit import AutoExecutor

    from experiments.lab.runs.cluster_job import Command


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Run commands as jobs of a cluster, or of this machine."""

    command: Annotated[
        tuple[str, ...], Doc('as in "meta_train --method flp"; one for each job')
    ] = ()
    executor: Annotated[Literal["local", "slurm"], Doc("local: processes of this machine")] = (
        "local"
    )
    processes: Annotated[int, Doc("of a node, which share every meta-batch of a meta_train")] = 1
    nodes: Annotated[int, Doc("for each job")] = 1
    cpus: Annotated[int, Doc("for each process")] = 1
    gpus: Annotated[int, Doc("for each node")] = 0
    memory: Annotated[float | None, Doc("GB for each node; None: the cluster's default")] = None
    hours: Annotated[float, Doc("after which a job is queued again, and resumes")] = 24.0
    partition: Annotated[str | None, Doc("of slurm")] = None
    wait: Annotated[bool, Doc("until the jobs are over; local jobs are always waited for")] = False
    seed: Annotated[int | None, Doc("added to every command as its --seed; None: not")] = None
    logs: Annotated[Path, Doc("folder of scripts and logs of jobs")] = Path("runs/jobs")
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Submit, argv, Submit())
    commands = [read(text, config) for text in config.command]
    if not commands:
        raise ConfigError('--command is empty: give one, as in --command "meta_train --seed 1".')
    executor = executor_of(config)
    jobs = [executor.submit(command) for command in commands]
    for job, text in zip(jobs, config.command, strict=True):
        print(f"Job {job.job_id}: {text}; its log is {job.paths.stdout}.")
    if config.wait or config.executor == "local":
        wait_for(jobs, config.command)


def read(text: str, config: Submit) -> Command:
    """A command line of ours as a job, whose words are checked when it runs."""
    from experiments.lab.runs.cluster_job import Command

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--command {text!r} is no command line: {error}.") from error
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    name = words[0].removeprefix("experiments.") if words else ""
    known = sorted(path.stem for path in (ROOT / "experiments").glob("[!_]*.py"))
    require(name, [one for one in known if one != "submit"], "a command")
    seed = [] if config.seed is None else ["--seed", str(config.seed)]
    return Command(name, (*words[1:], *seed), local=config.executor == "local")


def executor_of(config: Submit) -> AutoExecutor:
    """The executor of submitit for these settings.

    Raises:
        ConfigError: if the cluster is not here, or has no such settings.
    """
    from submitit import AutoExecutor

    try:
        executor = AutoExecutor(folder=config.logs, cluster=config.executor)
        slurm: dict[str, Any] = (
            {} if config.partition is None else {"slurm_partition": config.partition}
        )
        executor.update_parameters(
            name="metaplastic", nodes=config.nodes, tasks_per_node=config.processes,
            cpus_per_task=config.cpus, gpus_per_node=config.gpus, mem_gb=config.memory,
            timeout_min=max(1, round(60 * config.hours)), **slurm,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"--executor {config.executor} cannot be used here: {error}.") from error
    return executor


def wait_for(jobs: Sequence[Any], texts: Sequence[str]) -> None:
    """Wait for jobs and print their output; an interrupt cancels them.

    Raises:
        RuntimeError: with the message of the first that failed, after all are over.
    """
    failed = []
    try:
        for job, text in zip(jobs, texts, strict=True):
            job.wait()
            raised = job.exception()
            said = next(filter(None, job.results()), None) if raised is None else str(raised)
            print(job.stdout() or "", end="")
            if said is not None:
                failed.append((text, " ".join(said.split()), job.paths.stderr))
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        raise
    if failed:
        text, said, log = failed[0]
        raise RuntimeError(
            f"{len(failed)} of {len(jobs)} jobs failed, {text!r} first: {said} (see {log})"
        )


if __name__ == "__main__":
    cli.run(main, again="jobs that it waited for were cancelled.")
