"""Learners that come with the package: small, found by name, and each with a card."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaplastic import RuleFileError, from_pretrained, save_pretrained, shipped
from metaplastic.files.provenance import portable
from metaplastic.files.rule_file import read_config
from metaplastic.support.catalog import HOME
from metaplastic.support.describe import describe
from tests.helpers.small_runs import Clusters, small_learner

STREAM = Clusters()


def test_half_the_space_costs_what_rounding_to_eleven_bits_costs(tmp_path: Path) -> None:
    made = small_learner(STREAM)
    for name, half in (("whole", False), ("half", True)):
        save_pretrained(made, tmp_path / name, half=half)
    sizes = {n: (tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "half")}
    tensors = sum(tensor.numel() for tensor in made.state_dict().values())
    assert sizes["whole"] - sizes["half"] == pytest.approx(2 * tensors, abs=200)
    loaded = from_pretrained(tmp_path / "half").state_dict()
    for name, tensor in made.state_dict().items():
        assert loaded[name].dtype is torch.float32
        assert torch.equal(loaded[name], tensor.half().float())


def test_a_shipped_learner_is_loaded_by_its_name_unless_there_is_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, made = tmp_path / "learners", small_learner(STREAM)
    monkeypatch.setattr("metaplastic.support.catalog.HOME", home)
    save_pretrained(made, home / "small")
    with pytest.raises(RuleFileError, match="small is not a rule file"):
        from_pretrained("small")  # has no card
    (home / "small" / "CARD.md").write_text("A small one.")
    assert shipped() == {"small": "A small one."}
    assert read_config("small") == read_config(home / "small")
    assert describe(from_pretrained("small")) == describe(made)
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()
    with pytest.raises(RuleFileError, match="small is not a rule file"):
        from_pretrained("small")


@pytest.mark.parametrize("load", [from_pretrained, read_config])
def test_an_unknown_name_is_answered_by_the_known_ones(
    load: Callable[[str], object], tmp_path: Path
) -> None:
    with pytest.raises(RuleFileError) as error:
        load("omniglot_relativ")
    assert all(name in str(error.value) for name in shipped())
    assert str(error.value).endswith("Did you mean 'omniglot_relative'?")
    with pytest.raises(RuleFileError) as error:
        load(str(tmp_path / "omniglot_relativ"))  # a folder of one's own is not meant by its name
    assert "ship" not in str(error.value).replace(str(tmp_path), "")


def test_every_learner_that_is_shipped_loads_is_small_and_has_a_card() -> None:
    assert {"aligned", "omniglot_readout", "omniglot_polynomial", "omniglot_relative"} <= set(
        shipped()
    )
    for name, card in shipped().items():
        learner = from_pretrained(name)
        assert all(weight.isfinite().all() for weight in learner.state_dict().values())
        assert sum(path.stat().st_size for path in (HOME / name).iterdir()) < 2_000_000
        assert "**Not for**" in card
        assert f'from_pretrained("{name}")' in card


def test_what_ships_names_no_folder_of_the_machine_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in shipped():
        command = read_config(HOME / name)["provenance"]["command"]
        assert [word for word in shlex.split(command) if word != portable(word)] == []
    monkeypatch.chdir(tmp_path)
    words = [f"{tmp_path}/runs/a", "/else/where/b", f"--runs={tmp_path}/runs", "--rate=0.1", "c/d"]
    assert [portable(w) for w in words] == ["runs/a", "b", "--runs=runs", "--rate=0.1", "c/d"]
