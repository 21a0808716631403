"""Lifetimes of plastic layers in JAX: `jit` of `grad` of `vmap` over tasks of `scan` over steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Arrays = dict[str, Any]


def plastic_head(given: Arrays, learned: list[str], *, driven: bool) -> Any:
    """Oja's rule on one site, then its queries."""

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        weight = by_oja(own, own["weight"], x, y, driven=driven)
        return cross_entropy(query_x @ weight.T, query_y)

    return meta_gradient(query_loss, given, learned)


def by_oja(own: Arrays, weight: Any, x: Any, y: Any, *, driven: bool) -> Any:
    """The weight after steps with `post = b relu(B y + c) + (1 - b) W x`, or the label itself."""
    label = jax.nn.one_hot(y, len(weight), dtype=weight.dtype)
    drive = jax.nn.relu(label @ own["feedback"].T + own["offset"]) if driven else label

    def step(weight: Any, now: Any) -> tuple[Any, None]:
        x, post = now
        if driven:
            post = own["strength"] * post + (1 - own["strength"]) * (weight @ x)
        change = post[:, None] * x[None] - (post**2)[:, None] * weight
        return weight + own["rate"] * change, None

    return jax.lax.scan(step, weight, (x, drive))[0]


def by_row(own: Arrays, weight: Any, x: Any, y: Any) -> Any:
    """`by_oja` clamped to the label, by the only row that a step changes."""

    def step(weight: Any, now: Any) -> tuple[Any, None]:
        x, y = now
        return weight.at[y].add(own["rate"][y] * (x - weight[y])), None

    return jax.lax.scan(step, weight, (x, y))[0]


def by_delta_rule(own: Arrays, weight: Any, x: Any, y: Any) -> Any:
    """The weight after steps of the delta rule on the mean of squares."""
    label = jax.nn.one_hot(y, len(weight), dtype=weight.dtype)

    def step(weight: Any, now: Any) -> tuple[Any, None]:
        x, label = now
        error = (2 / len(weight)) * (label - weight @ x)
        return weight + own["rate"] * error[:, None] * x[None], None

    return jax.lax.scan(step, weight, (x, label))[0]


ADAPT: dict[str, Callable[..., Any]] = {
    "driven": partial(by_oja, driven=True), "label": partial(by_oja, driven=False),
    "row": by_row, "delta": by_delta_rule,
}  # fmt: skip


def readout(given: Arrays, learned: list[str], *, by: str, segment: int) -> Any:
    """A long lifetime of a readout by one of `ADAPT`; segments are run again backwards."""

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        def segment_of(weight: Any, now: Any) -> tuple[Any, None]:
            return ADAPT[by](own, weight, *now), None

        pieces = [part.reshape(-1, segment, *part.shape[1:]) for part in (x, y)]
        weight, _ = jax.lax.scan(jax.checkpoint(segment_of), own["weight"], tuple(pieces))
        prediction = query_x @ weight.T
        if by == "delta":
            label = jax.nn.one_hot(query_y, len(weight), dtype=weight.dtype)
            return jnp.mean((prediction - label) ** 2)
        return cross_entropy(prediction, query_y)

    return meta_gradient(query_loss, given, learned)


def stream(given: Arrays, learned: list[str], *, by: str) -> Any:
    """A piece of a lifetime without a meta-gradient; each call goes on from the last one's weights.

    `by` is one of `ADAPT`.
    """
    x, y = (jax.device_put(given[name]) for name in ("x", "y"))
    own = {name: jax.device_put(given[name]) for name in learned}
    onwards = jax.jit(lambda weight, own, x, y: ADAPT[by](own, weight, x, y), donate_argnums=0)
    weight = jax.device_put(own["weight"].copy())

    def run() -> Arrays:
        nonlocal weight
        weight = onwards(weight, own, x, y)
        return {"weight": weight}

    return run


def inner_sgd(given: Arrays, learned: list[str], *, rate: float) -> Any:
    """Steps of SGD on the cross-entropy of a network of two layers, differentiated through."""

    def loss(own: Arrays, x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ own["0.weight"].T + own["0.bias"])
        return cross_entropy(hidden @ own["2.weight"].T + own["2.bias"], y)

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        def step(own: Arrays, now: Any) -> tuple[Arrays, None]:
            slopes = jax.grad(loss)(own, *now)
            return {name: own[name] - rate * slopes[name] for name in own}, None

        return loss(jax.lax.scan(step, own, (x, y))[0], query_x, query_y)

    return meta_gradient(query_loss, given, learned)


def deep_sines(given: Arrays, learned: list[str], *, layers: int, segment: int) -> Any:
    """Oja's rule in every layer, driven by the error; segments of steps are run again backwards."""

    def activities(own: Arrays, weights: list[Any], x: Any) -> list[Any]:
        found = [x]
        for layer, weight in enumerate(weights):
            x = x @ weight.T + own[f"bias {layer}"]
            found.append(x if layer == layers - 1 else jax.nn.relu(x))
            x = found[-1]
        return found

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        def step(weights: list[Any], now: Any) -> tuple[list[Any], None]:
            x, y = now
            seen, after = activities(own, weights, x), []
            error = y - seen[-1]
            for layer, weight in enumerate(weights):
                drive = jax.nn.relu(error @ own[f"feedback {layer}"].T + own[f"offset {layer}"])
                strength = own[f"strength {layer}"]
                post = strength * drive + (1 - strength) * seen[layer + 1]
                change = post.T @ seen[layer] - (post**2).sum(0)[:, None] * weight
                after.append(weight + own[f"rate {layer}"] / len(x) * change)
            return after, None

        def segment_of(weights: list[Any], now: Any) -> tuple[list[Any], None]:
            return jax.lax.scan(step, weights, now)[0], None

        pieces = [part.reshape(-1, segment, *part.shape[1:]) for part in (x, y)]
        weights = [own[f"weight {layer}"] for layer in range(layers)]
        weights, _ = jax.lax.scan(jax.checkpoint(segment_of), weights, tuple(pieces))
        return jnp.mean((activities(own, weights, query_x)[-1] - query_y) ** 2)

    return meta_gradient(query_loss, given, learned)


def cross_entropy(logits: Any, target: Any) -> Any:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)
    return -chosen.mean()


def meta_gradient(
    query_loss: Any, given: Arrays, learned: list[str], *, in_turn: bool = False
) -> Any:
    """A compiled function without arguments: the gradient of the mean over tasks, by name.

    Tasks go side by side (`vmap`), or one after another, where the machine does that faster.
    """
    data = [jax.device_put(given[name]) for name in ("x", "y", "query_x", "query_y")]
    own = {name: jax.device_put(given[name]) for name in learned}

    def mean_loss(own: Arrays, *data: Any) -> Any:
        if in_turn:
            return jax.lax.map(lambda task: query_loss(own, *task), data).mean()
        return jax.vmap(query_loss, (None, 0, 0, 0, 0))(own, *data).mean()

    return partial(jax.jit(jax.grad(mean_loss)), own, *data)
