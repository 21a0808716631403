"""The tutorials run from first to last cell, in little time, and are committed without outputs."""

from __future__ import annotations

import json
import os
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
SECONDS = 60.0  # of one core, imports included; about half of it is needed
TIMED = "import time\nprint('seconds', time.process_time())"


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_there_is_a_tutorial_for_each_use() -> None:
    assert len(TUTORIALS) == 5


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_committed_without_outputs_and_with_a_title(path: Path) -> None:
    first, *rest = cells(path)
    assert "".join(first["source"]).startswith("# ")
    code = [cell for cell in rest if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]
    # What a tutorial says is checked in it: the last claim of each is an assertion.
    assert any("assert " in "".join(cell["source"]) for cell in code)
    assert any("figure" in cell["metadata"].get("tags", ()) for cell in code)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_links_of_a_tutorial_lead_somewhere(path: Path) -> None:
    text = "".join("".join(c["source"]) for c in cells(path) if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#:]+)", text)
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("nbclient", "nbformat", "ipykernel"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed, so no notebook is run; see the extra `docs`.")
    if path.stem.startswith("5_") and find_spec("transformers") is None:
        pytest.skip("transformers is not installed, so there is no GPT-2; see the extra `zoo`.")
    with warnings.catch_warnings():  # of the packages that talk to the kernel
        warnings.simplefilter("ignore")
        import nbformat
        from nbclient import NotebookClient

        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.getenv("PYTHONPATH", "")]))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.delenv("METAPLASTIC_DATA", raising=False)  # a reader may have no data
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(TIMED))
        client = NotebookClient(
            notebook, timeout=400, startup_timeout=300, kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
        )  # fmt: skip
        client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    spent = float(outputs[-1]["text"].split()[-1])
    assert spent < SECONDS
    shown = sum("image/png" in output.get("data", {}) for output in outputs)
    figures = sum("figure" in cell.metadata.get("tags", ()) for cell in notebook.cells)
    assert shown == figures
    assert not [output for output in outputs if output.get("name") == "stderr"]
    print(f"{path.stem}: {spent:.0f} s")
