"""The tables of `interference`: one row per rule, fraction of the lifetime and kind of update."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from experiments.lab.figures.tables import over_seeds

Record: TypeAlias = Mapping[str, Any]
Seeds: TypeAlias = list[list[dict[str, Any]]]  # runs of one rule, each with its records in order

CHANGES = {
    "loss": "loss", "same_example": "same example", "within": "same class",
    "across": "other classes", "across_seen": "other classes, seen",
}  # fmt: skip


def changes(found: Mapping[str, Seeds]) -> list[dict[str, str]]:
    """The table of changes of losses."""
    rows = []
    several = len({record["applied"] for seeds in found.values() for record in seeds[0]}) > 1
    for label, seeds in found.items():
        for same in zip(*seeds, strict=True):
            first = same[0]
            row = {"rule": label, "fraction": f"{first['fraction']:g}", "update": first["update"]}
            if several:
                row["applied to"] = first["applied"]
            for name, title in CHANGES.items():
                row[title] = _over(same, lambda record, name=name: record[name], "{:.4f}")
            row["pairs with higher loss %"] = _over(
                same, lambda record: 100 * record["harmed"], "{:.0f}"
            )
            row["first-order error"] = _over(same, lambda r: r["first_order_error"], "{:.2f}")
            if any(record["diverged"] for record in same):
                row["diverged"] = f"{sum(r['diverged'] for r in same)} lifetimes"
            rows.append(row)
    return rows


def geometry(found: Mapping[str, Seeds]) -> list[dict[str, str]]:
    """The table of the geometry of a rule's updates at every site."""
    rows = []
    for label, seeds in found.items():
        for same in zip(*seeds, strict=True):
            if same[0]["update"] != "rule" or same[0]["applied"] != "all":
                continue
            for site, numbers in same[0]["sites"].items():
                row = {"rule": label, "site": site, "fraction": f"{same[0]['fraction']:g}"}
                for name in numbers:
                    form = "{:.2g}" if name.startswith("dot") else "{:.3f}"  # of any size
                    row[name] = _over(same, lambda r, s=site, n=name: r["sites"][s][n], form)
                rows.append(row)
    return rows


def features(found: Mapping[str, Seeds]) -> list[dict[str, str]]:
    """The table of feature statistics of the encoder."""
    return [
        {"rule": label}
        | {
            name: _over(
                [records[0] for records in seeds], lambda r, n=name: r["features"][n], "{:.3f}"
            )
            for name in seeds[0][0]["features"]
        }
        for label, seeds in found.items()
    ]


def averaged(seeds: Seeds) -> list[dict[str, Any]]:
    """The records of the first seed that figures show, with curves and matrices of all seeds.

    Of several seeds, `by_distance_range` has the ends of the curves' range.
    """
    import numpy as np  # which --help does without

    return [
        {
            **same[0],
            "by_distance": np.mean([r["by_distance"] for r in same], 0).tolist(),
            "matrix": np.mean([r["matrix"] for r in same], 0).tolist(),
        }
        | (
            {
                "by_distance_range": [
                    end([r["by_distance"] for r in same], 0).tolist() for end in (np.min, np.max)
                ]
            }
            if len(same) > 1
            else {}
        )
        for same in zip(*seeds, strict=True)
        if same[0]["applied"] == "all"
    ]


def _over(records: Sequence[Record], of: Callable[..., float], form: str) -> str:
    return over_seeds([float(of(record)) for record in records], form)
