"""Figures have names for people, intervals, and colors that the color-blind can tell apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from experiments.lab.credit_checks import claims, figures
from experiments.lab.credit_checks.claim import at
from experiments.lab.figures import interference_plots, plots
from experiments.lab.figures.interference_tables import averaged
from experiments.lab.figures.labels import METHODS, readable
from experiments.lab.figures.plots import COLORS, MARKERS, Curve, draw_lines

ROOT = Path(__file__).resolve().parents[3]
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}  # fmt: skip
"""Of linear RGB: Machado, Oliveira & Fernandes (2009), severity 1."""
SEEN = 15.0  # CIELAB; about 2 is just noticeable side by side
CONTRAST = 2.0  # with white; WCAG asks 3 of graphics that have nothing beside their color


def linear(color: str) -> np.ndarray:
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colors_of_lines_differ_for(vision: str) -> None:
    seen = [lab(np.array(VISION[vision]) @ linear(color)) for color in COLORS]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > SEEN


def test_lines_stand_out_from_white_and_have_a_marker_each() -> None:
    luminance = [float(np.array([0.2126, 0.7152, 0.0722]) @ linear(color)) for color in COLORS]
    assert min(1.05 / (value + 0.05) for value in luminance) > CONTRAST
    assert len(set(MARKERS)) >= len(COLORS)


@pytest.mark.parametrize("number", [5, 8, 13])
def test_names_of_many_lines_cover_none_of_them(number: int) -> None:
    curves = {f"rule {i}": Curve([1, 2, 3, 4], [[i / 13] * 4] * 3) for i in range(number)}
    figure = draw_lines(curves, "classes learned", "accuracy")
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    names, lines = legend.get_window_extent(), axes.get_window_extent()
    assert names.x0 >= lines.x1
    assert names.x1 <= figure.bbox.x1


def test_labels_are_for_people() -> None:
    assert readable("flp_stable,hidden=1e-5,feedback=random") == (
        "FLP (hidden rate 1e-5, random feedback)"
    )
    assert readable("flp_readout channels=48,96 plastic=1") == (
        "readout-only plasticity (channels 48, 96, plastic layers: 1)"
    )
    assert readable("oml plastic=1") == "OML (plastic layers: 1)"
    assert readable("feedback alignment, rate 0.03") == "feedback alignment, rate 0.03"
    assert readable("my_method,depth=2") == "my method,depth=2"


def test_every_method_has_a_name() -> None:
    methods = {path.stem for path in (ROOT / "experiments" / "methods").glob("*.py")}
    assert set(METHODS) == methods - {"__init__"}


def test_a_legend_shows_names_and_several_runs_have_a_band() -> None:
    curves = {
        "flp_stable": Curve([1, 2, 3], [[3.0, 2.0, 1.0], [2.0, 1.0, 0.5]]),
        "oml": Curve([1, 2, 3], [[3.0, 2.0, 1.0]], [2.5, 1.5, 0.5], [3.5, 2.5, 1.5]),
        "scratch": Curve([1, 2, 3], [[3.0, 2.0, 1.0]]),  # one run without intervals has no band
    }
    (axes,) = draw_lines(curves, "functions", "squared error").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "FLP", "OML", "SGD from random weights",
    ]  # fmt: skip
    assert sum(isinstance(one, PolyCollection) for one in axes.collections) == 2


def test_interference_over_seeds_has_a_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(shift: float) -> dict[str, object]:
        return {
            "applied": "all", "fraction": 0.5, "update": "rule", "distance": [-1, 0, 1],
            "by_distance": [shift, -1.0, 0.0], "matrix": [[0.0]],
        }  # fmt: skip

    kept: list[Figure] = []
    monkeypatch.setattr(interference_plots, "save", lambda figure, path: kept.append(figure))
    several, alone = averaged([[record(0.1)], [record(0.3)]]), averaged([[record(0.1)]])
    assert several[0]["by_distance_range"] == [[0.1, -1.0, 0.0], [0.3, -1.0, 0.0]]
    interference_plots.plot_distances(tmp_path / "x.png", {"flp_stable": several, "oml": alone})
    (axes,) = kept[0].axes
    assert sum(isinstance(one, PolyCollection) for one in axes.collections) == 1
    assert plots.save is not interference_plots.save


@pytest.mark.parametrize("name", ["depth", "gait", "mirror", "noise", "signs"])
def test_no_title_or_legend_of_a_claim_is_cut_off(name: str) -> None:
    claim = claims.claim(name)
    run = {"accuracy": 0.5, "delta": [10.0] * 20, "weight": [10.0] * 20, "ratio": [1.0] * 20}
    found = {at(label, x): [run, run] for label, row in claim.curves.items() for x in row}
    figure = figures.figure_of(claim, found)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (width, height) = figure.canvas.get_width_height()
    for part in (figure._suptitle, *figure.legends):  # type: ignore[attr-defined]
        x0, y0, x1, y1 = part.get_window_extent(renderer).extents
        assert min(x0, y0) >= 0
        assert x1 <= width
        assert y1 <= height
