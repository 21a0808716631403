"""Which tests need real images, and where these are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("METAPLASTIC_DATA") or "nowhere")


def needs(folder: str) -> pytest.MarkDecorator:
    """Skips a test where METAPLASTIC_DATA has no such folder."""
    return pytest.mark.skipif(
        not (ROOT / folder).is_dir(),
        reason=f"METAPLASTIC_DATA names no folder that contains {folder}",
    )
