"""Words that a parser would accept and nobody means are refused, on every command line alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments import align, compare, continual, credit, deep, meta_test, meta_train, norms, sweep
from experiments.lab.settings.registry import ConfigError, typed
from tests.experiments.test_command_lines import SCRIPTS

ROOT = Path(__file__).resolve().parents[3]
EMPTY = "where an item is empty: write what is missing, or omit the comma."
DIGITS = "write numbers in the digits 0 to 9."
FINITE = "must be finite."
MAIN = {
    "meta_train": meta_train, "compare": compare, "continual": continual, "align": align,
    "credit": credit, "deep": deep, "norms": norms, "meta_test": meta_test, "sweep": sweep,
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("meta_train --preset tiny --options rate=nan", "rate must be float, and finite."),
        ("meta_train --preset tiny --rates weights=inf", "weights must be float, and finite."),
        ("meta_train --preset tiny --rates weights=-Infinity", "float, and finite."),
        ("meta_train --preset tiny --stream functions=nan", "functions must be int, and finite."),
        ("meta_train --preset tiny --clip inf", "--clip is inf: it must be above 0 and finite."),
        ("align --rate nan", f"--rate is nan: it {FINITE}"),
        ("deep --lr nan", f"--lr is nan: it {FINITE}"),
        ("deep --lrs 0.1 inf", f"--lrs is inf: it {FINITE}"),
        ("norms --rates 0.1 nan", f"--rates is nan: it {FINITE}"),
        ("compare --minutes=nan", "--minutes is nan: it must be above 0 and finite."),
        ("compare --methods flp,", f"--methods got 'flp,', {EMPTY}"),
        ("compare --methods flp,,hidden=1", f"--methods got 'flp,,hidden=1', {EMPTY}"),
        ("continual --classes 10,,600", "--classes is '10,,600': write numbers of classes"),
        ("continual --classes ٢٣", "--classes is '٢٣': write numbers of classes"),
        ("credit --check bp,", f"--check got 'bp,', {EMPTY}"),
        ("meta_train --preset tiny --stream support_instances=0,", EMPTY),
        ("meta_train --steps ٣", f"--steps is '٣': {DIGITS}"),
        ("meta_train --steps=४", f"--steps is '४': {DIGITS}"),
        ("compare --seeds ३", f"--seeds is '३': {DIGITS}"),
        ("deep --lrs 0.1 ٣.٢", f"--lrs is '٣.٢': {DIGITS}"),
        ("meta_train --preset tiny --options rate=٣", "with numbers in the digits 0 to 9."),
        ("sweep --search clip=٢..٣", "clip must be float, with numbers in the digits 0 to 9."),
        ("sweep --search clip=1..inf", "clip must be float, and finite."),
    ],
)
def test_a_word_that_nobody_means_is_one_sentence(line: str, sentence: str) -> None:
    command, *words = line.split()
    with pytest.raises(ConfigError) as refusal:
        MAIN[command].main(words)
    said = str(refusal.value)
    assert sentence in said
    assert "\n" not in said


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", "٣"], f"error: --seed is '٣': {DIGITS}"),
        (["--seed", ""], "error: --seed is empty: write a value, or omit it."),
    ],
    ids=["digits", "empty"],
)
def test_every_command_refuses_them(script: str, words: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{script}", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [sentence]


@pytest.mark.parametrize("words", [["--name", ""], ["--data="], ["--options", "a=1", " "]])
def test_an_empty_value_is_refused(words: list[str]) -> None:
    flag = words[0].rstrip("=")
    with pytest.raises(ConfigError, match=f"^{flag} is empty: write a value, or omit it.$"):
        meta_train.main(words)


def test_an_empty_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="root= cannot be read: root must be str, not empty"):
        typed("root", "", str)


def test_a_name_may_be_of_any_script() -> None:
    with pytest.raises(ConfigError, match="start the run without --resume first"):
        meta_train.main(["--name", "٣", "--resume", "--runs", "nowhere"])
