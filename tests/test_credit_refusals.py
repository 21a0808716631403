"""What credit assignment does not serve is refused by name, with what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import credit


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.a(x), self.b.weight)


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (lambda: nn.LSTM(4, 4), (2, 3, 4), r"'' is a LSTM: its recurrent weights"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.GRUCell(4, 4)), (2, 4), r"leave=\['1'\]"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8), (2, 3, 4), "'self_attn' is a Multihead"),
        (lambda: nn.Sequential(nn.ReLU()), (2, 4), "has no Linear, Conv1d or Conv2d"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), (2, 4), "run the model once first"),
        (Unused, (2, 4), "Sites 'b' were not called"),
        (lambda: nn.Linear(4, 2), (4,), "must be the batch"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    model: Callable[[], nn.Module], x: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        credit("fa", model(), example=torch.randn(x))


def test_names_to_leave_must_exist_and_direct_feedback_keeps_its_size() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1), nn.AdaptiveAvgPool2d(1))
    x, y = torch.randn(4, 3, 6, 6), torch.zeros(4, 2, 1, 1)
    with pytest.raises(ValueError, match=r"leave names \['three'\]"):
        credit("fa", model, example=x, leave=["three"])
    told = credit("dfa", model, example=x)
    with pytest.raises(ValueError, match="make a new credit"):
        told.backward(model, torch.randn(4, 3, 8, 8), y, F.mse_loss)
