"""Every script explains itself quickly, and what goes wrong is one sentence."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from experiments.lab.runs.run_folder import read_json, write_json
from experiments.lab.settings import cli, registry
from experiments.lab.settings.config import PRESETS, Train, preset, record, restore
from metaplastic.support.disk import DiskFullError, saying_when_full

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")
    for path in (ROOT / "experiments").rglob("*.py")
    if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text()
)


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_comes_without_torch(script: str) -> None:
    done = call("-X", "importtime", "-m", f"experiments.{script}", "--help")
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tyro" in loaded
    assert not loaded & {"torch", "matplotlib", "numpy"}
    assert "usage" in done.stdout
    assert "--seed" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag_is_answered_by_the_nearest_known_one(script: str) -> None:
    done = call("-m", f"experiments.{script}", "--sede", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: '--sede' is not a flag of this command: did you mean '--seed'?"
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "fpl"], "'fpl' is not a method: did you mean 'flp'?"),
        (["--task", "sinus"], "'sinus' is not a task: did you mean 'sines'?"),
        (["--preset", "papers"], "'papers' is not a preset: did you mean 'paper'?"),
        (
            ["--stream", "function=3"],
            "'function' is not an option of task 'sines': did you mean 'functions'?",
        ),
        (
            ["--stream", "functions=three"],
            "functions=three cannot be read: functions must be int.",
        ),
        (["--rates", "weight=1"], "did you mean 'weights'?"),
        (["--steps", "abc"], "--steps: invalid literal for int() with base 10: 'abc' (see --help"),
        (["--minutes"], "Missing value for argument '--minutes'"),
        (
            ["--schedule", "lunar"],
            "Expected one of ('constant', 'cosine', 'published') (see --help",
        ),
        (["stray"], "Unrecognized options: stray"),
        (["--device", "abacus"], "--device abacus cannot be used here"),
        (["--resume", "--name", "never-run"], "start the run without --resume first."),
        (["--episodes", "0"], "--episodes is 0: it must be at least 1."),
        (["--save-every", "-1"], "--save-every is -1: it must be at least 1."),
        (["--minutes", "nan"], "--minutes is nan: it must be above 0 and finite."),
        (["--name", "../elsewhere"], "--name '../elsewhere' is not the name of a folder within"),
    ],
)
def test_a_wrong_name_or_value_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    done = call("-m", "experiments.meta_train", "--preset", "tiny", "--runs", str(tmp_path), *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert sentence in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("task", ["sines", "glyphs", "omniglot"])
def test_a_recorded_config_is_read_back_the_same(name: str, task: str) -> None:
    config = replace(
        preset(Train, ["--preset", name, "--task", task]), data=Path("data"), options=("a=1",)
    )
    assert restore(Train, record(config), Path("config.json")) == config


def test_the_paper_preset_is_what_was_published() -> None:
    sines = preset(Train, ["--preset", "paper", "--task=sines"])
    omniglot = preset(Train, ["--preset=paper", "--task", "omniglot"])
    assert (sines.steps, sines.tasks, sines.clip) == (20_000, 1, None)
    assert (omniglot.steps, omniglot.tasks, omniglot.order) == (40_000, 1, "iid")


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("3", float, 3.0),
        ("None", int | None, None),
        ("2", int | None, 2),
        ("hebb", Literal["hebb", "oja"], "hebb"),
        ("TRUE", bool, True),
        ("0,15", tuple[int, int] | None, (0, 15)),
        ("0,15,20", tuple[int, ...], (0, 15, 20)),
        ("3,fast", tuple[int, str], (3, "fast")),
    ],
)
def test_an_option_is_read_as_its_declared_type(text: str, hint: object, value: object) -> None:
    assert registry.typed("option", text, hint) == value


def test_an_option_of_another_type_is_refused() -> None:
    with pytest.raises(registry.ConfigError, match="rate=fast cannot be read: rate must be float"):
        registry.typed("rate", "fast", float)


@pytest.mark.parametrize("text", ["0", "0,15,20"])
def test_a_pair_is_two(text: str) -> None:
    with pytest.raises(registry.ConfigError, match=f"range={text} cannot be read: range must be "):
        registry.typed("range", text, tuple[int, int] | None)


def test_a_failure_of_another_library_is_a_sentence_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(argv: object) -> None:
        raise KeyError("lost")

    with pytest.raises(SystemExit) as end:
        cli.run(main, [])
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: KeyError: 'lost' (--debug shows where).\n"
    with pytest.raises(KeyError):
        cli.run(main, ["--debug"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_reported_with_the_file_and_what_is_safe(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: object) -> None:
        with saying_when_full(tmp_path, "The run is intact."):
            raise OSError(number, os.strerror(number))

    with pytest.raises(SystemExit):
        cli.run(main, [])
    assert capsys.readouterr().err == (
        f"error: The disk is full: {tmp_path} could not be written. The run is intact. "
        "Free some space.\n"
    )


def test_a_record_that_does_not_fit_is_reported_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "result.json"
    write_json(path, {"error": 1})
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFullError, match=f"^The disk is full: {path} could not be written"):
        write_json(path, {"error": 2})
    assert read_json(path, "") == {"error": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_stopped_script_advises_only_what_it_can_do(script: str) -> None:
    stop = (
        "import runpy, sys, experiments.lab.settings.cli as cli\n"
        "def stopped(*_): raise KeyboardInterrupt\n"
        f"cli.parse = stopped; runpy.run_module('experiments.{script}', run_name='__main__')"
    )
    done = call("-c", stop)
    assert done.returncode == 130
    assert ("--resume" in done.stderr) == (script in ("meta_train", "discover"))
    goes_on = ("meta_train", "discover", "compare", "continual", "demo", "deep", "sweep")
    assert ("resumes" in done.stderr) == (script in goes_on)


def test_sigterm_ends_a_script_as_the_keyboard_does_and_is_nobodys_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended: list[str] = []

    def main(argv: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # a second one does not cut the ending short
            ended.append("well")

    with pytest.raises(SystemExit) as end:
        cli.run(main, [], again="go on.")
    assert (end.value.code, ended) == (143, ["well"])
    assert capsys.readouterr().err == "error: stopped by SIGTERM; go on.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_only_the_main_thread_listens_to_signals() -> None:
    handlers: list[object] = []

    def main(argv: object) -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=cli.run, args=(main, []))
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]


def test_a_value_of_a_flag_is_not_taken_for_a_flag() -> None:
    @dataclass(frozen=True)
    class Settings:
        """Settings."""

        name: str = ""
        number: int = 0

    assert cli.parse(Settings, ["--number", "-3"], Settings()).number == -3


def test_no_words_at_all_are_the_laptop_preset() -> None:
    assert preset(Train, []) == preset(Train, ["--preset", "laptop"])
