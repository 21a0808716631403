"""Commands run as jobs, and the recipes for clusters do what they say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import submit
from experiments.lab.runs.cluster_job import Command
from experiments.lab.runs.run_folder import RunFolder, write_json
from experiments.lab.settings.config import Train, record
from experiments.lab.settings.registry import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
RECIPES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
SMALLER = ("--preset", "tiny", "--threads", "1", "--episodes", "2")
LOCAL = [line for line in RECIPES if "slurm" not in line and not line.startswith("SWEEP=")]


def smaller(recipe: str, folder: Path) -> list[str]:
    """A recipe with settings of seconds, in a folder of its own; --tasks stays."""
    more = [*SMALLER, "--runs", str(folder)]
    words = shlex.split(recipe)
    if "experiments.submit" in words:
        words = [
            word if " " not in word else f"{word} {shlex.join(more)}" for word in words
        ]  # every command that a job runs
        more = ["--logs", str(folder / "logs"), "--hours", "0.1"]
    words = [{"--trials": "--trials", "20": "2"}.get(word, word) for word in words]
    first = ["-m", "torch.distributed.run"] if words[0] == "torchrun" else []
    return [sys.executable, *first, *words[1:], *more]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", LOCAL)
def test_a_recipe_runs_on_this_machine(recipe: str, tmp_path: Path) -> None:
    done = subprocess.run(
        smaller(recipe, tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    names = re.findall(r"--name (\w+)", recipe) or ["sweep"]
    for name in names:
        run = tmp_path / name
        assert (run / ("table.md" if name == "sweep" else "result.json")).exists()
    if "--tasks" in recipe:  # two processes, each with half of every meta-batch
        assert json.loads((tmp_path / names[0] / "config.json").read_text())["micro_batch"] == 8


def test_there_are_recipes_for_each() -> None:
    assert [line.split()[0] for line in LOCAL] == ["torchrun", "python", "python", "python"]
    assert sum("slurm" in line for line in RECIPES) == 2


def test_a_job_that_fails_says_so_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--logs",
        str(tmp_path / "logs"),
        "--hours",
        "0.1",
        "--command",
        "meta_train --steps 0",
    ]
    with pytest.raises(
        RuntimeError, match=r"1 of 1 jobs failed, 'meta_train --steps 0' first: --st"
    ):
        submit.main(words)
    assert re.search(r"Job \d+: meta_train --steps 0; its log is ", capsys.readouterr().out)


def test_a_job_of_slurm_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("srun", "sbatch", "sacct", "scontrol"):
        (tmp_path / name).write_text("#!/bin/sh\necho Submitted batch job 12\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (recipe,) = (line for line in RECIPES if "slurm" in line and "SWEEP" not in line)
    submit.main([*shlex.split(recipe)[3:], "--logs", str(tmp_path / "logs")])
    assert "Job 12: meta_train --task omniglot" in capsys.readouterr().out
    (script,) = (tmp_path / "logs").glob("12*.sh")
    written = script.read_text()
    for line in ("--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=8", "--mem=64GB",
                 "--partition=gpu", "--time=720", "--nodes=1"):  # fmt: skip
        assert f"#SBATCH {line}" in written


def test_a_preempted_job_resumes(tmp_path: Path) -> None:
    words = ("--runs", str(tmp_path), "--name", "run", "--overwrite")
    command = Command("meta_train", words)
    assert command.checkpoint().function.words == words  # it had not begun
    write_json(RunFolder(tmp_path / "run").config, record(Train()))
    assert command.checkpoint().function.words == (*words[:-1], "--resume")
    compare = Command("compare", ("--jobs", "2"))
    assert compare.checkpoint().function == compare


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--command is empty: give one"),
        (["--command", "mta_train"], "'mta_train' is not a command: did you mean 'meta_train'?"),
        (["--command", "submit --wait"], "'submit' is not a command"),
        (["--command", "meta_train 'a"], "is no command line: No closing quotation."),
        (["--command", "demo", "--processes", "0"], "--processes is 0: it must be at least 1."),
        (["--command", "demo", "--hours", "inf"], "--hours is inf: it must be above 0 and finite."),
        (["--command", "demo", "--executor", "slurm"], "--executor slurm cannot be used here: "),
        (["--command", "demo", "--nodes", "2"], "--executor local cannot be used here: LocalExec"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        submit.main(["--logs", str(tmp_path / "logs"), *words])
