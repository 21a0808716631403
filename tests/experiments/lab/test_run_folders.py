"""A run's folder is never written over, and its files are whole."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from experiments.lab.figures import curves, plots
from experiments.lab.figures.plots import Curve, plot_lines, plot_statistics, smooth
from experiments.lab.figures.tables import mean_and_interval
from experiments.lab.runs import run_folder
from experiments.lab.runs.progress import progress
from experiments.lab.runs.run_folder import RunFolder, origin, read_json, read_lines, write_json
from experiments.lab.settings.registry import ConfigError

PNG = b"\x89PNG"


def test_a_run_is_not_written_over_unless_requested(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.refuse(overwrite=False)
    folder.start({"steps": 1})
    with pytest.raises(ConfigError, match="already holds a run"):
        folder.refuse(overwrite=False)
    assert folder.recorded() == {"steps": 1}
    folder.refuse(overwrite=True)
    assert folder.recorded() == {"steps": 1}
    folder.start({"steps": 2})
    assert folder.recorded() == {"steps": 2}


def test_a_folder_that_is_no_run_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not a run of ours"):
        RunFolder(tmp_path).refuse(overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_that_holds_other_runs_is_never_deleted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "base")
    folder.start({"steps": 1})
    for name in ("config.json", "model.safetensors"):  # a rule file, which is the run's own
        write_json(folder.rule / name, {})
    folder.refuse(overwrite=True)
    RunFolder(folder.root / "flp-seed0").start({"steps": 2})
    with pytest.raises(ConfigError, match=r"holds other runs, too \(flp-seed0\).*move them"):
        folder.refuse(overwrite=True)


@pytest.mark.parametrize("left", ["./", "plots/", ".config.json.123.tmp", "plots/.a.png.9.tmp"])
def test_what_a_kill_at_the_very_start_leaves_can_be_started_again(
    left: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    path = folder.root / left
    (path if left.endswith("/") else path.parent).mkdir(parents=True)
    if left.endswith(".tmp"):
        path.write_text("{")
    folder.refuse(overwrite=False)
    folder.start({"steps": 1})
    assert folder.recorded() == {"steps": 1}


def test_a_run_has_its_config_before_anything_that_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> dict[str, str]:
        raise KeyboardInterrupt

    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(run_folder, "environment", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.start({"steps": 1})
    assert folder.recorded() == {"steps": 1}
    folder.complete()
    assert read_json(folder.environment, "")["torch"] == torch.__version__


def test_a_run_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder = RunFolder(tmp_path / "run")
    folder.start({"steps": 1})
    with monkeypatch.context() as patched:
        patched.setattr(run_folder, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.start({"steps": 2})
    folder.refuse(overwrite=False)
    folder.start({"steps": 3})
    assert folder.recorded() == {"steps": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_records_where_it_ran(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start({})
    environment = read_json(folder.root / "environment.json", "")
    assert environment["torch"] == torch.__version__
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["threads"] == torch.get_num_threads()


def test_a_table_names_the_gpu_only_of_runs_that_used_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Abacus 9")
    cores = f"{os.cpu_count()} cores"
    assert f"{cores}, torch" in origin("cpu")
    assert f"{cores}, Abacus 9, torch" in origin("cuda:0")


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"error": 1})
    with pytest.raises(TypeError):
        write_json(path, {"error": object()})
    assert json.loads(path.read_text()) == {"error": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"steps": ')
    with pytest.raises(ConfigError, match=r"config\.json is damaged .*: start again"):
        read_json(tmp_path / "config.json", "start again")


@pytest.mark.parametrize("content", ['{"steps": ', "", "[]"])
def test_a_damaged_config_is_not_taken_for_a_missing_one(content: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json .*: it is lost, replace the run") as error:
        folder.recorded()
    assert "--resume" not in str(error.value)
    folder.refuse(overwrite=True)


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [line["step"] for line in read_lines(path)] == [1, 2]


def test_progress_without_a_terminal_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("flp", 2) as report:
        report(1, "loss 0.5")
        report(2, "loss 0.25")
    assert capsys.readouterr().err == "flp: 2/2, 0:00 left, loss 0.25\n"


def test_smoothing_keeps_a_straight_line_and_the_ends() -> None:
    line = [float(i) for i in range(20)]
    assert smooth(line, 5) == pytest.approx(line)
    assert smooth([0.0, 3.0, 0.0], 3) == pytest.approx([0.0, 1.0, 0.0])


def test_a_skipped_meta_step_leaves_the_curve_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted: list[Curve] = []
    monkeypatch.setattr(
        curves, "plot_lines", lambda path, lines, *_, **__: plotted.extend(lines.values())
    )
    run = [{"step": step, "loss": 1.0} for step in range(1, 60)]
    run[9] = {"step": 10, "loss": "nan", "diverged": "1.weight"}
    curves.plot_training(tmp_path, {"flp": [run]})
    (curve,) = plotted
    assert curve.x == [step for step in range(1, 60) if step != 10]
    assert curve.runs == [pytest.approx([1.0] * 58)]


def test_plots_are_images(tmp_path: Path) -> None:
    curves = {
        "flp": Curve([1, 2, 3], [[3.0, 2.0, 1.0], [2.0, 1.0, 0.5]]),
        "oml": Curve([1, 2, 3], [[3.0, 3.0, 3.0]]),
    }
    plot_lines(tmp_path / "lines.png", curves, "functions seen", "squared error", log_y=True)
    keys = ("q05", "q25", "q50", "q75", "q95")
    records = [
        {"step": step} | {f"rule/plasticity/1.rate/{key}": float(i) for i, key in enumerate(keys)}
        for step in (10, 20)
    ]
    plot_statistics(tmp_path / "rule.png", [*records, {"step": 30, "loss": 1.0}])
    assert {path.name for path in tmp_path.iterdir()} == {
        "lines.png", "lines.pdf", "rule.png", "rule.pdf"
    }  # fmt: skip
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(PNG if path.suffix == ".png" else b"%PDF")


def test_an_interval_that_reaches_0_does_not_stretch_a_logarithmic_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted: list[Figure] = []
    monkeypatch.setattr(plots, "save", lambda figure, path: plotted.append(figure))
    curve = Curve([1, 2], [[90.0, 1.0], [100.0, 1.2], [110.0, 2.079]])
    low, _ = curve.band() or ([], [])
    assert 0 < low[1] < 1e-3
    plot_lines(tmp_path / "lines.png", {"flp": curve}, "x", "y", log_y=True)
    (axes,) = plotted[0].axes
    assert axes.get_yscale() == "log"
    bottom, top = axes.get_ylim()
    assert bottom == 1.0 / 2
    assert 110 < top < 1000


def test_a_band_is_students_interval_over_runs_or_that_of_a_runs_lifetimes() -> None:
    low, high = Curve([1], [[1.0], [2.0], [4.0]]).band() or ([], [])
    mean, half = mean_and_interval([1.0, 2.0, 4.0])
    assert half is not None
    assert (low, high) == ([pytest.approx(mean - half)], [pytest.approx(mean + half)])
    assert Curve([1], [[1.0]], low=[0.5], high=[1.5]).band() == ([0.5], [1.5])
    assert Curve([1], [[1.0]]).band() is None


def test_a_run_without_a_rule_draws_no_statistics(tmp_path: Path) -> None:
    plot_statistics(tmp_path / "rule.png", [{"step": 1, "loss": 1.0}])
    assert not list(tmp_path.iterdir())
