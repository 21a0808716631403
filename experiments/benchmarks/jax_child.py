"""The same lifetimes in JAX: `jit` of `grad` of `vmap` over tasks of `scan` over steps.

Runs in a process of its own, which `jax_peer` starts, so that neither library's threads and memory
are in the other's measurement. It reads one line of JSON per request and answers with one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

Arrays = dict[str, Any]


def plastic_head(given: Arrays, learned: list[str], *, driven: bool) -> Any:
    """Oja's rule on one site: `post = b relu(B y + c) + (1 - b) W x`, or the label itself."""
    import jax

    def query_loss(own: Arrays, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        label = jax.nn.one_hot(y, own["weight"].shape[0])
        drive = jax.nn.relu(label @ own["feedback"].T + own["offset"]) if driven else label

        def step(weight: Any, now: Any) -> tuple[Any, None]:
            x, post = now
            if driven:
                post = own["strength"] * post + (1 - own["strength"]) * (weight @ x)
            change = post[:, None] * x[None] - (post**2)[:, None] * weight
            return weight + own["rate"] * change, None

        weight, _ = jax.lax.scan(step, own["weight"], (x, drive))
        return cross_entropy(query_x @ weight.T, query_y)

    return meta_gradient(query_loss, given, learned)


def inner_sgd(given: Arrays, learned: list[str], *, rate: float) -> Any:
    """Steps of SGD on the cross-entropy of a network of two layers, differentiated through."""
    import jax

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
    import jax
    import jax.numpy as jnp

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
    import jax
    import jax.numpy as jnp

    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)
    return -chosen.mean()


def meta_gradient(query_loss: Any, given: Arrays, learned: list[str]) -> Any:
    """A compiled function without arguments: the gradient of the mean over tasks, by name."""
    import jax

    data = [jax.device_put(given[name]) for name in ("x", "y", "query_x", "query_y")]
    own = {name: jax.device_put(given[name]) for name in learned}

    def mean_loss(own: Arrays, *data: Any) -> Any:
        return jax.vmap(query_loss, (None, 0, 0, 0, 0))(own, *data).mean()

    return partial(jax.jit(jax.grad(mean_loss)), own, *data)


WORK: Mapping[str, Callable[..., Any]] = {
    "plastic_head": plastic_head, "inner_sgd": inner_sgd, "deep_sines": deep_sines
}  # fmt: skip


def main() -> None:
    """Answer requests until the input ends."""
    import jax

    from experiments.benchmarks.memory import peak_mb

    imported = peak_mb()
    save: Any = np.savez
    run: Any = None
    answer: dict[str, float | str]
    for line in sys.stdin:
        request = json.loads(line)
        if "work" in request:
            given = dict(np.load(request["arrays"]))
            with in_float64() if request["double"] else nullcontext():
                run = WORK[request["work"]](given, request["learned"], **request["options"])
                first, found = seconds(run), run()
            save(request["gradient"], **{name: np.asarray(found[name]) for name in found})
            answer = {"compile_s": max(0.0, first - seconds(run))}
        elif "calls" in request:
            run()
            answer = {"seconds": min(seconds(run) for _ in range(request["calls"]))}
        else:
            answer = {"megabytes": peak_mb() - imported, "platform": jax.default_backend()}
        print(json.dumps(answer), flush=True)


def in_float64() -> Any:
    """A context in which JAX has numbers of 64 bits."""
    import jax

    now: Any = getattr(jax, "enable_x64", None)  # where it is since 0.8
    if now is not None:
        return now(True)
    from jax.experimental import enable_x64

    return enable_x64()


def seconds(run: Any) -> float:
    import jax

    wait: Any = jax.block_until_ready
    start = time.perf_counter()
    wait(run())
    return time.perf_counter() - start
