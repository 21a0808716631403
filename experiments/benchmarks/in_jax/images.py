"""Convolutional networks in JAX: an encoder that is run once, and feedback that follows.

Images are `n height width channels`, which convolutions of JAX are quickest in; kernels stay
`out in height width`, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.in_jax.lifetimes import Arrays, cross_entropy, meta_gradient


def convolve(x: Any, kernel: Any, stride: int = 1, padding: int = 0) -> Any:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
    )  # fmt: skip


def with_feedback(product: Callable[[Any, Any], Any]) -> Any:
    """`product(x, weight)`, through which errors are carried back by feedback weights."""

    carried: Any = jax.custom_vjp(lambda x, weight, feedback: product(x, weight))

    def forward(x: Any, weight: Any, feedback: Any) -> Any:
        return product(x, weight), (x, weight, feedback)

    def backward(kept: Any, error: Any) -> Any:
        x, weight, feedback = kept
        (back,) = jax.vjp(lambda x: product(x, feedback), x)[1](error)
        (slope,) = jax.vjp(lambda weight: product(x, weight), weight)[1](error)
        return back, slope, jnp.zeros_like(feedback)

    carried.defvjp(forward, backward)
    return carried


def channels_last(images: Any) -> Any:
    return np.moveaxis(images, -3, -1)


def group_norm(x: Any, scale: Any, offset: Any, groups: int = 8) -> Any:
    parts = x.reshape(*x.shape[:3], groups, -1)
    mean, variance = (f(parts, (1, 2, 4), keepdims=True) for f in (jnp.mean, jnp.var))
    normal = (parts - mean) * jax.lax.rsqrt(variance + 1e-5)
    return normal.reshape(x.shape) * scale + offset


def encoder_once(
    given: Arrays, learned: list[str], *, strides: list[int], hidden_multiplier: float
) -> Any:
    """All images through the frozen layers at once; two layers by Oja's rule, given the label."""
    given = {**given, **{name: channels_last(given[name]) for name in ("x", "query_x")}}

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        seen = jnp.concatenate([x, query_x])
        for layer, stride in enumerate(strides):
            seen = convolve(seen, own[f"kernel {layer}"], stride) + own[f"bias {layer}"]
            seen = jax.nn.relu(seen)
        features = jnp.moveaxis(seen, -1, -3).reshape(len(seen), -1)  # in torch's order
        label = jax.nn.one_hot(y, len(own["readout"]))
        drive = jax.nn.relu(label @ own["feedback"].T + own["offset"])

        def hidden_of(weight: Any, features: Any) -> Any:
            return jax.nn.relu(features @ weight.T + own["hidden bias"])

        def step(weights: Any, now: Any) -> tuple[Any, None]:
            (hidden, readout), (features, drive, label) = weights, now
            below = hidden_of(hidden, features)
            update = drive[:, None] * features[None] - (drive**2)[:, None] * hidden
            read = label[:, None] * below[None] - (label**2)[:, None] * readout
            hidden = hidden + hidden_multiplier * own["hidden rate"] * update
            return (hidden, readout + own["readout rate"] * read), None

        (hidden, readout), _ = jax.lax.scan(
            step, (own["hidden"], own["readout"]), (features[: len(x)], drive, label)
        )
        queries = hidden_of(hidden, features[len(x) :])
        return cross_entropy(queries @ readout.T + own["readout bias"], query_y)

    return meta_gradient(query_loss, given, learned)


def residual(given: Arrays, learned: list[str], *, rate: float, decay: float, in_turn: bool) -> Any:
    """Kolen-Pollack in three convolutions, two of them beside a skip, and a readout."""
    given = {**given, **{name: channels_last(given[name]) for name in ("x", "query_x")}}
    sites = [name.removeprefix("feedback ") for name in learned if name.startswith("feedback ")]

    def plain(x: Any, kernel: Any) -> Any:
        return convolve(x, kernel, 1, 1)

    def dense(x: Any, weight: Any) -> Any:
        return x @ weight.T

    def network(own: Arrays, x: Any, conv: Any, linear: Any) -> Any:
        def norm(x: Any, name: str) -> Any:
            return group_norm(x, own[f"{name}.weight"], own[f"{name}.bias"])

        x = jax.nn.relu(norm(conv(x, "0"), "1"))
        inside = jax.nn.relu(norm(conv(x, "3.one"), "3.norm_one"))
        x = jax.nn.relu(norm(conv(inside, "3.two"), "3.norm_two") + x)
        return linear(x.mean((1, 2)), "6") + own["6.bias"]

    def loss(own: Arrays, feedback: Arrays, x: Any, y: Any) -> Any:
        def carried(product: Any) -> Any:
            by = with_feedback(product)
            return lambda x, site: by(x, own[f"{site}.weight"], feedback[site])

        return cross_entropy(network(own, x, carried(plain), carried(dense)), y)

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        feedback = {site: own[f"feedback {site}"] for site in sites}
        moving = {f"{site}.weight": own[f"{site}.weight"] for site in sites}
        moving["6.bias"] = own["6.bias"]
        rest = {name: own[name] for name in own if not name.startswith("feedback ")}

        def step(state: Any, now: Any) -> tuple[Any, None]:
            moving, feedback = state
            slopes = jax.grad(lambda w: loss({**rest, **w}, feedback, *now))(moving)
            after = {name: moving[name] - rate * slopes[name] for name in moving}
            follow = {
                site: b - rate * slopes[f"{site}.weight"]
                + decay * (moving[f"{site}.weight"] - b)
                for site, b in feedback.items()
            }  # fmt: skip
            return (after, follow), None

        (moving, _), _ = jax.lax.scan(step, (moving, feedback), (x, y))
        own = {**rest, **moving}

        def plainly(product: Any) -> Any:
            return lambda x, site: product(x, own[f"{site}.weight"])

        return cross_entropy(network(own, query_x, plainly(plain), plainly(dense)), query_y)

    return meta_gradient(query_loss, given, learned, in_turn=in_turn)
