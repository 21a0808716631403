"""Learners shipped with this package: rule files by name, each with a model card.

A card states the meta-training data, the test accuracy, and uses that are not intended.
"""

from __future__ import annotations

import re
from pathlib import Path

HOME = Path(__file__).parent.parent / "learners"
CARD = "CARD.md"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # user/name


def shipped() -> dict[str, str]:
    """The model cards by name; `from_pretrained(name)` loads the learner."""
    cards = sorted(HOME.glob(f"*/{CARD}"))
    return {path.parent.name: path.read_text(encoding="utf-8") for path in cards}


def find(folder: str | Path) -> Path:
    """The folder itself or, if it does not exist, that of the shipped learner of this name."""
    path = Path(folder)
    is_name = path.name == str(folder) and (HOME / path.name / CARD).is_file()
    return HOME / path.name if is_name and not path.exists() else path


def is_hub_name(name: str | Path) -> bool:
    """Whether this can only be a repository of the hub: `user/name`, and no such path is here."""
    return isinstance(name, str) and bool(HUB_NAME.fullmatch(name)) and not Path(name).exists()
