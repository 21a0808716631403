"""Learners that come with this package: rule files by name, each with a card.

A card says what a learner was meta-trained on, what it scores, and what it is not for.
"""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parent.parent / "learners"
CARD = "CARD.md"


def shipped() -> dict[str, str]:
    """Name -> card. `from_pretrained(name)` loads the learner."""
    cards = sorted(HOME.glob(f"*/{CARD}"))
    return {path.parent.name: path.read_text(encoding="utf-8") for path in cards}


def find(folder: str | Path) -> Path:
    """The folder itself or, where there is none, that of the shipped learner of this name."""
    path = Path(folder)
    is_name = path.name == str(folder) and (HOME / path.name / CARD).is_file()
    return HOME / path.name if is_name and not path.exists() else path
