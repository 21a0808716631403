"""What an installation of the core alone must do: python -I core_only.py FOLDER

Run in a process of its own. Only the package in FOLDER, the core dependencies with what they need,
and the standard library can be imported; anything else is not found.
"""

from __future__ import annotations

import importlib.abc
import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CORE = ("torch", "numpy", "safetensors")


def needed(packages: tuple[str, ...]) -> set[str]:
    """Top-level modules of packages and of all that they require, as their metadata say."""
    found: set[str] = set()
    waiting = list(packages)
    owners: dict[str, set[str]] = {}
    for module, names in importlib.metadata.packages_distributions().items():
        for name in names:
            owners.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(module)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [re.split(r"[\s;<>=!~\[(]", line)[0] for line in requires if "extra" not in line]
    return {module for name in found for module in owners.get(name, ())}


class OnlyCore(importlib.abc.MetaPathFinder):
    """All finders there were, for the core and what it needs; other modules are not found."""

    def __init__(self, finders: list[Any]) -> None:
        self.finders = finders
        self.allowed = needed(CORE) | {"metaplastic"} | set(sys.stdlib_module_names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if top in self.allowed or top.startswith("_sysconfigdata"):
            found = (finder.find_spec(name, path, target) for finder in self.finders)
            return next((spec for spec in found if spec is not None), None)
        return None

    def find_distributions(self, *context: Any) -> Iterator[Any]:
        """Metadata of packages, which the library reads its own versions from."""
        for finder in self.finders:
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(*context)


def main(folder: str) -> None:
    """Import the package from this folder and let it learn."""
    sys.meta_path[:] = [OnlyCore(list(sys.meta_path))]
    sys.path.insert(0, folder)
    import torch

    import metaplastic as mp

    assert Path(mp.__file__).is_relative_to(Path(folder).resolve()), mp.__file__
    for blocked in ("tasks", "experiments", "matplotlib", "pytest"):
        try:
            __import__(blocked)
        except ModuleNotFoundError:
            continue
        raise AssertionError(f"{blocked} can be imported: this is not the core alone.")
    torch.manual_seed(0)
    for name in mp.shipped():
        mp.from_pretrained(name)
    x, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    for rule in (mp.from_pretrained("omniglot_relative").rule, "kolen_pollack", "uniform_sign"):
        layers = torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
        model = torch.nn.Sequential(*layers)
        net = mp.PlasticModule(model, rule, example=x)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        for one, label in zip(x.split(1), y.split(1), strict=True):
            net(one)
            assert torch.isfinite(torch.as_tensor(net.learn(label)))
        changed = zip(before, model.parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in changed), rule
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    rule = mp.LearningRule(mp.Backprop(), mp.Delta(rate=0.1, per="layer"))
    learner = mp.OnlineLearner(network, rule, mp.CrossEntropy(3))
    stream, labels, seed = torch.randn(2, 5, 1, 6), torch.randint(3, (2, 5, 1)), torch.arange(2)
    queries = torch.randn(2, 4, 6), torch.randint(3, (2, 4))
    episode = mp.Episode(stream, labels, labels, *queries, queries[1], seed)
    learner(episode).loss.backward()  # the meta-gradient of two lifetimes
    assert network[0].weight.grad is not None
    assert float(network[0].weight.grad.norm()) > 0
    with tempfile.TemporaryDirectory() as saved:
        mp.save_pretrained(learner, f"{saved}/rule")
        again = mp.from_pretrained(f"{saved}/rule")
    for name, value in learner.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    python = ".".join(map(str, sys.version_info[:3]))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in CORE)
    print(f"metaplastic {mp.__version__} works alone: Python {python}, {versions}")


if __name__ == "__main__":
    main(sys.argv[1])
