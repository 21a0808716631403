"""Former module names, of the package before it had folders: they work for one release and warn."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ClassVar

FOLDERS = {
    "support": "choices ranges seeding disk describe catalog level",
    "sites": "reroute",
    "stacked": "site stack layers patches pullback readouts",
    "pathways": "direct direct_random sequential inverse invertible signs",
    "plasticity": "polynomial",
    "rules": "references credit_rule",
    "inner": "learner unroll meta_loss grow rows compiled",
    "outer": "trainer trainer_config meta_gradient optimizer checkpoint run_state distributed "
    "divergence identity buffers",
    "online": "credit_feedback credit_angles credit_exact credit_log transplant",
    "evaluate": "few_shot_report continual_measures interference interference_matrix intervals "
    "lifetimes matrices report selectivity geometry",
    "files": "provenance",
}
MOVED = {name: f"{folder}.{name}" for folder, names in FOLDERS.items() for name in names.split()}
MOVED |= {
    "rule": "rules.learning_rule", "coincidence": "plasticity.outer_product",
    "artifact": "files.rule_file", "birth": "inner.initialization", "sinks": "outer.loggers",
    "glances": "evaluate.shift_averaging", "own_matrix": "evaluate.report_from_matrix",
    "snapshots": "evaluate.lifetime_evaluation", "trials": "evaluate.example_updates",
    "feedback": "pathways", "plug": "online.plastic_module",
    "plug_loss": "online.losses",
    "credit_assignment": "online.credit",
}  # fmt: skip
PACKAGE = __name__.partition(".")[0]


class _OldNames(MetaPathFinder, Loader):
    """An import finder of `metaplastic.NAME` for the former module names."""

    specs: ClassVar[dict[str, ModuleSpec | None]] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == PACKAGE and name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = f"{PACKAGE}.{MOVED[spec.name.partition('.')[2]]}"
        warnings.warn(
            f"{spec.name} is now {new}; the old name is removed in the next release.",
            DeprecationWarning,
            stacklevel=2,  # frames of the import system are not counted
        )
        module = importlib.import_module(new)
        self.specs[new] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec of the module, which the import system has overwritten."""
        module.__spec__ = self.specs[module.__name__]


def install() -> None:
    """Add the finder of former names, once."""
    if not any(type(finder).__name__ == _OldNames.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_OldNames())
