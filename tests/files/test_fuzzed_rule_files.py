"""Whatever is in a rule file, it is read or refused in a sentence: no crash, hang or flood."""

from __future__ import annotations

import hashlib
import json
import resource
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from metaplastic import OnlineLearner
from metaplastic.files.rule_file import RuleFileError, from_pretrained, read_config, save_pretrained
from tests.helpers.fuzzing import changed, fuzzed, odd_values, places
from tests.helpers.small_runs import Clusters, small_learner

# A layer of no units is a description like any other, of which torch warns.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element")
LIMIT = 100 * 2**20  # bytes that all cases together may add to the peak of this process


@cache
def sound(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The config and the tensors of a rule file."""
    save_pretrained(small_learner(Clusters(), rate=0.05), folder)
    return json.loads((folder / "config.json").read_text()), (
        folder / "model.safetensors"
    ).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules") / "rule"


def signed(folder: Path, config: Any, content: bytes) -> Path:
    """A rule file with right checksums, as a forger would write it."""
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "sha256"}
        config["tensors_sha256"] = hashlib.sha256(content).hexdigest()
        text = json.dumps(config, sort_keys=True)
        config["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    other = folder.with_name("forged")
    other.mkdir(exist_ok=True)
    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes(content)
    return other


def read_or_refused(path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(RuleFileError):
        assert isinstance(from_pretrained(path), OnlineLearner)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < LIMIT


@fuzzed(300)
@given(data=st.data())
def test_a_value_changed_anywhere_in_a_config(folder: Path, data: st.DataObject) -> None:
    config, content = sound(folder)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(config)))
        config = changed(config, place, data.draw(odd_values))
        if not isinstance(config, (dict, list)):
            break
    read_or_refused(signed(folder, config, content))


@fuzzed(200)
@given(data=st.data())
def test_a_size_changed_in_the_description_of_the_network(
    folder: Path, data: st.DataObject
) -> None:
    config, content = sound(folder)
    sizes = [place for place in places(config["learner"]) if type(_at(config, place)) is int]
    size = data.draw(st.sampled_from([0, 1, 2, 3, 10**4, 10**6, 10**9, 2**62, -1]))
    place = ("learner", *data.draw(st.sampled_from(sizes)))
    read_or_refused(signed(folder, changed(config, place, size), content))


def _at(config: dict[str, Any], place: tuple[Any, ...]) -> Any:
    value: Any = config["learner"]
    for key in place:
        value = value[key]
    return value


@fuzzed(200)
@given(data=st.data())
def test_bytes_changed_in_the_tensors(folder: Path, data: st.DataObject) -> None:
    config, content = sound(folder)
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 20))
    content = content[:start] + data.draw(st.binary(max_size=20)) + content[start + length :]
    read_or_refused(signed(folder, config, content))


@fuzzed(200)
@given(data=st.data())
def test_names_shapes_and_types_changed_in_the_header_of_the_tensors(
    folder: Path, data: st.DataObject
) -> None:
    config, content = sound(folder)
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    place = data.draw(st.sampled_from(places(header)[1:]))
    new = data.draw(st.one_of(odd_values, st.sampled_from(["F16", "BF16", "I64", "BOOL", "U8"])))
    text = json.dumps(changed(header, place, new)).encode()
    read_or_refused(
        signed(folder, config, struct.pack("<Q", len(text)) + text + content[8 + length :])
    )


@fuzzed(200)
@given(text=st.one_of(st.binary(max_size=200), odd_values.map(lambda v: json.dumps(v).encode())))
def test_anything_else_in_the_place_of_a_config(folder: Path, text: bytes) -> None:
    _, content = sound(folder)
    path = signed(folder, {}, content)
    (path / "config.json").write_bytes(text)
    with pytest.raises(RuleFileError):
        from_pretrained(path)


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize("depth", [500, 900, 5000, 100_000])
def test_json_nested_deep_is_refused_like_other_damage(
    pair: tuple[str, str], depth: int, folder: Path
) -> None:
    config, content = sound(folder)
    nested = pair[0] * depth + "0" + pair[1] * depth
    path = signed(folder, config, content)
    whole = (path / "config.json").read_text()
    for text in (nested, whole.replace('"half": false', f'"half": {nested}')):
        (path / "config.json").write_text(text)
        with pytest.raises(RuleFileError, match=r"config\.json is (damaged|not)"):
            read_config(path)


def test_a_description_of_a_network_larger_than_its_file_is_refused_before_it_is_built(
    folder: Path,
) -> None:
    config, content = sound(folder)
    config = json.loads(json.dumps(config))
    wide = {"in_features": 10**5, "out_features": 10**5, "bias": False}
    layer = {"kind": "torch.nn.Linear", "options": wide}
    for place in places(config["learner"]):
        value = _at(config, place)
        if isinstance(value, dict) and value.get("kind") == "torch.nn.Linear":
            forged = changed(config, ("learner", *place), layer)
            break
    with pytest.raises(RuleFileError, match=r"describes tensors of 40,[0-9,]+ bytes or more"):
        from_pretrained(signed(folder, forged, content))


def test_a_large_rule_of_any_initialization_is_read(tmp_path: Path) -> None:
    """The bound is no bound on what is saved: temporaries of initializations are within it."""
    from metaplastic import Backprop, Delta, LearningRule, objective_for

    network = nn.Sequential(nn.Linear(4, 1000), nn.ReLU(), nn.Linear(1000, 3))
    rule = LearningRule(Backprop(), Delta(rate=0.1, per="synapse"))
    learner = OnlineLearner(network, rule, objective_for(Clusters().spec))
    save_pretrained(learner, tmp_path / "rule", half=True)
    assert torch.equal(
        from_pretrained(tmp_path / "rule").state_dict()["network.0.weight"],
        network[0].weight.detach().half().float(),
    )
