"""Attention with its products in the open: twins of two functions of torch.

To a mode that looks for products of an input with a weight, `F.multi_head_attention_forward` is one
opaque call, and a fused kernel of `F.scaled_dot_product_attention` has no second derivative. Here
each projection is a call of `F.linear`, each part of a packed weight a view made by `chunk`, and
the core matmul and softmax: all differentiable twice, and at home under `torch.func.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None,
    bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
    out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
    need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
    core: Callable[..., Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`steps batch units` or `steps units` -> the same, and the weights: as torch's function.

    `core` may be a fused kernel in the place of `attend`.

    Raises:
        ValueError: where torch's function raises an AssertionError or a RuntimeError.
        TypeError: for a mask that is neither bool nor floating.
    """
    _check_shapes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise ValueError("is_causal is a hint about attn_mask, which is None; pass that as well.")
    batched, batch = query.dim() == 3, query.shape[1] if query.dim() == 3 else 1
    # torch drops the mask for the hint only where nothing else is masked or requested.
    is_causal = is_causal and key_padding_mask is None and not need_weights
    sizes = (batch, num_heads, query.shape[0], key.shape[0])
    mask = _merged(None if is_causal else attn_mask, key_padding_mask, query, sizes)
    each = (q_proj_weight, k_proj_weight, v_proj_weight)
    # Projected before an axis for the batch is added: it would hide that query is key is value.
    weights = each if use_separate_proj_weight else (in_proj_weight,)
    q, k, v = _projected((query, key, value), weights, in_proj_bias)
    if not batched:
        q, k, v = q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)

    more = 0  # keys and values that no mask of the caller's covers
    if bias_k is not None or bias_v is not None:
        if bias_k is None or bias_v is None or static_k is not None or static_v is not None:
            raise ValueError("bias_k and bias_v go together, and not with static_k or static_v.")
        k, v = (torch.cat([x, b.expand(-1, batch, -1)]) for x, b in ((k, bias_k), (v, bias_v)))
        more += 1
    heads = (num_heads, query.shape[-1] // num_heads)
    q, k, v = (x.reshape(*x.shape[:2], *heads).permute(1, 2, 0, 3) for x in (q, k, v))
    if static_k is not None:
        k = _static("static_k", static_k, batch, heads)
    if static_v is not None:
        v = _static("static_v", static_v, batch, heads)
    if add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        more += 1
    if mask is not None and more:
        mask = F.pad(mask, (0, more))

    shown = None
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        # As in torch, a query that may look nowhere gives nan here, and zero in `attend`.
        shown = _dropped(_scores(q, k, mask, heads[1] ** -0.5).softmax(-1), dropout_p)
        mixed = shown @ v
        shown = shown.mean(1) if average_attn_weights else shown
        shown = shown if batched else shown.squeeze(0)
    else:
        mixed = (core or attend)(q, k, v, mask, dropout_p, is_causal)
    output = F.linear(mixed.permute(2, 0, 1, 3).flatten(-2), out_proj_weight, out_proj_bias)
    return output if batched else output.squeeze(1), shown


def attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """`... heads queries units` -> the same, as the math backend of torch's function.

    Raises:
        ValueError: for a mask beside is_causal.
        TypeError: for a mask that is neither bool nor floating.
    """
    masked = attn_mask is not None
    if masked and is_causal:
        raise ValueError("attn_mask and is_causal are both given; pass one of them.")
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    dtype, narrow = query.dtype, query.dtype in (torch.float16, torch.bfloat16)
    if narrow:  # torch's math backend also computes these in float32
        query, key, value = query.float(), key.float(), value.float()
    if attn_mask is not None:
        seen = attn_mask.dtype == torch.bool
        attn_mask = _additive(attn_mask.logical_not() if seen else attn_mask, query.dtype)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    weights = _scores(query, key, attn_mask, scale)
    if masked:
        # A query that may look nowhere sees zero. Its scores are filled before softmax too: the
        # derivative of 0 / 0 would spread through a `where` behind it.
        nowhere = (weights == -torch.inf).all(-1, keepdim=True)
        weights = weights.masked_fill(nowhere, 0.0).softmax(-1).masked_fill(nowhere, 0.0)
    else:
        weights = weights.softmax(-1)
    found = _dropped(weights, dropout_p) @ value
    return found.to(dtype) if narrow else found


def _scores(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    scores = (query * scale) @ key.mT
    return scores if mask is None else scores + mask


def _dropped(weights: Tensor, probability: float) -> Tensor:
    return F.dropout(weights, probability, training=True) if probability > 0 else weights


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to scores: where a bool one is True, minus infinity."""
    if mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise TypeError(f"A mask of attention is bool or floating; got {mask.dtype}.")
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)


def _merged(
    attn_mask: Tensor | None, padding: Tensor | None, query: Tensor, sizes: tuple[int, ...]
) -> Tensor | None:
    """Both masks as one to add to scores, which have `sizes`: `batch heads steps keys`."""
    batch, heads, steps, keys = sizes
    mask = None
    if attn_mask is not None:
        _check_size("attn_mask", attn_mask, [(steps, keys), (batch * heads, steps, keys)])
        mask = _additive(attn_mask, query.dtype)
        mask = mask.reshape(sizes) if mask.dim() == 3 else mask
    if padding is not None:
        _check_size("key_padding_mask", padding, [(*query.shape[1:-1], keys)])
        hidden = _additive(padding, query.dtype).reshape(batch, 1, 1, keys)
        mask = hidden if mask is None else mask + hidden
    return mask


def _projected(
    inputs: tuple[Tensor, Tensor, Tensor], given: Sequence[Tensor | None], bias: Tensor | None
) -> Sequence[Tensor]:
    weights: Sequence[Tensor] = [weight for weight in given if weight is not None]
    if len(weights) < len(given):
        raise ValueError(
            "A weight is None; pass in_proj_weight, or use_separate_proj_weight=True with all of "
            "q_proj_weight, k_proj_weight and v_proj_weight."
        )
    if len(weights) == 1:
        if inputs[0] is inputs[1] and inputs[1] is inputs[2]:
            return F.linear(inputs[0], weights[0], bias).chunk(3, -1)
        weights = weights[0].chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [F.linear(*each) for each in zip(inputs, weights, biases, strict=True)]


def _static(name: str, given: Tensor, batch: int, heads: tuple[int, int]) -> Tensor:
    _check_size(name, given, [(batch * heads[0], given.shape[1], heads[1])])
    return given.reshape(batch, heads[0], -1, heads[1])


def _check_size(name: str, given: Tensor, sizes: list[tuple[int, ...]]) -> None:
    # Broadcasting would accept some wrong shapes in silence.
    if tuple(given.shape) not in sizes:
        wanted = " or ".join(str(size) for size in sizes)
        raise ValueError(f"{name} has shape {tuple(given.shape)}; it must be {wanted}.")


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, separate: bool
) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if query.dim() not in (2, 3) or key.dim() != query.dim() or value.dim() != query.dim():
        wrong = "all have three axes (steps, batch, units), or two (without the batch)"
    elif query.shape[-1] != width or width % heads:
        wrong = f"end in embed_dim, here {width}, which {heads} heads must divide"
    elif key.shape[:-1] != value.shape[:-1] or query.shape[1:-1] != key.shape[1:-1]:
        wrong = "have one batch, and as many keys as values"
    elif not separate and key.shape != value.shape:
        wrong = "have keys as wide as values, unless use_separate_proj_weight"
    else:
        return
    raise ValueError(f"query, key and value have shapes {shapes}; they must {wrong}.")
