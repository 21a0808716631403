"""Drawings: strokes of a pen, and the 28x28 images that the encoder was meta-trained on.

The images of Omniglot are strokes too, drawn with one pen on 105x105 and reduced. So strokes are
kept as points, moved to the middle, brought to one size, and only then drawn with that pen: a
character has the same lines however large it was drawn.
"""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from experiments.lab.play.errors import PlayError

SIZE = 28  # of an image, in pixels
PAPER = 105  # of Omniglot's own images
# Over Omniglot's validation characters the longer side of the ink is 18 of 28 pixels in the median.
LONGEST = 66.0  # of the ink on the paper
PEN = 3  # pixels on the paper
MOST_STROKES, MOST_POINTS = 200, 20_000
MOST_TEXT = 1_000_000  # characters of JSON

Stroke = list[tuple[float, float]]


def strokes_of(text: object) -> list[Stroke]:
    """The strokes of a page's JSON: a list of strokes, each a list of [x, y].

    Raises:
        PlayError: for anything else, for no ink, or for more than a hand would draw.
    """
    if not isinstance(text, str) or not text.strip():
        raise PlayError("There is no drawing yet: draw a character on the pad first.")
    if len(text) > MOST_TEXT:
        raise PlayError(
            f"This drawing has {len(text):,} characters of data, and {MOST_TEXT:,} are read: clear "
            "the pad and draw fewer strokes."
        )
    try:
        given = json.loads(text)
        strokes = [[(float(x), float(y)) for x, y in stroke] for stroke in given]
    except (TypeError, ValueError, RecursionError) as error:
        raise PlayError(
            "This is not a drawing: it must be a list of strokes, each a list of points [x, y]."
        ) from error
    strokes = [stroke for stroke in strokes if stroke]
    points = sum(map(len, strokes))
    if not points:
        raise PlayError("There is no drawing yet: draw a character on the pad first.")
    if len(strokes) > MOST_STROKES or points > MOST_POINTS:
        raise PlayError(
            f"This drawing has {len(strokes):,} strokes and {points:,} points, and {MOST_STROKES} "
            f"and {MOST_POINTS:,} are read: clear the pad and draw fewer."
        )
    if not all(math.isfinite(v) and abs(v) < 1e6 for s in strokes for point in s for v in point):
        raise PlayError("This drawing has a point that is not on the pad: clear it and draw again.")
    return strokes


def image_of(strokes: list[Stroke]) -> Tensor:
    """The strokes as an image, uint8 `28 28`: ink 255 on paper 0, centered and of one size."""
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(0), points.max(0)
    side = float((high - low).max())
    scale = LONGEST / side if side > 0 else 1.0
    moved = [(np.array(stroke) - (low + high) / 2) * scale + PAPER / 2 for stroke in strokes]
    paper = Image.new("L", (PAPER, PAPER))
    pen = ImageDraw.Draw(paper)
    for stroke in moved:
        line = [(float(x), float(y)) for x, y in stroke]
        pen.line(line, fill=255, width=PEN, joint="curve")
        for x, y in (line[0], line[-1]):  # round ends, and a dot for a stroke of one point
            pen.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill=255)
    reduced = paper.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(reduced))
