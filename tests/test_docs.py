"""The page on how all fits together: its code runs, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from metaplastic import alignment, pathways, plasticity
from metaplastic.inner.state import State, initial_state
from metaplastic.inner.step import step

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how_it_fits_together.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
BASES = {"FeedbackPathway", "CarriedBack", "PlasticityRule", "Alignment"}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the blocks leave, run one after another in a folder of their own."""
    found: dict[str, Any] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.chdir(tmp_path_factory.mktemp("page"))
        torch.manual_seed(0)
        for block in BLOCKS:
            exec(block, found)
    return found


def test_the_code_runs_from_a_stream_to_a_network_elsewhere(known: dict[str, Any]) -> None:
    assert int(known["after"].step) == 1
    assert list(known["after"].feedback) == ["0", "1.1", "2"]
    assert known["loss"] > 0
    assert {"1.first", "2.second", "5"} < set(known["net"].sites.names)


def test_a_step_modifies_nothing(known: dict[str, Any]) -> None:
    before, after = known["state"], known["after"]
    assert int(before.step) == 0
    assert all(not torch.equal(before.weights[n], after.weights[n]) for n in after.weights)


def test_a_lifetime_of_the_learner_is_the_step_again_and_again(known: dict[str, Any]) -> None:
    learner, rule, network, episode = (
        known[name] for name in ("learner", "rule", "plastic", "episode")
    )
    with torch.no_grad():
        fast = learner.initialize(episode.support_y, episode.seed)
        whole = learner.adapt(episode.support_x, episode.support_y, fast)
        state = initial_state(rule, network, episode.seed[2])
        for x, y in zip(episode.support_x[2], episode.support_y[2], strict=True):
            state, _ = step(rule, network, state, x, y)
    third = State.of_flat({name: value[2] for name, value in whole.items()})
    for name, value in state.weights.items():
        torch.testing.assert_close(third.weights[name], value)


def test_every_file_and_link_that_it_names_exists() -> None:
    named = re.findall(r"`((?:metaplastic|tests|tasks|experiments)/[\w/.]*)`", TEXT)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
    in_picture = re.findall(r"(?<![\w/])((?:inner|outer|online|files)/\w+\.py)", TEXT)
    assert not [name for name in in_picture if not (ROOT / "metaplastic" / name).exists()]
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT):
        assert (PAGE.parent / link).exists(), link


def test_the_folder_tree_is_that_of_the_library() -> None:
    tree = TEXT[TEXT.index("```text\nmetaplastic/") :]
    listed = set(re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE))
    home = ROOT / "metaplastic"
    folders = {path.parent.name for path in home.glob("*/__init__.py")} | {"learners"}
    assert listed == folders | {path.name for path in home.glob("[a-z]*.py")}


@pytest.mark.parametrize("folder", [pathways, plasticity, alignment])
def test_the_table_of_parts_names_every_part(folder: Any) -> None:
    classes = {
        name
        for name in folder.__all__
        if isinstance(getattr(folder, name), type)
        and issubclass(getattr(folder, name), torch.nn.Module)
    }
    missing = {name for name in classes - BASES if f"`{name}`" not in TEXT}
    assert not missing
