"""Loggers of other packages get the numbers, once, and only where they are requested."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.lab.runs.loggers import needed, requested_loggers
from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.loggers import rewind, sync


def test_a_missing_logger_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import then fails
    with pytest.raises(ConfigError, match="pip install wandb, or omit the option"):
        needed("wandb")


@pytest.mark.filterwarnings("default")  # protobuf's own deprecations
def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the log extra is not installed")
    (logger,) = requested_loggers(("tensorboard",), tmp_path, "run", {}, "offline")
    logger.log(1, {"loss": 0.5, "diverged": "1.weight"})
    logger.close()
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.filterwarnings("default")
def test_tensorboard_forgets_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the log extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (killed,) = requested_loggers(("tensorboard",), tmp_path, "run", {}, "offline")
    for step in (1, 2, 3, 4):
        killed.log(step, {"loss": 1.0})
    killed.close()
    (resumed,) = requested_loggers(("tensorboard",), tmp_path, "run", {}, "offline")
    rewind([resumed], 2)
    resumed.log(3, {"loss": 0.5})
    sync([resumed])
    record = EventAccumulator(str(tmp_path / "tensorboard"))
    record.Reload()
    assert [(e.step, e.value) for e in record.Scalars("loss")] == [(1, 1.0), (2, 1.0), (3, 0.5)]
    resumed.close()


@pytest.mark.filterwarnings("default")
def test_a_resumed_run_is_the_same_run_to_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the log extra is not installed")
    for step in (1, 2):
        (logger,) = requested_loggers(("wandb",), tmp_path, "run", {"steps": 2}, "offline")
        logger.log(step, {"loss": 0.5})
        logger.close()
    identity = (tmp_path / "wandb-id.txt").read_text()
    kept = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert [identity in name for name in kept] == [True, True]


@pytest.mark.filterwarnings("default")
def test_wandb_stays_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the log extra is not installed")
    (logger,) = requested_loggers(("wandb",), tmp_path, "run", {"steps": 1}, "offline")
    logger.log(1, {"loss": 0.5})
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))
