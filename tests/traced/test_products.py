"""Large products by oneDNN are the same products, wherever they are used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metaplastic.traced import products
from tests.helpers.graphs import graph_of, run

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch has no oneDNN here"
)
WAYS = {
    "plain": lambda a, b, bias: a @ b,
    "transposed": lambda a, b, bias: (b.t() @ a.t()).t(),
    "bias": lambda a, b, bias: torch.addmm(bias, a, b),
    "added": lambda a, b, bias: torch.addmm(bias.expand(200, 120) * 2, a, b),
    "one of a batch": lambda a, b, bias: torch.bmm(a[None], b[None])[0],
}


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor on which MKL leaves half idle."""
    monkeypatch.setattr(products, "held_back", lambda: True)


def given(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(size, dtype=dtype) for size in ((200, 100), (100, 120), (120,))]


@pytest.mark.usefixtures("held_back")
@pytest.mark.parametrize("way", WAYS)
def test_a_graph_uses_them_and_computes_the_same(way: str) -> None:
    graph = graph_of(lambda *flat: [WAYS[way](*flat)], given())
    products.use(graph)
    assert any("metaplastic.product" in str(node.target) for node in graph.nodes)
    (found,) = run(graph, given())
    exact = WAYS[way](*(one.double() for one in given()))
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("held_back")
@pytest.mark.parametrize("way", WAYS)
def test_neither_small_ones_nor_other_types_change(way: str) -> None:
    for like in (given(torch.float64), [one[..., :4] for one in given()]):
        if like[0].shape[1] == 4:
            like = [torch.randn(200, 4), torch.randn(4, 120), torch.randn(120)]
        graph = graph_of(lambda *flat: [WAYS[way](*flat)], like)
        products.use(graph)
        assert not any("metaplastic.product" in str(node.target) for node in graph.nodes)


@pytest.mark.usefixtures("held_back")
def test_the_better_of_two_is_the_same_product() -> None:
    left, right, _ = given()
    torch.testing.assert_close(products.best(left, right), left @ right, rtol=1e-5, atol=1e-4)
    small = torch.randn(3, 3)
    assert torch.equal(products.best(small, small), small @ small)
    for one, other in ((left, right), (small, small)):
        target = torch.ones(len(one), other.shape[1])
        products.add(target, one, other, 0.5)
        torch.testing.assert_close(target, 1 + 0.5 * (one @ other), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("processor", "capability", "expected"),
    [
        ("vendor_id : AuthenticAMD", "AVX512", True),
        ("vendor_id : AuthenticAMD", "AVX2", False),
        ("vendor_id : GenuineIntel", "AVX512", False),
        ("", "AVX512", False),
    ],
)
def test_where_they_are_used(
    processor: str, capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.backends.mkl.is_available():
        pytest.skip("PyTorch has no MKL here")
    monkeypatch.setattr(products, "_processor", lambda: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.held_back.__wrapped__() is expected


@pytest.mark.usefixtures("held_back")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's, of itself
def test_the_compiler_uses_them_behind_its_own_passes() -> None:
    a, b, _ = given()
    weight = torch.randn(200, 120)
    options = products.options()
    if not torch._TorchCompileInductorWrapper("default", options, False).config:
        pytest.skip("this PyTorch takes no notice of the option")
    run = torch.compile(lambda: weight + 0.5 * (a @ b), options=options)
    with torch.profiler.profile() as profile:
        found = run()
    torch.testing.assert_close(found, weight + 0.5 * (a @ b), rtol=1e-5, atol=1e-4)
    assert any("linear_pointwise" in event.name for event in profile.events())
