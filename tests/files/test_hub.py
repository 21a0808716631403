"""Rules handed on through the hub, which here is in memory, behind its client's transport."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from metaplastic import RuleFileError, from_pretrained, save_pretrained, shipped
from metaplastic.files.hub import push_to_hub
from metaplastic.files.rule_file import read_config
from metaplastic.support.describe import describe
from metaplastic.support.optional import MissingPackageError
from tests.helpers.fake_hub import FILES, FakeHub, fake_hub
from tests.helpers.small_runs import Clusters, small_learner

pytestmark = pytest.mark.skipif(
    find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed: extra hub"
)
NAME = "someone/small-rule"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.chdir(tmp_path)
    with fake_hub() as made:
        yield made


def test_a_learner_that_is_pushed_is_loaded_by_its_name(hub: FakeHub) -> None:
    made = small_learner(Clusters())
    url = made.push_to_hub(NAME, provenance={"method": "by hand"}, license="mit", tags=["small"])
    assert url == f"https://huggingface.co/{NAME}"
    assert set(hub.repos[NAME]) == FILES
    loaded = from_pretrained(NAME)
    assert describe(loaded) == describe(made)
    assert not loaded.training
    for name, tensor in made.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert read_config(NAME)["provenance"]["method"] == "by hand"


def test_the_model_card_has_a_header_and_says_what_the_rule_is(hub: FakeHub) -> None:
    made = small_learner(Clusters())
    made.push_to_hub(NAME, provenance={"method": "a | b"}, license="mit", tags=["small"])
    card = hub.repos[NAME]["README.md"].decode()
    _, head, body = card.split("---\n", 2)
    assert "library_name: metaplastic\n" in head
    assert '- "small"\n' in head
    assert 'license: "mit"\n' in head
    assert body.startswith("\n# small-rule\n")
    assert all(f"`{part}`" in body for part in made.rule.parts)
    assert f'from_pretrained("{NAME}")' in body
    assert "| method | `a \\| b` |" in body


def test_a_rule_file_is_uploaded_as_it_is_with_its_card(hub: FakeHub) -> None:
    from metaplastic.support.catalog import HOME

    push_to_hub("omniglot_relative", NAME)
    for name in ("config.json", "model.safetensors"):
        assert hub.repos[NAME][name] == (HOME / "omniglot_relative" / name).read_bytes()
    assert hub.repos[NAME]["README.md"].decode().endswith(shipped()["omniglot_relative"])
    assert hub.repos[NAME]["README.md"].startswith(b"---\nlibrary_name: metaplastic\n")
    rule = from_pretrained(NAME).rule.plasticity
    own = from_pretrained("omniglot_relative").rule.plasticity
    assert rule.equation() == own.equation()


def test_a_card_of_ones_own_with_a_header_stays_as_it_is(hub: FakeHub) -> None:
    card = "---\nlicense: mit\n---\n# Mine\n"
    small_learner(Clusters()).push_to_hub(NAME, card=card)
    assert hub.repos[NAME]["README.md"].decode() == card


def test_a_second_push_takes_the_place_of_the_first(hub: FakeHub) -> None:
    first, second = small_learner(Clusters()), small_learner(Clusters(4, 8))
    first.push_to_hub(NAME)
    assert describe(from_pretrained(NAME)) == describe(first)
    before = hub.sha(NAME)
    second.push_to_hub(NAME)
    assert describe(from_pretrained(NAME)) == describe(second)
    with pytest.raises(RuleFileError, match="it has no such revision"):
        from_pretrained(NAME, revision="v2")
    # What was fetched is kept, by its commit.
    assert describe(from_pretrained(NAME, revision=before)) == describe(first)


def test_a_folder_of_that_name_wins(hub: FakeHub, tmp_path: Path) -> None:
    far, near = small_learner(Clusters()), small_learner(Clusters(4, 8))
    far.push_to_hub(NAME)
    before = len(hub.requests)
    save_pretrained(near, tmp_path / NAME)
    assert describe(from_pretrained(NAME)) == describe(near)
    (tmp_path / NAME / "config.json").unlink()
    with pytest.raises(RuleFileError, match="small-rule is not a rule file"):
        from_pretrained(NAME)
    assert len(hub.requests) == before


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_what_is_damaged_there_is_refused_here(hub: FakeHub, file: str) -> None:
    small_learner(Clusters()).push_to_hub(NAME)
    content = hub.repos[NAME][file]
    hub.repos[NAME][file] = content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]
    with pytest.raises(RuleFileError, match="damaged"):
        from_pretrained(NAME)


def test_the_tensors_of_something_else_are_not_fetched(hub: FakeHub) -> None:
    hub.repos[NAME] = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"large"}
    with pytest.raises(RuleFileError, match="is not the config of a rule file"):
        from_pretrained(NAME)
    assert not [path for _, path in hub.requests if "safetensors" in path]
    hub.repos[NAME] = {"pytorch_model.bin": b"pickle"}
    with pytest.raises(RuleFileError, match="holds no rule file"):
        from_pretrained(NAME)


def test_a_repository_that_is_not_there_is_said_in_a_sentence(hub: FakeHub) -> None:
    with pytest.raises(RuleFileError) as error:
        from_pretrained("someone/nothing")
    assert str(error.value) == (
        "'someone/nothing' cannot be read from the hub: there is no such folder here and no such "
        "repository there, or it is private and no token that may read it was given "
        "(`hf auth login`)."
    )
    hub.refusal = 403
    with pytest.raises(RuleFileError, match=r"the hub refuses it \(403\); give a token that may"):
        small_learner(Clusters()).push_to_hub(NAME)


def test_without_a_network_the_cache_serves_and_else_a_sentence(hub: FakeHub) -> None:
    import httpx2

    made = small_learner(Clusters())
    made.push_to_hub(NAME)
    from_pretrained(NAME)
    hub.down = lambda: httpx2.ConnectError("no route to host")
    assert describe(from_pretrained(NAME)) == describe(made)
    with pytest.raises(RuleFileError, match="not in the cache of this machine, and the hub cannot"):
        from_pretrained("someone/else")
    with pytest.raises(RuleFileError, match=r"cannot be reached \(no route to host\)"):
        made.push_to_hub("someone/else")


@pytest.mark.parametrize("name", ["small", "a/b/c", "../a", "a/", "", 3])
def test_other_names_are_no_repositories(hub: FakeHub, name: str) -> None:
    with pytest.raises(RuleFileError, match="is named 'user/name'"):
        small_learner(Clusters()).push_to_hub(name)
    with pytest.raises((RuleFileError, TypeError)):
        from_pretrained(name)
    assert not hub.requests


def test_what_is_no_rule_file_is_not_uploaded(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="is not a rule file"):
        push_to_hub(tmp_path, NAME)
    save_pretrained(small_learner(Clusters()), tmp_path / "rule")
    with pytest.raises(RuleFileError, match="is uploaded as it is"):
        push_to_hub(tmp_path / "rule", NAME, half=True)
    text = (tmp_path / "rule" / "config.json").read_bytes()
    (tmp_path / "rule" / "config.json").write_bytes(text.replace(b"Oja", b"Aja"))
    with pytest.raises(RuleFileError, match="damaged"):
        push_to_hub(tmp_path / "rule", NAME)
    (tmp_path / "rule" / "config.json").write_bytes(text)
    (tmp_path / "rule" / "CARD.md").write_text("# A card")
    (tmp_path / "rule" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RuleFileError, match="damaged"):
        push_to_hub(tmp_path / "rule", NAME)
    assert not hub.requests


def test_without_its_package_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for work in (lambda: from_pretrained(NAME), lambda: push_to_hub("omniglot_relative", NAME)):
        with pytest.raises(MissingPackageError, match=r"pip install 'metaplastic\[hub\]'"):
            work()


@pytest.mark.skipif(
    "METAPLASTIC_HUB" not in os.environ, reason="METAPLASTIC_HUB names no repository to push to"
)
def test_the_hub_itself() -> None:
    made = small_learner(Clusters())
    made.push_to_hub(os.environ["METAPLASTIC_HUB"], private=True)
    assert describe(from_pretrained(os.environ["METAPLASTIC_HUB"])) == describe(made)
