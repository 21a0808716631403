"""What credit assignment does not serve is refused by name, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import PlasticModule, angles, credit, gradients, rules
from metaplastic.pathways.invertible import narrowing, orthogonal_
from metaplastic.rules.symmetric_alignment import SymmetricAlignment
from metaplastic.sites.survey import UnreachedWarning


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (lambda: nn.LSTM(4, 4), (2, 3, 4), r"'' is a LSTM: its recurrent weights"),
        (lambda: nn.Sequential(nn.ReLU()), (2, 4), "no product of an input with a weight"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), (2, 4), "run the model once first"),
        (lambda: nn.Linear(4, 2), (4,), "must be the batch"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    model: Callable[[], nn.Module], x: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        credit("fa", model(), example=torch.randn(x))


def test_a_weight_that_no_rule_reaches_is_named_once_with_the_reason() -> None:
    with pytest.warns(UnreachedWarning, match=r"b\.weight \(never used on the example\)"):
        made = credit("fa", Unused(), example=torch.randn(2, 4))
    assert made.unreached == {"b.weight": "never used on the example"}
    assert "b.weight (never used on the example)" in repr(made)


def test_names_to_leave_must_exist_and_direct_feedback_keeps_its_size() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1), nn.AdaptiveAvgPool2d(1))
    x, y = torch.randn(4, 3, 6, 6), torch.zeros(4, 2, 1, 1)
    with pytest.raises(ValueError, match=r"leave names \['three'\]"):
        credit("fa", model, example=x, leave=["three"])
    by_rule = credit("dfa", model, example=x)
    with pytest.raises(ValueError, match="make a new credit"):
        by_rule.backward(model, torch.randn(4, 3, 8, 8), y, F.mse_loss)


NUMBERS = (
    "scale",
    "noise",
    "rate",
    "decay",
    "amp",
    "null",
    "sparse",
    "self_",
    "deviation",
    "gamma",
)
NUMBERS += ("orthogonality", "expansion", "examples")


@pytest.mark.parametrize("name", rules())
def test_a_number_out_of_its_range_is_refused_by_its_name(name: str) -> None:
    model, x = nn.Linear(4, 2), torch.randn(2, 4)
    own = set(signature(rules()[name]).parameters) & set(NUMBERS)
    assert own
    for option in own:
        for wrong in (-1, float("nan"), "big", True):
            with pytest.raises(ValueError, match=f"^{option} is {wrong!r}; it must be a .* number"):
                credit(name, model, example=x, **{option: wrong})
    first = {
        option: value for option, value in rules()[name]().options.items() if value is not None
    }
    credit(name, model, example=x, **first)


def test_schedules_and_rules_of_ones_own_keep_their_options() -> None:
    model, x = nn.Linear(4, 2), torch.randn(2, 4)
    credit("sa", model, example=x, decay=lambda step: 0.5 / (1 + step))
    with pytest.raises(ValueError, match="decay is <function"):
        credit("kp", model, example=x, decay=lambda step: 0.5)
    with pytest.raises(ValueError, match="decay is -1; it must be a finite number of at least 0"):
        credit(SymmetricAlignment(decay=-1), model, example=x)


INVERSE = ("target_propagation", "gait_prop", "rescaled_gait_prop")


@pytest.mark.parametrize("name", INVERSE)
def test_rules_by_inverses_fill_gradients_of_chains_and_of_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    chain = orthogonal_(narrowing([6, 6, 6, 3]))
    x, y = torch.randn(5, 6, dtype=torch.float64), torch.randint(3, (5,))
    made = credit(name, chain, example=x)
    loss = made.backward(chain, x, y, F.cross_entropy)
    assert loss == pytest.approx(F.cross_entropy(chain(x), y).item())
    found = [p.grad.clone() for p in chain.parameters() if p.grad is not None]
    chain.zero_grad()
    F.cross_entropy(chain(x), y).backward()
    exact = [p.grad for p in chain.parameters() if p.grad is not None]
    near = [torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(found, exact, strict=True)]
    assert all(near) is (name != "target_propagation")
    with pytest.raises(ValueError, match="compare the gradients"):
        angles(made, chain, x, y, F.cross_entropy)
    with pytest.raises(ValueError, match="no differentiable form"):
        gradients(made, chain, x, y, F.cross_entropy)
    with pytest.raises(ValueError, match="no signals at its sites"):
        PlasticModule(chain, name, example=x)
    held = Holder(chain)
    made = credit(name, held, example=x)
    with pytest.raises(ValueError, match=r"needs an nn\.Sequential"):
        made.backward(held, x, y, F.cross_entropy)
    wide = nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(0.1), nn.Linear(6, 3)).double()
    made = credit(name, wide, example=x)
    with pytest.raises(ValueError, match="square"):
        made.backward(wide, x, y, F.cross_entropy)


class Holder(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x)  # type: ignore[no-any-return]
