"""Any words on a command line, and any text in an option, are read or refused in a sentence."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.continual import Continual, counts
from experiments.lab.alignment.config import read as read_align
from experiments.lab.deep_training.config import Deep
from experiments.lab.runs.run_folder import read_json, read_lines
from experiments.lab.settings import cli
from experiments.lab.settings.config import Compare, Stream, Train, preset, restore
from experiments.lab.settings.registry import ConfigError, split_options, typed
from experiments.lab.sweeps.config import space
from tests.helpers.fuzzing import fuzzed, odd_values

PIECES = [
    "", " ", "1", "0", "-1", "1e400", "nan", "inf", "-inf", "٣", "1,2", "1,,2", ",", "a=1", "=",
    "..", "1..2", "1..2:log", "none", "true", "flp", "sines", "laptop", "x" * 50, "9" * 5000, "\n",
    "é", "1_0",
]  # fmt: skip
words = st.one_of(st.sampled_from(PIECES), st.text(max_size=8), st.integers().map(str))
flags = st.sampled_from(
    [f"--{name.replace('_', '-')}" for name in Train.__dataclass_fields__]
    + ["--nothing", "--", "-"]
)
lines = st.lists(st.one_of(flags, words, st.tuples(flags, words).map("=".join)), max_size=6).filter(
    lambda line: not {"-h", "--help"} & {*line}
)
HINTS = [int, float, bool, str, int | None, tuple[int, int] | None, tuple[float, ...],
         tuple[int, str], Literal["a", "b"]]  # fmt: skip


@fuzzed(50)
@given(line=lines, config=st.sampled_from([Train, Compare, Continual, Deep, Stream]))
def test_a_command_line(line: list[str], config: Any) -> None:
    with suppress(ConfigError):
        default = preset(config, line) if issubclass(config, Stream) else config()
        found = cli.parse(config, line, default)
        assert isinstance(found, config)
        numbers = [value for value in vars(found).values() if isinstance(value, float)]
        assert all(map(math.isfinite, numbers))


@fuzzed(30)
@given(line=lines)
def test_a_command_line_with_a_preset_of_its_own(line: list[str]) -> None:
    with suppress(ConfigError):
        read_align(line)


@fuzzed(500)
@given(text=words, hint=st.sampled_from(HINTS))
def test_the_value_of_an_option(text: str, hint: Any) -> None:
    with suppress(ConfigError):
        value = typed("option", text, hint)
        for part in value if isinstance(value, tuple) else (value,):
            assert not isinstance(part, float) or math.isfinite(part)


@fuzzed(200)
@given(given_texts=st.lists(words, max_size=3))
def test_options_spaces_and_counts(given_texts: list[str]) -> None:
    for reader in (lambda: split_options("--options", given_texts), lambda: space(given_texts)):
        with suppress(ConfigError):
            reader()
    for text in given_texts:
        with suppress(ConfigError):
            assert all(count > 0 for count in counts(text))
        with suppress(ConfigError):
            space([f"clip={text}"])


@fuzzed(60)
@given(values=st.dictionaries(st.sampled_from([*Train.__dataclass_fields__, "x"]), odd_values))
def test_the_settings_in_a_record(values: dict[str, Any]) -> None:
    with suppress(ConfigError):
        assert isinstance(restore(Train, values, Path("config.json")), Train)


@fuzzed(200)
@given(content=st.one_of(st.binary(max_size=60), odd_values.map(lambda v: json.dumps(v).encode())))
def test_a_file_of_a_run(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    with suppress(ConfigError):
        assert isinstance(read_json(path, "run it again"), dict)
    with suppress(ConfigError):
        read_lines(path)


def test_json_nested_deep_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ConfigError, match="is damaged"):
        read_json(path, "run it again")
