"""Drawings for the tests of the page, as its pad sends them."""

from __future__ import annotations

import json
import math

from experiments.lab.play.session import Session

CROSS = json.dumps([[[10, 10], [190, 190]], [[190, 10], [10, 190]]])
RING = json.dumps([[[100 + 80 * math.cos(t / 10), 100 + 80 * math.sin(t / 10)] for t in range(64)]])
TENT = json.dumps([[[10, 200], [100, 10], [190, 200]], [[50, 120], [150, 120]]])
BENT_TENT = json.dumps([[[20, 190], [92, 22], [180, 204]], [[60, 130], [150, 112]]])
KNOWN = {"tent": TENT, "ring": RING, "cross": CROSS}


def taught_session() -> Session:
    """A session that has learned one drawing of each of `KNOWN`."""
    session = Session()
    for name, drawing in KNOWN.items():
        session.teach(name, drawing)
    return session
