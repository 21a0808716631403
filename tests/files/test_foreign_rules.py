"""Rule files that are whole by their checksums and still not ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from metaplastic.files.rule_file import RuleFileError, from_pretrained, save_pretrained
from tests.helpers.small_runs import Clusters, small_learner

STREAM = Clusters()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learner": 3}, "describes a int, not a learner"),
        ({"frozen": None}, "it has no 'frozen'"),
        ({"tensors_sha256": None}, "it has no 'tensors_sha256'"),
    ],
)
def test_a_config_of_another_make_is_a_sentence_even_if_its_checksum_is_right(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    folder = save_pretrained(small_learner(STREAM), tmp_path / "rule")
    config = json.loads((folder / "config.json").read_text()) | change
    config = {key: value for key, value in config.items() if value is not None}
    rest = {key: value for key, value in config.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    (folder / "config.json").write_text(json.dumps(rest | {"sha256": digest}))
    with pytest.raises(RuleFileError, match=sentence):
        from_pretrained(folder)
