"""A rule that was found, as a rule file: with a small network, since a learner has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.lab.evolution.space import SPACE, rule_of
from metaplastic import CrossEntropy, Initialization, OnlineLearner, save_pretrained
from metaplastic.plasticity import Adaptive


def saved(
    folder: Path,
    numbers: Mapping[str, float],
    rows: int,
    settings: Mapping[str, Any],
    generations: int,
) -> OnlineLearner:
    """Write the rule file; the learner in it has a dense network, redrawn in every lifetime."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 5))
    redrawn = Initialization(hidden="redrawn", readout="redrawn")
    learner = OnlineLearner(
        network, rule_of(numbers, rows=rows), CrossEntropy(5), input_shape=(1, 14, 14),
        initialization=redrawn,
    )  # fmt: skip
    provenance = {
        "command": "experiments.discover --by evolution", "settings": dict(settings),
        "generations": generations, "numbers": dict(numbers),
    }  # fmt: skip
    save_pretrained(learner, folder, provenance)
    return learner


def card(
    name: str, numbers: Mapping[str, Any], rows: int, command: str, generations: int, text: str
) -> str:
    """The model card of a rule that was found.

    Args:
        command: what found it.
        text: its equation and tables, with machine and date.
    """
    plasticity = rule_of(numbers, rows=rows).plasticity
    assert isinstance(plasticity, Adaptive)
    used = [n for n, d in SPACE.items() if numbers[n] is not None and numbers[n] != d.neutral]
    used = [n for n in used if n != "power" or numbers["decay"] is not None]
    more = "" if numbers["feedback_decay"] == 0 else (
        f" {numbers['feedback_decay']:.3g} of the difference of weight and feedback goes in every "
        "step."
    )  # fmt: skip
    if numbers["sleep"] is not None:
        more += f" The mirror is repeated every {numbers['sleep']:g} examples."
    about = (
        f"A rule of {len(used)} numbers ({', '.join(used)}), shared by all sites, found by "
        "evolution on a distribution of networks and data. Errors go back through feedback "
        f"weights that are mirrored by {rows:,} rows of noise before the first example and get "
        f"{numbers['gain']:.3g} of every change of their weight; each synapse keeps two running "
        f"means.{more}"
    )
    return f"""# {name}

{about}

**Not for**: use as a network (the one in the file is a small carrier of the rule, redrawn in every
lifetime), minibatches (it was found on single examples), or lifetimes of other lengths than tens to
a few hundreds of examples, on which its rate was found.

- Found on dense, residual dense and convolutional networks of 24 to 97 units or 6 to 16 channels,
  1 to 5 layers deep, with and without norms and biases, on dense ones of 128 to 256 units, and on a
  block of attention of 24 to 32 units and 1 to 3 heads over rows or patches; on Omniglot's training
  characters and MNIST's training digits, 2 to 21 classes, 50 to 300 single examples, shuffled or
  class by class, of varied resolution, scale, contrast and polarity, some with other images behind
  them or noise.
- By `{command}`, {generations} generations.

```python
from metaplastic import PlasticModule, from_pretrained

# {plasticity.equation()}
rule = from_pretrained("{name}").rule
net = PlasticModule(model, rule, example=x)  # any module of yours; then net(x), net.learn(y)
```

{text}
"""
