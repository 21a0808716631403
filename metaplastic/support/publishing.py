"""What makes a learner one that is handed on by itself: `learner.push_to_hub("user/name")`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Publishable:
    """A class whose objects can be written as rule files."""

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Write this learner to a repository of the hub, as a rule file with a model card.

        Arguments, errors and what is returned are those of `metaplastic.files.hub.push_to_hub`.
        """
        # By name: a learner does not know how it is written to files, which know learners.
        url: str = import_module("metaplastic.files.hub").push_to_hub(self, repo, **options)
        return url
