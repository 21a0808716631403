"""Meta-learning through a pathway: gradients of training by a rule, and finite differences."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import credit, gradients

STEPS = 10


def adapted_loss(rule: str, backwards: bool = False) -> Any:
    """A function from first weights and feedback to the loss after ten steps, and its arguments."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 2, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3), nn.Tanh(),
        nn.Linear(3, 2),
    ).double()  # fmt: skip
    x, y = torch.randn(STEPS + 1, 2, 1, 4, dtype=torch.float64), torch.randint(2, (STEPS + 1, 2))
    made = credit(rule, model, example=x[0])
    names = [name for name, _ in model.named_parameters()]
    sites = ["0", "3", "5"] if made.held is not None else []
    start = [p.detach().clone().requires_grad_() for p in model.parameters()]
    back = [made.feedback(site).clone().requires_grad_() for site in sites]

    def loss(*values: Tensor) -> Tensor:
        weights = dict(zip(names, values[: len(names)], strict=True))
        feedback = dict(zip(sites, values[len(names) :], strict=True))
        for step in range(STEPS):
            _, found = gradients(
                made,
                model,
                x[step],
                y[step],
                F.cross_entropy,
                parameters=weights,
                feedback=feedback,
            )
            weights = {name: weights[name] - 0.3 * found[name] for name in names}
        out: Tensor = torch.func.functional_call(model, weights, (x[-1],))
        return F.cross_entropy(out, y[-1])

    return loss, [*start, *back]


@pytest.mark.parametrize("rule", ["backprop", "feedback_alignment", "direct_feedback_alignment"])
def test_the_meta_gradient_through_ten_steps_is_exact(rule: str) -> None:
    loss, at = adapted_loss(rule)
    assert torch.autograd.gradcheck(loss, at, fast_mode=True)


def test_feedback_weights_have_a_meta_gradient_of_their_own() -> None:
    loss, at = adapted_loss("feedback_alignment")
    *_, second, third = torch.autograd.grad(loss(*at), at, allow_unused=True)
    assert min(second.abs().max(), third.abs().max()) > 1e-5


def one_process(rank: int, port: int, folder: str) -> None:
    address = f"tcp://127.0.0.1:{port}"
    limit = timedelta(minutes=2)  # a lost process is an error then, not a wait
    dist.init_process_group("gloo", address, rank=rank, world_size=2, timeout=limit)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    wrapped = nn.parallel.DistributedDataParallel(model)
    data = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x = data[rank::2]
    made = credit("activation_alignment", wrapped, example=x)
    opt = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for _ in range(3):
        opt.zero_grad()
        made.backward(wrapped, x, torch.ones(4, 2, dtype=torch.float64), F.mse_loss)
        opt.step()
    torch.save([*model.parameters(), *made.buffers()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_keep_one_model_and_one_feedback(tmp_path: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_process, (port, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined,no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
