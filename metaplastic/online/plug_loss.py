"""What a plastic module may learn from: the usual losses, and what is refused before any change."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.objective import CrossEntropy


def usual_loss(answer: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy for whole numbers, half the squared error for others; summed over examples.

    Raises:
        ValueError: for a target that does not fit the answer.
    """
    if not isinstance(y, Tensor) or y.is_complex():
        kind = y.dtype if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise ValueError(
            f"The target is {kind}; learn needs a tensor of class indices or of real numbers, such "
            "as torch.as_tensor(y)."
        )
    shape, given = tuple(answer.shape), tuple(y.shape)
    if y.is_floating_point():
        if given != shape:  # else it would be broadcast, and every answer taught all targets
            raise ValueError(
                f"The target is {y.dtype} of shape {given}, but the answer is of shape {shape}; "
                "for the squared error give both one shape, or for classes whole numbers."
            )
        return 0.5 * (answer - y).square().sum()
    if len(shape) < 2 or given != shape[:1] + shape[2:]:
        raise ValueError(
            f"The target is {y.dtype} of shape {given}, but the answer is of shape {shape}; for "
            "classes give answers `batch classes` and one label for each example, or for the "
            "squared error real numbers, such as y.float()."
        )
    # The values are read, for which a graphics card must be waited for: a label out of range would
    # otherwise end the process there, and -100 would mean silently "no label".
    CrossEntropy(shape[1]).check_labels(y)
    return F.cross_entropy(answer, y.long(), reduction="sum")


def check_finite(loss: Tensor, changes: Iterable[tuple[str, Tensor | None]]) -> None:
    """Raise FloatingPointError unless the loss and all changes, by site, are finite.

    The loss alone does not tell: a tanh hides an infinite input from it. A sum is not finite where
    a part of it is not, and is read twenty times as fast as all parts are: on a processor this and
    the check of labels take about an eighth of a step of one example. A graphics card is waited for
    once.
    """
    sums, names = [loss.reshape(())], [""]
    for name, change in changes:
        if change is not None:
            whole = torch.promote_types(change.dtype, torch.float32)  # half numbers would overflow
            sums.append(change.sum(dtype=whole).to(loss.device))
            names.append(name)
    finite = torch.stack(sums).isfinite().tolist()
    if not all(finite):
        first = finite.index(False)
        what = f"the change of site {names[first]!r}" if first else "the loss"
        raise FloatingPointError(
            f"After this minibatch {what} is not finite, so no weight was changed; leave out "
            "inputs and targets that are not finite or, if there are none, start again at a lower "
            "rate."
        )
