"""The command that checks exactness by number, small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from experiments import exact
from experiments.lab.exact import report
from experiments.lab.exact.config import BOUNDS
from experiments.lab.settings.registry import ConfigError


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_rules_and_zoo_are_tables_within_their_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    exact.main(["--rules", "kolen", "mirrored", "--networks", "attention"])
    said = capsys.readouterr().out
    for word in (
        "kolen_pollack",
        "kolen-pollack per synapse",
        "mirrored, adaptive",
        "out of reach",
    ):
        assert word in said
    assert said.rstrip().endswith("All within the bounds.")
    assert "MISSED" not in said


def test_single_precision_has_a_bound_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--what", "rules", "--dtype", "float32", "--rules", "backprop", "--networks", "mlp"]
    exact.main(words)
    assert "float32, bound 1e-06" in capsys.readouterr().out


def test_a_missed_bound_is_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOUNDS, "float64", 0.0)
    with pytest.raises(SystemExit) as ended:
        exact.main(["--what", "rules", "--rules", "weight_mirror", "--networks", "mlp"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "MISSED" in said
    assert "1 of the bounds missed" in said


def test_what_fails_in_the_zoo_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(iter(report.zoo(()).values()))

    def fail(entry: object) -> None:
        raise RuntimeError("it fell\nover")

    monkeypatch.setattr(report, "compared", fail)
    row, missed = report.zoo_row(entry)
    assert missed
    assert row["farthest from autograd"] == "MISSED: RuntimeError: it fell over"


@pytest.mark.parametrize("flag", ["--rules", "--networks"])
def test_a_name_that_is_none_is_said(flag: str) -> None:
    with pytest.raises(ConfigError, match="is called by nonesuch"):
        exact.main(["--what", "rules", flag, "nonesuch"])
