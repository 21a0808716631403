"""Names of earlier releases: rule files, arguments and modules that have them still work."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import metaplastic
from metaplastic import _moved, from_pretrained, save_pretrained
from metaplastic.evaluate import shift_averaging
from metaplastic.evaluate.report_from_matrix import report_from_matrix
from metaplastic.evaluate.shift_averaging import ShiftAveraged, with_shift_averaging
from metaplastic.files.rule_file import CONFIG, _digest
from metaplastic.support.catalog import HOME
from metaplastic.support.describe import build, describe
from tests.helpers.lifetimes import RULES, episodes


def test_a_shipped_rule_file_with_former_names_describes_the_present_class() -> None:
    config = json.loads((HOME / "omniglot_readout" / CONFIG).read_text(encoding="utf-8"))
    assert config["learner"]["options"]["encoder"]["kind"] == "Glances"
    learner = from_pretrained("omniglot_readout")
    assert isinstance(learner.encoder, ShiftAveraged)
    assert describe(learner)["options"]["encoder"]["kind"] == "ShiftAveraged"


def test_a_rule_file_with_former_names_loads_to_the_bit(tmp_path: Path) -> None:
    made = with_shift_averaging(
        metaplastic.OnlineLearner(
            nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)),
            RULES["Oja"](),
            metaplastic.CrossEntropy(2),
            plastic=1,
        )
    )
    for name, parameter in made.named_parameters():
        parameter.requires_grad_("0.bias" not in name)
    folder = save_pretrained(made, tmp_path / "rule")
    tensors = load_file(folder / "model.safetensors")
    former = {name.replace("encoder.encoder.", "encoder.seen."): t for name, t in tensors.items()}
    assert former.keys() != tensors.keys()
    save_file(former, folder / "model.safetensors", metadata={"format": "metaplastic rule"})
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    encoder = config["learner"]["options"]["encoder"]
    options = {"seen": encoder["options"]["encoder"], "reach": encoder["options"]["max_shift"]}
    config["learner"]["options"]["encoder"] = {"kind": "Glances", "options": options}
    config["frozen"] = [n.replace("encoder.encoder.", "encoder.seen.") for n in config["frozen"]]
    content = (folder / "model.safetensors").read_bytes()
    config["tensors_sha256"] = hashlib.sha256(content).hexdigest()
    config["sha256"] = _digest(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    loaded = from_pretrained(folder)
    episode = episodes(shape=(1, 3, 3)).to("cpu", torch.float32)
    made.eval()
    assert torch.equal(loaded(episode).prediction, made(episode).prediction)
    frozen = [name for name, p in made.named_parameters() if not p.requires_grad]
    assert [name for name, p in loaded.named_parameters() if not p.requires_grad] == frozen != []


def test_a_description_by_former_names_builds_the_present_class() -> None:
    layers = describe(nn.Sequential(nn.ReLU()))
    made = build({"kind": "Glances", "options": {"seen": layers, "reach": 2}})
    assert isinstance(made, ShiftAveraged)
    assert made.max_shift == 2


def test_former_arguments_and_attributes_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match="The argument reach is now max_shift"):
        assert ShiftAveraged(nn.Sequential(), reach=3).max_shift == 3  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="reach and max_shift are one argument"):
        ShiftAveraged(nn.Sequential(), reach=3, max_shift=3)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="shift_averaging.Glances is now"):
        assert shift_averaging.Glances is ShiftAveraged  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="The argument at_birth is now initial"):
        report = report_from_matrix(np.eye(2), at_birth=[0.5, 0.5])  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="accuracy_at_birth"):
        assert report.accuracy_at_birth is report.initial_accuracy
    with pytest.warns(DeprecationWarning, match="metaplastic.report_from_matrix"):
        assert metaplastic.report_of is report_from_matrix
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        metaplastic.no_such_name  # noqa: B018


@pytest.mark.parametrize("new", sorted(set(_moved.MOVED.values())))
def test_every_moved_module_is_where_its_former_name_leads(new: str) -> None:
    assert importlib.import_module(f"metaplastic.{new}")


def test_a_former_module_name_imports_and_warns() -> None:
    code = "import metaplastic.glances as m; print(m.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "metaplastic.evaluate.shift_averaging"
    assert "metaplastic.glances is now metaplastic.evaluate.shift_averaging" in done.stderr
