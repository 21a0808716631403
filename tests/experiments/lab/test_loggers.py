"""Loggers of other packages get the numbers, once, and only where they are requested."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments import meta_train
from experiments.lab.runs.loggers import needed, requested_loggers
from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.loggers import rewind, sync

# Deprecations within protobuf, wandb and TensorBoard are theirs.
OWN_WARNINGS = pytest.mark.filterwarnings("default")


def test_a_missing_logger_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import then fails
    with pytest.raises(ConfigError, match="pip install wandb, or omit the option"):
        needed("wandb")


@OWN_WARNINGS
def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the log extra is not installed")
    (logger,) = requested_loggers(("tensorboard",), tmp_path, "run", {}, "offline")
    logger.log(1, {"loss": 0.5, "diverged": "1.weight"})
    logger.close()
    assert list((tmp_path / "tensorboard").glob("events*"))


@OWN_WARNINGS
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


@OWN_WARNINGS
def test_a_resumed_run_is_the_same_run_to_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the log extra is not installed")
    for step in (1, 2):
        (logger,) = requested_loggers(("wandb",), tmp_path, "run", {"steps": 2}, "offline")
        logger.log(step, {"loss": 0.5})
        logger.close()
    identity = (tmp_path / "wandb-id.txt").read_text()
    kept = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert [identity in name for name in kept] == [True, True]


@OWN_WARNINGS
def test_wandb_stays_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the log extra is not installed")
    (logger,) = requested_loggers(("wandb",), tmp_path, "run", {"steps": 1}, "offline")
    logger.log(1, {"loss": 0.5})
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


@pytest.fixture
def finished(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A finished run that was also logged to the package named."""
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "a/run", "--log", request.param]
    meta_train.main(words)
    return tmp_path / "a" / "run"


@OWN_WARNINGS
@pytest.mark.parametrize("finished", ["tensorboard"], indirect=True)
def test_tensorboard_gets_the_figures_and_the_card(finished: Path) -> None:
    pytest.importorskip("tensorboard", reason="the log extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(finished / "tensorboard"), size_guidance={"images": 0})
    found.Reload()
    figures = {f"plots/{path.stem}" for path in (finished / "plots").glob("*.png")}
    assert figures
    assert set(found.Tags()["images"]) == figures
    assert found.Tags()["tensors"] == ["card/text_summary"]
    text = found.Tensors("card/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == (finished / "rule" / "CARD.md").read_text()
    assert text.startswith("# a/run")


@OWN_WARNINGS
@pytest.mark.parametrize("finished", ["wandb"], indirect=True)
def test_wandb_gets_the_figures_the_card_and_the_rule_offline(finished: Path) -> None:
    pytest.importorskip("wandb", reason="the log extra is not installed")
    (folder,) = (finished / "wandb").glob("offline-run-*")
    figures = sorted(path.read_bytes() for path in (finished / "plots").glob("*.png"))
    kept = sorted(path.read_bytes() for path in (folder / "files" / "media").rglob("*.png"))
    assert kept == figures
    (record,) = folder.glob("*.wandb")
    content = record.read_bytes()
    for artifact in (b"a-run-figures", b"a-run-card", b"a-run-rule"):
        assert artifact in content
