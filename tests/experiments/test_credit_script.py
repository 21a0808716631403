"""Training checks of credit-assignment rules: tiny runs, tables, figures, and sentences."""

from __future__ import annotations

import gzip
import json
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from experiments import credit
from experiments.lab.credit_checks import claims as claim_module
from experiments.lab.credit_checks import config, tuning
from experiments.lab.credit_checks.checks import CHECKS, NAMES
from experiments.lab.credit_checks.claim import at
from experiments.lab.credit_checks.claim_gait import CLAIM as GAIT
from experiments.lab.credit_checks.claim_signs import PartlyCopied, PartlySigned
from experiments.lab.credit_checks.data import load_images
from experiments.lab.credit_checks.figures import draw
from experiments.lab.credit_checks.linear import LinearTeacher
from experiments.lab.credit_checks.runs import RUNS
from experiments.lab.credit_checks.targets import Targets
from experiments.lab.credit_checks.training import Training
from experiments.lab.credit_checks.tuning import best
from experiments.lab.credit_checks.work import Measured, measured
from experiments.lab.settings.registry import ConfigError
from tasks.data import DataError
from tests.helpers.real_data import needs


def write_set(folder: Path, examples: int = 200) -> Path:
    """Files as MNIST's: the top half of an image of class k is as bright as k says."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for part in ("train", "t10k"):
        y = torch.randint(10, (examples,), generator=generator)
        x = torch.randint(20, (examples, 28, 28), generator=generator)
        x[:, :14] += (20 * y)[:, None, None]
        pixels = struct.pack(">IIII", 2051, examples, 28, 28) + bytes(x.flatten().tolist())
        answers = struct.pack(">II", 2049, examples) + bytes(y.tolist())
        for kind, content in (("images-idx3", pixels), ("labels-idx1", answers)):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))
    return folder.parent


@dataclass(frozen=True)
class Fixed:
    """A work that returns a fixed value, and counts."""

    value: float

    def reduced(self) -> Fixed:
        return Fixed(-self.value)

    def measure(self, seed: int) -> Measured:
        return {"accuracy": self.value + seed, "seconds": 0.0}


def test_every_check_names_runs_that_there_are_and_every_rule_is_in_the_help() -> None:
    assert NAMES == config.CHECKS
    assert {name for check in CHECKS for name in check.runs} <= set(RUNS)
    assert all(claim_module.claim(name).curves for name in config.CLAIMS)


def test_equal_work_is_done_once_and_every_name_gets_it() -> None:
    found = measured({"a": Fixed(1), "b": Fixed(1), "c": Fixed(2)}, [0, 5], 1, "fixed")
    assert [run["accuracy"] for run in found["a"]] == [1, 6]
    assert found["a"] == found["b"]
    assert [run["accuracy"] for run in found["c"]] == [2, 7]


def test_work_in_processes_is_the_same_to_the_bit() -> None:
    works = {"fa": LinearTeacher(rule="feedback_alignment", steps=1000)}
    alone, apart = (measured(works, [0, 1], jobs, "linear")["fa"] for jobs in (1, 2))
    for one, other in zip(alone, apart, strict=True):
        assert one["error_at"] == other["error_at"]
        assert one["delta_at"] == other["delta_at"]


@pytest.mark.parametrize(
    "rule", ["backprop", "feedback_alignment", "direct_feedback_alignment", "kolen_pollack"]
)
def test_a_tiny_training_learns_and_is_the_same_again(rule: str, tmp_path: Path) -> None:
    root = str(write_set(tmp_path / "fashion_mnist"))
    work = Training(
        rule=rule, root=root, examples=200, hidden=(32, 32), epochs=30, batch=20, gain=0.5
    )  # fmt: skip
    first, again = work.measure(3), work.measure(3)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["accuracy"] > 30
    assert len(first["delta"]) == 2
    assert len(first["accuracies"]) == 30
    exact = rule == "backprop"
    assert all((angle == 0) == exact for angle in first["delta"])
    assert len(first["ratio"]) == (0 if rule.startswith("direct") else 2)


def test_images_are_standardized_by_the_training_images_alone(tmp_path: Path) -> None:
    root = str(write_set(tmp_path / "mnist"))
    data = load_images("mnist", 100, root, held_out=20)
    assert data.x.shape == (80, 1, 28, 28)
    assert len(data.test_x) == 20
    assert float(data.x.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data.x.std()) == pytest.approx(1, abs=1e-5)
    unit = load_images("mnist", 100, root, scale="unit", pool=2)
    assert unit.x.shape == (100, 1, 14, 14)
    assert 0 <= float(unit.x.min()) <= float(unit.x.max()) <= 1
    torch.testing.assert_close(load_images("mnist", 100, root).test_y, unit.test_y)


def test_targets_learn_beside_backprop_and_their_last_gradient_is_its_own(tmp_path: Path) -> None:
    from metaplastic.pathways.inverse import Inverse

    root = str(write_set(tmp_path / "fashion_mnist"))
    work = Targets(root=root, examples=200, layers=2, epochs=5, lr=1e-3)
    gait = replace(work, how=Inverse(orthogonality=0.1, diagonal=False)).measure(0)
    assert gait["accuracy"] > 20
    assert gait["accuracy"] == pytest.approx(work.measure(0)["accuracy"], abs=15)
    assert gait["delta"][-1] < 1e-6


def test_partly_signed_feedback_agrees_with_as_many_signs_as_given() -> None:
    weight = torch.randn(200, 200)
    for rule in (PartlySigned(agree=0.75), PartlyCopied(agree=0.75)):
        feedback = rule.first(weight, torch.Generator().manual_seed(0))
        agree = rule.through(weight, feedback).sign() == weight.sign()
        assert float(agree.float().mean()) == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(rule.through(weight, feedback).abs(), weight.abs())


def test_tuning_prefers_what_validation_prefers_and_of_equals_the_largest() -> None:
    tried = {"fa x 0.1": 70.0, "fa x 0.3": 80.0, "fa x 1": 60.0}
    assert best("fa", {name: [{"accuracy": value}] for name, value in tried.items()}) == 0.3
    assert best("fa", {name: [{"accuracy": 5.0}] for name in tried}) == 1.0


def test_a_check_is_written_as_table_and_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_set(tmp_path / "fashion_mnist", 2500)
    words = ["--reduced", "--seeds", "1", "--data", str(root), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as end:  # bright halves are learned too well: no line of 87 %
        credit.main(["--check", "bp", *words, "--strict"])
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert said.startswith((tmp_path / "out" / "table.md").read_text().rstrip("\n"))
    assert re.search(r"2 of 3 pass lines are met, 1 NOT met\.", said)
    numbers = json.loads((tmp_path / "out" / "checks.json").read_text())
    assert [line[""] for line in numbers["lines"]] == ["met", "NOT met", "met"]
    assert numbers["seeds"] == [0]
    credit.main(["--check", "bp", *words])


def test_a_claim_is_plotted_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    credit.main(["--claims", "gait", "--seeds", "2", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "NOT met" not in said
    assert {path.name for path in (tmp_path / "claims").iterdir()} == {
        "gait.json", "gait.md", "gait.pdf", "gait.png",
    }  # fmt: skip


def test_each_rule_is_tested_at_common_weights_and_at_those_that_held_out_images_prefer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "RULES", ("bp", "fa"))
    for name in tuning.RULES:
        work = RUNS[name]
        assert isinstance(work, Training)
        monkeypatch.setitem(RUNS, name, replace(work, examples=200, hidden=(16,), epochs=2))
    data = write_set(tmp_path / "data" / "fashion_mnist")
    credit.main(["--tune", "--seeds", "2", "--data", str(data), "--out", str(tmp_path / "out")])
    assert "| backprop " in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "tuned.json").read_text())
    assert [row["rule"] for row in kept["table"]] == ["backprop", "feedback_alignment"]
    for short, row in zip(tuning.RULES, kept["table"], strict=True):
        held = {g: tuning._mean(kept["validation"], f"{short} x {g:g}") for g in tuning.GAINS}
        own = row["chosen"].removeprefix("x ")
        assert held[float(own)] == max(held.values())
        for title, gain in (("test %, chosen", own), ("test %, common x 1", "1")):
            runs = kept["test"][f"{short} x {gain}"]
            assert row[title].startswith(f"{sum(run['accuracy'] for run in runs) / 2:.1f}")


def test_a_figure_has_a_panel_for_each_view_and_a_line_for_each_curve(tmp_path: Path) -> None:
    found = {
        at(label, x): [{"delta": [x]}, {"delta": [2 * x]}]
        for label, row in GAIT.curves.items()
        for x in row
    }
    draw(tmp_path / "deep" / "figure.png", GAIT, found)
    assert (tmp_path / "deep" / "figure.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to do: give --check all, --claims all or --tune."),
        (["--check", "pk"], "'pk' is not a check: did you mean 'kp'?"),
        (["--claims", "dept"], "'dept' is not a claim: did you mean 'depth'?"),
        (["--check", "bp", "--seeds", "0"], "--seeds is 0: it must be at least 1."),
        (["--check", "bp", "--jobs", "0"], "--jobs is 0: it must be at least 1."),
        (["--check", "cifar", "--reduced"], "none of these checks has a bound for a reduced run"),
    ],
)
def test_a_wrong_word_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        credit.main(words)


def test_missing_and_damaged_images_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fashion_mnist are expected .* set METAPLASTIC_DATA"):
        load_images("fashion_mnist", root=str(tmp_path))
    root = write_set(tmp_path / "mnist", 20)
    with pytest.raises(
        DataError, match=r"^21 training images were requested of mnist, which has 20"
    ):
        load_images("mnist", 21, str(root))
    (root / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"not a gzip file")
    with pytest.raises(DataError, match="cannot be read"):
        load_images("mnist", 19, str(root))
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(DataError, match=r"cifar10_exact_subset\.npz' cannot be read"):
        load_images("cifar10", root=str(tmp_path))


@needs("fashion_mnist")
@needs("mnist")
def test_reduced_checks_of_real_images_are_met(tmp_path: Path) -> None:
    rules = ("fa", "dfa", "usf", "frsf", "brsf", "bp", "kp", "sa", "aa", "gait")
    words = ["--check", *rules, "--reduced", "--seeds", "1", "--strict", "--out", str(tmp_path)]
    credit.main(words)
