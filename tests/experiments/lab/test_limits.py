"""Values that no run can have are refused before anything starts, wherever they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.lab.settings import cli, registry
from experiments.lab.settings.config import Compare, Train, preset, record, restore


@pytest.mark.parametrize(
    ("config", "words"),
    [
        *((Train, [flag, "0"]) for flag in (
            "--episodes", "--threads", "--steps", "--tasks", "--micro-batch", "--truncate",
            "--checkpoint-every", "--log-every", "--save-every", "--minutes", "--clip",
        )),
        *((Compare, [flag, "0"]) for flag in ("--seeds", "--jobs", "--tasks", "--minutes")),
        (Train, ["--minutes", "inf"]),
        *((Train, ["--name", name]) for name in ("../x", "a/../../x", "/elsewhere/x", ".")),
        (Compare, ["--name", ".."]),
    ],
    ids=str,
)  # fmt: skip
def test_a_number_that_no_run_can_have_is_refused(
    config: type[Train] | type[Compare], words: list[str]
) -> None:
    said = r"must be at least 1|must be above 0|not the name of a folder"
    with pytest.raises(registry.ConfigError, match=f"^{words[0]} .*({said})"):
        cli.parse(config, words, preset(config, words))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("tasks", "two", "int"),
        ("tasks", True, "int"),
        ("tasks", 2.5, "int"),
        ("clip", "much", "float | None"),
        ("task", 3, "str"),
        ("stream", "ways=3", r"tuple\[str, ...\]"),
        ("stream", [3], r"tuple\[str, ...\]"),
        ("data", 3, "pathlib.*Path | None"),
        ("resume", "no", "bool"),
        ("order", "random", r"Literal\['incremental', 'iid'\]"),
    ],
)
def test_a_recorded_value_of_another_type_is_named(name: str, value: object, wanted: str) -> None:
    with pytest.raises(registry.ConfigError, match=rf"{name} is .* in config\.json.* {wanted}"):
        restore(Train, record(Train()) | {name: value}, Path("config.json"))
