"""Attention in the open is torch's: outputs, weights and gradients, and over an axis of tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from metaplastic.sites.attention import attend, multi_head_attention

STEPS, KEYS, BATCH, HEADS, WIDTH = 3, 4, 2, 2, 4
Leaf = Callable[..., Tensor]
assert_close = partial(torch.testing.assert_close, rtol=0.0, atol=1e-12, equal_nan=True)


@pytest.fixture
def leaf(generator: torch.Generator) -> Leaf:
    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    return draw


def given_attention(
    leaf: Leaf, inputs: str = "self", batched: bool = True, bias: bool = True
) -> dict[str, Any]:
    """Arguments of `F.multi_head_attention_forward`, every tensor a leaf."""
    batch, separate = (BATCH,) if batched else (), inputs == "separate"
    query = key = value = leaf(STEPS, *batch, WIDTH)
    if inputs != "self":
        key = value = leaf(KEYS, *batch, 3 if separate else WIDTH)
    if inputs in ("three", "separate"):
        value = leaf(KEYS, *batch, 5 if separate else WIDTH)
    found: dict[str, Any] = {
        "query": query, "key": key, "value": value, "embed_dim_to_check": WIDTH,
        "num_heads": HEADS, "in_proj_weight": None if separate else leaf(3 * WIDTH, WIDTH),
        "in_proj_bias": leaf(3 * WIDTH) if bias else None, "bias_k": None, "bias_v": None,
        "add_zero_attn": False, "dropout_p": 0.0, "out_proj_weight": leaf(WIDTH, WIDTH),
        "out_proj_bias": leaf(WIDTH) if bias else None, "use_separate_proj_weight": separate,
    }  # fmt: skip
    for name, width in {"q": WIDTH, "k": 3, "v": 5}.items():
        found[f"{name}_proj_weight"] = leaf(WIDTH, width) if separate else None
    return found


def masked(leaf: Leaf, shape: tuple[int, ...], kind: str) -> Tensor | None:
    """True, or minus infinity, where nothing is seen; the first key always is."""
    numbers = leaf(*shape).detach()
    hidden = (numbers > 0) & (torch.arange(shape[-1]) > 0)
    floating = numbers.masked_fill(hidden, -torch.inf).requires_grad_()
    return {"none": None, "bool": hidden, "float": floating}[kind]


def assert_twins(theirs: Callable[..., Any], ours: Callable[..., Any], **given: Any) -> None:
    """The same outputs, and the same gradients of an uneven sum of them."""
    used = [x for x in given.values() if isinstance(x, Tensor) and x.requires_grad]
    found: list[Any] = []
    for run in (theirs, ours):
        torch.manual_seed(1)  # of dropout
        out = run(**given)
        outputs = [x for x in (out if isinstance(out, tuple) else (out,)) if x is not None]
        signals = [torch.linspace(-1, 2, x.numel(), dtype=x.dtype).view(x.shape) for x in outputs]
        found += [(outputs, torch.autograd.grad(outputs, used, signals, materialize_grads=True))]
    assert_close(found[1], found[0])


def assert_same_attention(**given: Any) -> None:
    for need in (True, False):
        twins = (F.multi_head_attention_forward, multi_head_attention)
        assert_twins(*twins, **given, need_weights=need)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("inputs", ["self", "memory", "three", "separate"])
def test_attention_is_torchs_for_all_inputs(inputs: str, batched: bool, leaf: Leaf) -> None:
    for bias, added, zero, average in product([True, False], repeat=4):
        given = given_attention(leaf, inputs, batched, bias)
        given |= {name: leaf(1, 1, WIDTH) for name in ("bias_k", "bias_v") if added}
        assert_same_attention(**given | {"add_zero_attn": zero, "average_attn_weights": average})


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("inputs", ["self", "separate"])
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_attention_is_torchs_for_all_masks(inputs: str, batched: bool, leaf: Leaf) -> None:
    kinds, batch = ("none", "bool", "float"), BATCH if batched else 1
    for axes, kind, padding, more in product((2, 3), kinds, kinds, (True, False)):
        given = given_attention(leaf, inputs, batched) | {"add_zero_attn": more}
        given |= {name: leaf(1, 1, WIDTH) for name in ("bias_k", "bias_v") if more}
        keys = len(given["key"])
        given["attn_mask"] = masked(leaf, (batch * HEADS, STEPS, keys)[3 - axes :], kind)
        given["key_padding_mask"] = masked(leaf, (batch, keys)[not batched :], padding)
        assert_same_attention(**given)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_the_hint_of_a_causal_mask_counts_where_it_does_in_torch(leaf: Leaf) -> None:
    for zero, padding in product((False, True), ("none", "bool")):
        given = given_attention(leaf) | {"add_zero_attn": zero, "is_causal": True}
        # No causal mask, so that it shows whether the mask or the hint was followed.
        given["attn_mask"] = masked(leaf, (STEPS, STEPS), "float")
        given["key_padding_mask"] = masked(leaf, (BATCH, STEPS), padding)
        assert_same_attention(**given)


def test_a_query_that_may_look_nowhere_gives_what_it_gives_in_torch(leaf: Leaf) -> None:
    mask = torch.arange(STEPS)[:, None].expand(STEPS, KEYS) == 1  # the second query
    assert_same_attention(**given_attention(leaf, "memory"), attn_mask=mask)


def test_static_keys_and_values_replace_the_projected_ones(leaf: Leaf) -> None:
    for names in (["static_k", "static_v"], ["static_k"], ["static_v"]):
        static = {name: leaf(BATCH * HEADS, KEYS, WIDTH // HEADS) for name in names}
        assert_same_attention(**given_attention(leaf, "three"), **static)


def test_dropout_drops_what_torch_drops_from_one_seed(leaf: Leaf) -> None:
    for training in (True, False):
        given = given_attention(leaf, "three") | {"dropout_p": 0.5}
        assert_same_attention(**given, training=training)


def math_attention(**given: Any) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(**given)


@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal"])
def test_attend_is_the_math_backend(kind: str, heads: int, leaf: Leaf) -> None:
    for scale, dropout in product((None, 0.3, -0.3), (0.0, 0.5)):
        mask = masked(leaf, (STEPS, KEYS), kind.replace("causal", "none"))
        if kind == "bool" and mask is not None:
            mask[0] = False  # True is seen here, so this query looks nowhere
        query, key, value = leaf(2, 4, STEPS, 5), leaf(2, heads, KEYS, 5), leaf(2, heads, KEYS, 6)
        given: dict[str, Any] = {"attn_mask": mask, "scale": scale, "dropout_p": dropout}
        given |= {"is_causal": kind == "causal", "enable_gqa": heads < 4}
        assert_twins(math_attention, attend, query=query, key=key, value=value, **given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attend_computes_half_precision_in_single_as_torch(dtype: torch.dtype, leaf: Leaf) -> None:
    x, y, z = (leaf(2, STEPS, 4).to(dtype) for _ in range(3))
    torch.testing.assert_close(attend(x, y, z), math_attention(query=x, key=y, value=z))


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_attend_is_differentiable_twice_even_where_nothing_is_seen(kind: str, leaf: Leaf) -> None:
    seen = torch.tensor([[True, False, True], [False, False, False]])
    mask = {"none": None, "bool": seen, "float": seen.double().log()}[kind]
    run, inputs = partial(attend, attn_mask=mask), (leaf(2, 2), leaf(3, 2), leaf(3, 1))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_attention_is_differentiable_twice_in_its_inputs_and_weights(leaf: Leaf) -> None:
    def run(x: Tensor, packed: Tensor, out: Tensor) -> Any:
        return multi_head_attention(x, x, x, 2, 2, packed, None, None, None, True, 0.0, out, None)

    assert torch.autograd.gradgradcheck(run, (leaf(2, 1, 2), leaf(6, 2), leaf(2, 2)))


@pytest.mark.parametrize("need", [True, False])
@pytest.mark.parametrize("inputs", ["self", "three"])
def test_attention_over_tasks_is_a_loop_over_them(inputs: str, need: bool, leaf: Leaf) -> None:
    given = given_attention(leaf, inputs) | {"add_zero_attn": True, "need_weights": need}
    given |= {"bias_k": leaf(1, 1, WIDTH), "bias_v": leaf(1, 1, WIDTH)}
    padding = leaf(3, BATCH, len(given["key"])) > 0

    def loss(part: dict[str, Tensor], hidden: Tensor) -> Tensor:
        if inputs == "self" and "query" in part:
            part = {**part, "key": part["query"], "value": part["query"]}
        output, weights = multi_head_attention(**{**given, **part, "key_padding_mask": hidden})
        return output.square().sum() + (0 if weights is None else weights.square().sum())

    slopes = torch.func.grad(loss)
    for names in (["in_proj_weight", "in_proj_bias", "bias_k"], ["query", "value"]):
        tasks = {name: leaf(3, *given[name].shape) for name in names}
        together = torch.func.vmap(slopes)(tasks, padding)
        for i in range(3):
            alone = slopes({name: x[i] for name, x in tasks.items()}, padding[i])
            assert_close({name: x[i] for name, x in together.items()}, alone)


def test_attend_over_tasks_is_a_loop_over_them(leaf: Leaf) -> None:
    query, key, mask = leaf(3, 4, STEPS, 5), leaf(3, 2, KEYS, 5), leaf(3, STEPS, KEYS) > 0
    mask[1] = False
    for given, causal in (((query, key, key, mask), False), ((query, key, key), True)):
        run = partial(attend, is_causal=causal, enable_gqa=True)
        loop = torch.stack([run(*task) for task in zip(*given, strict=True)])
        assert_close(torch.func.vmap(run)(*given), loop)


class Calls(TorchFunctionMode):
    """Notes every function called, with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((func, args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("inputs", ["self", "memory", "three", "separate"])
def test_a_mode_sees_every_projection(inputs: str, batched: bool, leaf: Leaf) -> None:
    given = given_attention(leaf, inputs, batched)
    with Calls() as calls:
        multi_head_attention(**given, need_weights=False)
    weights = [args[1] for func, args in calls.seen if func is F.linear]
    assert len(weights) == (2 if inputs == "self" else 4)
    assert (weights[0] is given["in_proj_weight"]) == (inputs == "self")
    assert weights[-1] is given["out_proj_weight"]
    assert F.scaled_dot_product_attention not in [func for func, _ in calls.seen]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("is_causal", True, "is_causal"), ("num_heads", 3, "heads"),
        ("embed_dim_to_check", 5, "embed_dim"), ("in_proj_weight", None, "in_proj_weight"),
        ("bias_k", torch.zeros(1, 1, WIDTH), "bias_v"), ("static_k", torch.zeros(1, 3, 2), "stat"),
        ("attn_mask", torch.zeros(1, 3), "attn"), ("key_padding_mask", torch.zeros(1, 3), "pad"),
        ("query", torch.zeros(3, WIDTH), "axes"), ("query", torch.zeros(3, 1, WIDTH), "batch"),
        ("key", torch.zeros(3, BATCH, 3), "wide"),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_refused(name: str, value: Any, message: str, leaf: Leaf) -> None:
    given = given_attention(leaf) | {name: value}
    with pytest.raises((RuntimeError, AssertionError)):
        F.multi_head_attention_forward(**given)
    with pytest.raises(ValueError, match=message):
        multi_head_attention(**given)


def test_attend_refuses_a_mask_beside_is_causal_and_one_of_integers(leaf: Leaf) -> None:
    x, mask = leaf(3, 2), torch.ones(3, 3, dtype=torch.bool)
    for wrong, causal in ((mask, True), (mask.long(), False)):
        with pytest.raises((ValueError, TypeError), match="mask"):
            attend(x, x, x, wrong, is_causal=causal)
