"""The card of a run's rule: what it was meta-trained on, what it reached, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.lab.figures.tables import as_markdown, rows
from experiments.lab.runs.run_folder import RunFolder, origin
from experiments.lab.settings.config import Train
from metaplastic.support.catalog import CARD


def write_card(
    config: Train, folder: RunFolder, source: Mapping[str, Any], result: Mapping[str, Any]
) -> Path:
    """Write the card beside the rule file; `source` is the rule's provenance."""
    label = result["method"]
    low, high = result["interval"]
    text = f"""# {config.run_name}

A learner with its plasticity rule, found by method `{label}` on task `{config.task}`, order
`{config.order}`, split `{source["split"]}`, preset `{config.preset}`, seed {config.seed}.
It was not measured on other tasks or networks.

```python
from metaplastic import from_pretrained

learner = from_pretrained("rule")  # this folder; its rule for a network of yours is learner.rule
```

{as_markdown(rows({label: [result]}))}

Over {result["episodes"]} test lifetimes: {result["score"]:.4g}, 95 % interval
{low:.4g} to {high:.4g}.

{origin(config.device)}
"""
    path = folder.rule / CARD
    path.write_text(text, encoding="utf-8")
    return path
