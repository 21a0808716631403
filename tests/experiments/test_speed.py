"""The speed table is whole wherever it is made, and reads well."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.benchmarks import inner_sgd, of_threads
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import Unroll


@pytest.mark.parametrize("missing", [("learn2learn",), ("higher", "learn2learn")])
def test_a_rival_that_is_not_installed_is_named_as_not_measured(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = inner_sgd.by_us

    def absent(*given: Any) -> Any:
        raise PeerMissingError("it cannot be imported")

    def eager(*given: Any) -> inner_sgd.Gradient:
        return ours(*given[:3], Unroll())  # compiling takes long and is not the matter here

    present = {name: lambda *given: eager(*given, 8) for name in inner_sgd.PEERS}
    peers = {name: absent if name in missing else made for name, made in present.items()}
    monkeypatch.setattr(inner_sgd, "PEERS", peers)
    monkeypatch.setattr(inner_sgd, "GOALS", {(64, 256, 8): inner_sgd.GOALS[64, 256, 8]})
    monkeypatch.setattr(inner_sgd, "by_us", eager)
    monkeypatch.setattr(inner_sgd, "beside", lambda *_: [])
    found = inner_sgd.measure(1, 0)
    unmeasured = [one.what for one in found if one.result == "not measured: it cannot be imported"]
    assert unmeasured == [f"16 tasks x 5 SGD steps, 64-256-8: {name} / ours" for name in missing]
    assert len(found) - len(missing) == 2 * (len(peers) - len(missing))


def test_one_thread_is_not_several() -> None:
    assert [of_threads(1), of_threads(2)] == ["1 thread", "2 threads"]
