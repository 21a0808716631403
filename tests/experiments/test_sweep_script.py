"""A sweep is shared by processes, survives them, and prunes by evaluations on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState

from experiments import sweep
from experiments.lab.runs.run_folder import read_lines
from experiments.lab.settings.registry import ConfigError
from experiments.lab.sweeps import study as studies
from experiments.lab.sweeps.config import Between, Sweep, read, space, trial_run
from experiments.lab.sweeps.trial import Reporter
from metaplastic.outer.loggers import Metrics

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ["--search", "rates.weights=1e-4..1e-2:log", "clip=1,10"]
TINY = ["--preset", "tiny", "--threads", "1", "--episodes", "2", "--lifetimes", "2"]
SHARE = """
import os, sys, time
from pathlib import Path
from experiments.lab.sweeps import study
from experiments.lab.sweeps.config import Sweep
study.HEARTBEAT, study.GRACE, study.WAIT = 1, 2, 0.1

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("process", os.getpid())
    print("begun", trial.number, flush=True)
    time.sleep(float(sys.argv[2]))
    return x * x

config = Sweep(search=("clip=-1..1",), trials=6, runs=Path(sys.argv[1]))
opened = study.open_study(config, "minimize")
study.take_trials(opened, config, objective)
"""


def opened(root: Path, **settings: object) -> tuple[optuna.Study, Sweep]:
    config = Sweep(**{"search": ("clip=-1..1",), "trials": 6, "runs": root, **settings})  # type: ignore[arg-type]
    return studies.open_study(config, "minimize"), config


def sharing(root: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SHARE, str(root), str(seconds)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_share_a_study_and_take_no_trial_too_many(tmp_path: Path) -> None:
    both = [sharing(tmp_path, 0.3) for _ in range(2)]
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    trials = opened(tmp_path)[0].trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert {trial.user_attrs["process"] for trial in trials} == {one.pid for one in both}


def test_a_trial_of_a_killed_process_is_taken_up_by_another(tmp_path: Path) -> None:
    with sharing(tmp_path, 100) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun 0\n"
        time.sleep(1.5)  # its heart has beaten
        os.kill(killed.pid, signal.SIGKILL)
    with sharing(tmp_path, 0) as other:
        other.communicate(timeout=120)
        assert other.returncode == 0
    trials = opened(tmp_path)[0].trials
    assert trials[0].state is TrialState.FAIL
    assert sum(trial.state is TrialState.COMPLETE for trial in trials) == 6
    again = [trial for trial in trials if trial.system_attrs.get("failed_trial") == 0]
    assert [trial.params for trial in again] == [trials[0].params]


def test_a_trial_behind_the_others_is_pruned(tmp_path: Path) -> None:
    study, config = opened(tmp_path, trials=6, pruner="median")

    def objective(trial: Trial) -> float:
        for step in range(3):
            trial.report(float(trial.number), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(trial.number)

    studies.take_trials(study, config, objective)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 4 + [TrialState.PRUNED] * 2
    study, config = opened(tmp_path, trials=6, pruner="none", name="all")
    studies.take_trials(study, config, objective)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_chooses_the_same_values(sampler: str, tmp_path: Path) -> None:
    def objective(trial: Trial) -> float:
        return trial.suggest_float("x", 0, 1) + trial.suggest_categorical("n", [1, 2])

    found = []
    for name in ("one", "two"):
        study, config = opened(tmp_path, name=name, sampler=sampler, trials=12)
        studies.take_trials(study, config, objective)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]
    assert len({params["x"] for params in found[0]}) == 12


def test_a_sweep_leaves_a_table_figures_and_the_rule_of_its_best_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, *SEARCH, "--trials", "3", "--runs", str(tmp_path)]
    sweep.main(words)
    said = capsys.readouterr().out
    root = tmp_path / "sweep"
    table = json.loads((root / "table.json").read_text())["table"]
    errors = [float(row["validation error"]) for row in table if not row[""]]
    assert errors == sorted(errors)
    assert len(table) == 3
    best = root / table[0]["run"]
    assert f"The best trial is sweep/{table[0]['run']}" in said
    assert (best / "rule" / "config.json").exists()
    assert (best / "result.json").exists()
    clip = json.loads((best / "config.json").read_text())["clip"]
    assert clip == float(table[0]["clip"])
    assert {path.stem for path in (root / "plots").iterdir()} == {
        "contour", "history", "importances", "intermediate", "parallel", "slice", "timeline",
    }  # fmt: skip
    sweep.main(words)  # there is nothing left to do
    assert capsys.readouterr().out.count("| trial-") == 3
    with pytest.raises(ConfigError, match=r"holds a sweep with search = \[.*another --name"):
        sweep.main([*TINY, "--search", "clip=1,2", "--runs", str(tmp_path)])


def test_an_interrupted_trial_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, *SEARCH, "--trials", "1", "--steps", "6", "--runs", str(tmp_path)]

    def interrupted(self: Reporter, step: int, metrics: Metrics) -> None:
        Reporter_log(self, step, metrics)
        if step == 4:
            raise KeyboardInterrupt

    Reporter_log = Reporter.log  # noqa: N806
    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "log", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.main(words)
    sweep.main(words)
    sweep.main([*words[:-2], "--name", "whole", *words[-2:]])
    lines = [
        [line["loss"] for line in read_lines(tmp_path / name / "trial-0000" / "metrics.jsonl")]
        for name in ("sweep", "whole")
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 6
    values = [
        trial.intermediate_values
        for name in ("sweep", "whole")
        for trial in optuna.load_study(
            study_name=name, storage=f"sqlite:///{tmp_path / name / 'study.db'}"
        ).trials
        if trial.state is TrialState.COMPLETE
    ]
    assert values[0] == values[1]
    assert list(values[0]) == [1, 2, 3, 4, 5, 6]


def test_processes_of_one_command_share_the_work(tmp_path: Path) -> None:
    words = [*TINY, "--search", "clip=1,5,10", "--sampler", "grid", "--jobs", "2"]
    sweep.main([*words, "--runs", str(tmp_path)])
    table = json.loads((tmp_path / "sweep" / "table.json").read_text())["table"]
    assert sorted(row["clip"] for row in table) == ["1", "10", "5"]


def test_a_space_is_read() -> None:
    found = space(["rates.weights=1e-4..1e-2:log", "options.hidden=1,2", "steps=10..20"])
    assert found == {
        "rates.weights": Between(1e-4, 1e-2, whole=False, log=True),
        "options.hidden": ("1", "2"),
        "steps": Between(10, 20, whole=True, log=False),
    }
    values = {"rates.weights": 0.5, "options.hidden": "1", "stream.ways": 3, "clip": "none"}
    run = trial_run(Sweep(rates=("weights=1",)), values, "trial-0000")
    assert run.rates == ("weights=1", "weights=0.5")  # the last of a name counts
    assert (run.options, run.stream, run.clip) == (("hidden=1",), ("train.ways=3",), None)
    assert run.run_name == "sweep/trial-0000"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--search is empty: say what to search"),
        (["--search", "clip"], "--search got 'clip': write NAME=LOW..HIGH"),
        (["--search", "option.x=1,2"], "'option' is not what a sweep can search: did you mean 'op"),
        (["--search", "seed=1,2"], "'seed' is not what a sweep can search"),
        (["--search", "clip=1"], "clip=1 is no list: give two values or more, each once."),
        (["--search", "clip=1,1,2"], "is no list: give two values or more, each once."),
        (["--search", "clip=1,2,"], "--search got 'clip=1,2,', where an item is empty"),
        (["--search", "clip=2..1"], "is no range: LOW must be below HIGH."),
        (["--search", "clip=0..1:log"], "LOW must be above 0 and below HIGH."),
        (["--search", "clip=1..nan"], "clip=nan cannot be read: clip must be float"),
        (["--search", "clip=1..2:lin"], "is no range: write LOW..HIGH or LOW..HIGH:log."),
        (["--search", "clip=1,2", "clip=3,4"], "--search names clip twice: omit one of the two."),
        (["--search", "clip=1..2", "--sampler", "grid"], "--sampler grid has no values of clip"),
        (["--search", "clip=1,2", "--trials", "0"], "--trials is 0: it must be at least 1."),
        (["--search", "clip=0,1"], "--clip is 0: it must be above 0 and finite."),
        (["--search", "options.nothing=0,1"], "'nothing' is not an option of method 'flp'"),
        (["--search", "clip=1,2", "--storage", "nowhere"], "--storage nowhere cannot be used ("),
    ],
)
def test_what_no_sweep_can_search_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        sweep.main([*TINY, "--runs", str(tmp_path), *words])


def test_a_grid_has_no_more_trials_than_values() -> None:
    assert read([*TINY, "--sampler", "grid", "--search", "clip=1,2,3", "tasks=2,4"]).trials == 6
