"""Networks as people have them, small: what a rule must serve.

`zoo()` names them all. Those of a library have a stand-in by hand, so the zoo means something where
nothing but torch is installed; nothing of a library is imported before `Entry.make`.
"""

from __future__ import annotations

from tests.zoo import attentive, convolutional, languages, matrices, shapes, vision
from tests.zoo.entry import Entry

__all__ = ["Entry", "zoo"]


def zoo() -> dict[str, Entry]:
    """Every network by its name."""
    parts = (convolutional, attentive, matrices, shapes, vision, languages)
    entries = [entry for part in parts for entry in part.ENTRIES]
    found = {entry.name: entry for entry in entries}
    assert len(found) == len(entries)
    return found
