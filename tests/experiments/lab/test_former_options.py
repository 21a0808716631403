"""Command-line options by their former names: they work for one release and say the new name."""

from __future__ import annotations

import pytest

from experiments.interference import Interfere
from experiments.lab.networks.build import given_options
from experiments.lab.settings import cli
from experiments.lab.settings.config import Train
from experiments.meta_test import Test as MetaTest
from experiments.speed import renamed


def test_former_flags_are_read_as_the_present_ones(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rule", "--moments", "0", "0.5", "--pace=0.1"]
    config = cli.parse(Interfere, words, Interfere())
    assert (config.fractions, config.rate_scale) == ((0.0, 0.5), 0.1)
    said = capsys.readouterr().err
    assert "--moments is now called --fractions." in said
    assert "--pace is now called --rate-scale." in said
    assert cli.parse(MetaTest, ["rule", "--glances", "2"], MetaTest()).max_shift == 2
    assert "--glances is now called --max-shift." in capsys.readouterr().err


def test_a_former_flag_of_another_command_is_refused() -> None:
    with pytest.raises(ValueError, match="--glances"):
        cli.parse(Interfere, ["rule", "--glances", "2"], Interfere())


def test_a_former_option_of_a_method_is_read_as_the_present_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = Train(method="flp_readout", options=("glances=1",))
    assert given_options(config) == {"max_shift": 1}
    assert "The option glances is now called max_shift." in capsys.readouterr().err


def test_a_former_row_of_the_speed_table_is_found() -> None:
    assert renamed("long_life") == "long_lifetime"
    assert renamed("sampling") == "sampling"
