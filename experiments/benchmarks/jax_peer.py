"""JAX as a peer: a process that holds one compiled function and runs it on request."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from experiments.lab.reference_libraries import PeerMissingError

START = "from experiments.benchmarks.in_jax.child import main; main()"
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
TOLERANCE = 1e-5


class JaxPeer:
    """A function of `in_jax.child` on these arrays, compiled; a context, whose end stops it.

    `found` is its result: the meta-gradient, or the parameters after so many steps, a call each.

    Args:
        work: its function's name there.
        data: `x`, `y`, `query_x` and `query_y`, with an axis of tasks; of one lifetime, `x` and
            `y` without it.
        learned: what it differentiates in or changes, by the names that it gives them.
        device: `cpu` or `cuda`.
        threads: 1, or as many as JAX takes.
        double: in float64, of which the arrays are then.
        calls: after which its result is kept, at least 2.

    Raises:
        PeerMissingError: JAX is not installed, or has no such device.
    """

    def __init__(
        self,
        work: str,
        data: Mapping[str, Tensor],
        learned: Mapping[str, Tensor],
        *,
        device: str = "cpu",
        threads: int = 1,
        double: bool = False,
        calls: int = 2,
        **options: Any,
    ) -> None:
        if importlib.util.find_spec("jax") is None:
            raise PeerMissingError("jax is not installed: pip install jax")
        kind = torch.device(device).type
        environment = {**os.environ, "JAX_PLATFORMS": kind}
        environment["JAX_TRACEBACK_FILTERING"] = "off"  # its note would be an error's last line
        if double:
            environment["JAX_ENABLE_X64"] = "1"
        if threads == 1:
            environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}"
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        arrays, result = folder / "given.npz", folder / "result.npz"
        save: Any = np.savez
        save(arrays, **{k: v.detach().cpu().numpy() for k, v in {**data, **learned}.items()})
        request = {
            "work": work, "arrays": str(arrays), "result": str(result),
            "learned": list(learned), "options": options, "calls": calls,
        }  # fmt: skip
        self.compile_s: float = self._ask(request)["compile_s"]
        with np.load(result) as found:
            self.found = {name: torch.from_numpy(found[name]) for name in found.files}

    def __call__(self) -> None:
        """One call."""
        self.fastest(1)

    def fastest(self, calls: int) -> float:
        """Seconds of the fastest of so many calls by its own clock, after one unmeasured."""
        spent: float = self._ask({"calls": calls})["seconds"]
        return spent

    def megabytes(self) -> float:
        """The most memory it has held, beyond what importing took, in MB (10^6 bytes)."""
        peak: float = self._ask({})["megabytes"]
        return peak

    def require_same(self, ours: Mapping[str, Tensor]) -> None:
        """Raise RuntimeError unless ours is JAX's, to 1e-5 of the largest entry of each tensor."""
        for name, theirs in self.found.items():
            scale = float(theirs.abs().max())
            apart = float((ours[name].detach().cpu() - theirs).abs().max()) / (scale or 1.0)
            if not apart <= TOLERANCE:
                raise RuntimeError(
                    f"Our result in {name} differs from JAX's by {apart:.1e} of its largest "
                    f"entry, which is more than {TOLERANCE:g}, so the two cannot be compared."
                )

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            self.close()
            raise PeerMissingError(f"jax stopped: {last}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the process and delete its files."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
