"""What a plastic module learns from: the usual losses, and what is refused before any change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.objective import CrossEntropy

IGNORED = -100  # the label that teaches nothing, as in `F.cross_entropy`


def usual_loss(answer: Tensor, y: Tensor) -> Tensor:
    """The mean over examples: cross-entropy for whole numbers, half the squared error for others.

    Labels are one for each example (`batch` for `batch classes`), for each place of an image
    (`batch height width` for `batch classes height width`) or for each token (`batch steps` for
    `batch steps classes`); the label -100 teaches nothing. Real numbers are shaped as the answer.

    Raises:
        ValueError: for a target that does not fit the answer.
    """
    return F.cross_entropy(*labelled(answer, y)) if _is_labels(y) else _squared(answer, y)


def check_target(answer: Tensor, y: Tensor) -> None:
    """Raise ValueError unless the usual loss can be taken of this target.

    The values of labels are read, for which a graphics card must be waited for: a label out of
    range would otherwise end the process there.
    """
    if not _is_labels(y):
        _squared(answer, y)
        return
    logits, labels = labelled(answer, y)
    CrossEntropy(logits.shape[1]).check_labels(labels[labels != IGNORED])


def labelled(answer: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits with classes as the second axis, and labels that fit them.

    Raises:
        ValueError: for labels that do not fit, or fit in two ways.
    """
    shape, given = tuple(answer.shape), tuple(y.shape)
    by_place = len(shape) >= 2 and given == shape[:1] + shape[2:]
    by_token = len(shape) >= 3 and given == shape[:-1]
    if by_place and by_token and len(shape) > 2:
        raise ValueError(
            f"The answer is of shape {shape}, so labels of shape {given} may be those of tokens or "
            "of places; give loss_fn=, which says where the classes are."
        )
    if by_token and not by_place:
        return answer.flatten(0, -2), y.flatten().long()
    if not by_place:
        raise ValueError(
            f"The target is {y.dtype} of shape {given}, but the answer is of shape {shape}; for "
            "classes give answers `batch classes` and one label for each example (or `batch steps "
            "classes` and one for each token), or for the squared error real numbers, such as "
            "y.float()."
        )
    return answer, y.long()


def _is_labels(y: Tensor) -> bool:
    if not isinstance(y, Tensor) or y.is_complex():
        kind = y.dtype if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise ValueError(
            f"The target is {kind}; learn needs a tensor of class indices or of real numbers, such "
            "as torch.as_tensor(y)."
        )
    return not y.is_floating_point()


def _squared(answer: Tensor, y: Tensor) -> Tensor:
    shape, given = tuple(answer.shape), tuple(y.shape)
    if given != shape:  # else it would be broadcast, and every answer taught all targets
        raise ValueError(
            f"The target is {y.dtype} of shape {given}, but the answer is of shape {shape}; "
            "for the squared error give both one shape, or for classes whole numbers."
        )
    return 0.5 * (answer - y).square().sum() / max(len(answer), 1)


def check_finite(
    loss: Tensor, changes: Iterable[tuple[str, Tensor]], sites: Mapping[str, str]
) -> None:
    """Raise FloatingPointError unless the loss and all changes, by parameter, are finite.

    The loss alone does not show it: a tanh hides an infinite input from it. A sum is not finite
    where a part of it is not, and is read twenty times as fast as all parts are. A graphics card is
    waited for once.
    """
    sums, names = [loss.reshape(())], [""]
    for name, change in changes:
        wide = torch.promote_types(change.dtype, torch.float32)  # half numbers would overflow
        sums.append(change.sum(dtype=wide).to(loss.device))
        names.append(name)
    finite = torch.stack([s.to(torch.float64) for s in sums]).isfinite().tolist()
    if not all(finite):
        first = names[finite.index(False)]
        refuse(sites.get(first, first.removesuffix(".bias")) if first else "")


def refuse(site: str) -> None:
    """Raise FloatingPointError for the change of a site, or for the loss where it is nobody's."""
    what = f"the change of site {site!r}" if site else "the loss"
    raise FloatingPointError(
        f"After this minibatch {what} is not finite, so no weight was changed; leave out inputs "
        "and targets that are not finite or, if there are none, start again at a lower rate."
    )
