"""A step of online learning in JAX: three networks, their errors carried back by feedback weights.

`jit` of one step on one minibatch, whose loss is read on the host, as ours is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.in_jax.images import channels_last, convolve, with_feedback
from experiments.benchmarks.in_jax.lifetimes import Arrays, cross_entropy

Carry = Callable[..., Any]  # a product of an input and a site's weight: `carry(x, site, **options)`


def perceptron(own: Arrays, x: Any, carry: Carry) -> Any:
    for site in ("0", "2"):
        x = jax.nn.relu(carry(x, site) + own[f"{site}.bias"])
    return carry(x, "4") + own["4.bias"]


def residual(own: Arrays, x: Any, carry: Carry) -> Any:
    """ResNet-20, normalized by running statistics, which stay."""

    def norm(x: Any, name: str) -> Any:
        scale = jax.lax.rsqrt(own[f"{name}.running_var"] + 1e-5) * own[f"{name}.weight"]
        return (x - own[f"{name}.running_mean"]) * scale + own[f"{name}.bias"]

    x = jax.nn.relu(norm(carry(x, "0", padding=1), "1"))
    for block in range(3, 12):
        stride = 2 if f"{block}.skip.weight" in own else 1
        inside = norm(carry(x, f"{block}.one", stride=stride, padding=1), f"{block}.norm_one")
        inside = carry(jax.nn.relu(inside), f"{block}.two", padding=1)
        beside = carry(x, f"{block}.skip", stride=2) if stride == 2 else x
        x = jax.nn.relu(norm(inside, f"{block}.norm_two") + beside)
    return carry(x.mean((1, 2)), "14") + own["14.bias"]


def transformer(own: Arrays, x: Any, carry: Carry) -> Any:
    """Two blocks of attention with four heads, and a mean over positions."""

    def norm(x: Any, name: str) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        normal = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
        return normal * own[f"{name}.weight"] + own[f"{name}.bias"]

    def affine(x: Any, site: str) -> Any:
        return carry(x, site) + own[f"{site}.bias"]

    def attend(x: Any, block: str) -> Any:
        joint = carry(x, f"{block}.in_proj_weight") + own[f"{block}.in_proj_bias"]
        query, key, value = jnp.split(joint.reshape(*x.shape[:2], 12, -1), 3, axis=2)
        read = jax.nn.dot_product_attention(query, key, value).reshape(x.shape)
        return affine(read, f"{block}.out_proj")

    x = affine(x, "embed")
    for block in ("blocks.0", "blocks.1"):
        x = x + attend(norm(x, f"{block}.first"), f"{block}.attend")
        wide = jax.nn.gelu(affine(norm(x, f"{block}.second"), f"{block}.wide"), approximate=False)
        x = x + affine(wide, f"{block}.narrow")
    return affine(x.mean(1), "head")


NETWORKS = {"perceptron": perceptron, "residual": residual, "transformer": transformer}


def product(x: Any, weight: Any, **options: Any) -> Any:
    return x @ weight.T if weight.ndim == 2 else convolve(x, weight, **options)


def online(
    given: Arrays, learned: list[str], *, network: str, rule: str, rate: float, decay: float
) -> Any:
    """One step a call, on from where the last one ended; it returns the parameters.

    `given` has the feedback of each site as `feedback NAME`. `rule` is `backprop`, for which it is
    not read, `feedback_alignment` or `kolen_pollack`.
    """
    x = channels_last(given["x"]) if network == "residual" else given["x"]
    data = [jax.device_put(part) for part in (x, given["y"])]
    start = {name: jax.device_put(given[name]) for name in learned}
    fed = {name: jax.device_put(b) for name, b in given.items() if name.startswith("feedback ")}
    rest = {name: jax.device_put(part) for name, part in given.items() if "running" in name}

    def loss(own: Arrays, feedback: Arrays, x: Any, y: Any) -> Any:
        def carry(x: Any, site: str, **options: Any) -> Any:
            weight = own[weight_of(site)]
            if rule == "backprop":
                return product(x, weight, **options)
            by = with_feedback(partial(product, **options))
            return by(x, weight, feedback[f"feedback {site}"])

        return cross_entropy(NETWORKS[network]({**rest, **own}, x, carry), y)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(own: Arrays, feedback: Arrays, x: Any, y: Any) -> tuple[Any, Arrays, Arrays]:
        error, slopes = jax.value_and_grad(loss)(own, feedback, x, y)
        after = {name: own[name] - rate * slopes[name] for name in own}
        if rule == "kolen_pollack":
            for key in feedback:
                name = weight_of(key.removeprefix("feedback "))
                follow = decay * (own[name] - feedback[key]) - rate * slopes[name]
                feedback = {**feedback, key: feedback[key] + follow}
        return error, after, feedback

    own, feedback = start, fed

    def run() -> Any:
        nonlocal own, feedback
        error, own, feedback = step(own, feedback, *data)
        float(error)
        return own

    return run


def weight_of(site: str) -> str:
    return site if site.endswith("weight") else f"{site}.weight"
