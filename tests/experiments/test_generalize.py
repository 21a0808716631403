"""The table of cells: a rule beside SGD and Adam with tuned rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments import generalize
from experiments.lab.evolution.shipping import saved
from experiments.lab.evolution.space import first_point, options_at, plain
from experiments.lab.networks.transfer_networks import NETWORKS, network
from experiments.lab.settings.registry import ConfigError
from experiments.lab.transfer import streams
from experiments.lab.transfer.batched import accuracies
from experiments.lab.transfer.cells import Cell, backprop_adam, backprop_sgd, measure, sampled
from experiments.lab.transfer.imperfect import Faults, slept, table
from metaplastic import from_pretrained
from tasks import build

OPTIONS = {"shots": 3, "queries_per_class": 2, "ways": 3, "slots": 3}


@pytest.mark.parametrize("name", ["conv", "depthwise", "transformer"])
@pytest.mark.parametrize("which", ["sgd", "adam"])
def test_baselines_are_the_optimizers_of_torch(name: str, which: str) -> None:
    stream = build("glyphs", **OPTIONS, split="validation", order="iid")
    lifetimes = sampled(stream, 2, 6, "test")
    shape = tuple(lifetimes.x.shape[2:])
    rule = backprop_sgd(0.05) if which == "sgd" else backprop_adam(0.003)
    found = accuracies(rule, lambda seed: network(name, shape, 3, seed), lifetimes, [6])
    for life, seed in enumerate(lifetimes.seeds):
        model = network(name, shape, 3, seed)
        kind = torch.optim.SGD if which == "sgd" else torch.optim.Adam
        optimizer = kind(model.parameters(), lr=0.05 if which == "sgd" else 0.003)
        for x, y in zip(lifetimes.x[life], lifetimes.y[life], strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[None]), y[None]).backward()
            optimizer.step()
        right = model(lifetimes.query_x[life]).argmax(-1) == lifetimes.query_y[life]
        assert found[life, 0] == pytest.approx(right.double().mean().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_of_a_network_are_its_seeds(name: str) -> None:
    shape = (1, 16, 16)
    same = [network(name, shape, 3, seed) for seed in (1, 1, 2)]
    weights = [nn.utils.parameters_to_vector(made.parameters()) for made in same]
    assert torch.equal(weights[0], weights[1])
    for key, value in same[0].named_parameters():
        if value.dim() > 1 and "position" not in key:
            assert not torch.equal(value, same[2].get_parameter(key)), key


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(streams, "STREAMS", {"glyphs": {"shots": 3, "queries_per_class": 2}})
    saved(tmp_path / "rule", plain(options_at(first_point())), 16, {}, 1)
    return tmp_path / "rule"


def words(rule: Path, out: Path, *more: str) -> list[str]:
    return [
        str(rule), "--networks", "conv", "--images", "glyphs", "--orders", "iid", "--ways", "3",
        "--marks", "3", "6", "--seeds", "2", "--tests", "2", "--tuning", "1", "--sgd", "0.01",
        "--adam", "0.001", "--out", str(out), *more,
    ]  # fmt: skip


def test_the_command_writes_a_table_and_goes_on_with_missing_cells(
    rule: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    generalize.main(words(rule, out))
    cell = out / "glyphs iid conv, rule.json"
    found = json.loads((out / "glyphs iid conv, backprop.json").read_text())
    assert set(found) == {"backprop, SGD", "backprop, Adam"}
    for method in (*found.values(), json.loads(cell.read_text())):
        assert len(method["accuracy"]) == 2
    table = (out / "generalize.md").read_text()
    assert "| glyphs" in table
    assert "on average over 1 cells" in table
    assert "2 seeds of 2 test lifetimes of 6 examples" in table
    own = 100 * torch.tensor(json.loads(cell.read_text())["accuracy"]).mean((0, 1))
    (line,) = (each for each in table.splitlines() if each.startswith("| the rule"))
    said = [float(text.split("±")[0]) for text in line.split("|")[2:-1]]
    assert said == pytest.approx(own.tolist(), abs=0.051)
    before = cell.stat().st_mtime_ns
    generalize.main(words(rule, out))
    assert cell.stat().st_mtime_ns == before
    assert "Table and numbers are in" in capsys.readouterr().out


def test_cells_of_other_settings_are_not_mixed(rule: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generalize.main(words(rule, out))
    with pytest.raises(ConfigError, match="has results with seeds 2"):
        generalize.main(words(rule, out, "--seeds", "1"))
    (out / "settings.json").unlink()
    with pytest.raises(ConfigError, match="settings that are not known"):
        generalize.main(words(rule, out))


def test_images_that_are_too_few_for_once_are_left_out_by_name(
    rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, too_few = {"shots": 3, "queries_per_class": 2}, {"shots": 3, "queries_per_class": 10_000}
    monkeypatch.setattr(streams, "STREAMS", {"glyphs": fits, "clusters": too_few})
    monkeypatch.setattr("tasks.build", lambda name, **given: build("glyphs", **given))
    out = tmp_path / "out"
    more = ("--images", "glyphs", "clusters", "--once", "--costs")
    generalize.main(words(rule, out, *more))
    pairs, notes = streams.offered(["glyphs", "clusters"], ["iid"], 3, 6, once=True)
    assert list(pairs) == [("glyphs", "iid")]
    episode = pairs["glyphs", "iid"][1].sample(1, torch.Generator().manual_seed(0))
    assert len(episode.support_x[0].flatten(1).unique(dim=0)) == 6
    assert notes[0] == "glyphs: a lifetime of 6 examples has 6 different images, each once."
    assert notes[1].startswith("clusters is left out")
    with pytest.raises(ConfigError, match="enough for --once"):
        generalize.main(words(rule, out, "--images", "clusters", "--once"))


def test_imperfect_synapses_lose_their_alignment_and_sleep_repairs_it(
    rule: Path, tmp_path: Path
) -> None:
    stream = build("glyphs", **OPTIONS, split="test", order="iid", repeats=6)
    cell = Cell("conv", stream, stream, 48, 0)
    learned = from_pretrained(rule).rule
    _, found = table(
        cell, learned, tests=2, seeds=1, every=8, noises=(0.0, 0.3), bits=(None, 5)
    )  # fmt: skip
    angle = {(f["noise"], f["bits"], f["every"]): f["angle"][0] for f in found}
    assert angle[0.0, None, None] < angle[0.0, 5, None]
    assert angle[0.0, None, None] < angle[0.3, None, None]
    assert angle[0.3, 5, 8] < angle[0.3, 5, None]


def test_without_faults_what_is_written_is_what_was_learned(rule: Path) -> None:
    stream = build("glyphs", **OPTIONS, split="test", order="iid")
    cell, learned = Cell("conv", stream, stream, 9, 0), from_pretrained(rule).rule
    lives = sampled(stream, 2, 9, "test")
    exact = measure(cell, learned, lives, [9])
    same = measure(cell, slept(learned, None), lives, [9], written=lambda: Faults(0.0, None, 0))
    assert torch.equal(exact, same)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--networks", "wyde"], "wyde"), (["--marks", "5", "3"], "--marks"),
        (["--seeds", "0"], "--seeds is 0"), (["--adam", "nan"], "--adam"),
        (["--orders", "sorted"], "sorted"), (["none", "--costs"], "--costs is about a rule"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_before_any_work(rule: Path, words: list[str], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        generalize.main([*([] if "none" in words else [str(rule)]), *words, "--images", "glyphs"])
