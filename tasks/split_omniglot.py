"""Split-Omniglot: hundreds of characters, one after another, one pass, one image a step.

The continual stream of Javed & White (2019, OML) and Beaulieu et al. (2020, ANML). The learner
sees the first 15 drawings of a character, then those of the next, and never goes back; in the end
its query set is the 5 drawings of every character that it did not see.

What was published differs in little besides the images, and `protocol` names it:

- `oml`: 84x84, ink 0 on 1; meta-trained on the first 963 background characters, tested on 10 to
  200 of the first 650 of evaluation.
- `anml`: the same at 28x28, tested on up to 600 characters. The released code also repeats the one
  channel three times and rescales it, which a first layer that can learn undoes; here it is as is.

`thousand` is ours: meta-training on the alphabets that remain when the test has a thousand
characters or more (`ways=1000`).

Both published ones present the characters of a lifetime in the order of their numbers; here the
order is random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tasks.data import one_of
from tasks.omniglot import SPLITS, Omniglot

PROTOCOLS: dict[str, dict[str, Any]] = {
    "oml": {"image_size": 84, "ink": "black"},
    "anml": {"image_size": 28, "ink": "black"},
    "thousand": {"image_size": 28, "ink": "white"},
}
PUBLISHED = {"train": "paper", "test": "paper_test"}
PROTOCOL_SPLITS = {
    "oml": PUBLISHED, "anml": PUBLISHED, "thousand": {"train": "narrow", "test": "wide_test"},
}  # fmt: skip
BY_PROTOCOL: Any = None  # a field left at this takes its protocol's value, or else Omniglot's


@dataclass(frozen=True, kw_only=True)
class SplitOmniglot(Omniglot):
    """Lifetimes of `ways` characters, class by class; other options as for `Omniglot`.

    By default that is the published test, whatever the split: 600 characters, their first 15
    drawings learned from and their last 5 are the queries. Training lifetimes may be shorter, and
    sample from all drawings: `ways=80, shots=5, support_instances=None, query_instances=None`.

    `protocol` sets `image_size` and `ink`, and makes `train` and `test` mean its own splits,
    `paper` and `paper_test` or `narrow` and `wide_test`; the fields say so once the stream is made.
    Without one the images are Omniglot's own, 28x28 and ink 1 on 0.
    """

    ways: int = 600
    shots: int = 15
    order: Literal["iid", "by_class"] = "by_class"
    support_instances: tuple[int, int] | None = (0, 15)
    query_instances: tuple[int, int] | None = (15, 20)
    protocol: Literal["oml", "anml", "thousand"] | None = None
    image_size: int = BY_PROTOCOL
    ink: Literal["white", "black"] = BY_PROTOCOL

    name: ClassVar[str] = "split_omniglot"

    def __post_init__(self) -> None:
        chosen = {"image_size": Omniglot.image_size, "ink": Omniglot.ink}
        if self.protocol is not None:
            one_of("protocol", self.protocol, PROTOCOLS)
            one_of("split", self.split, SPLITS)
            splits = PROTOCOL_SPLITS[self.protocol]
            split = splits.get(self.split, self.split)
            if split not in splits.values():
                raise ValueError(
                    f"split is {self.split!r}, which shares classes with what protocol="
                    f"{self.protocol!r} trains on; it must be train or test, or leave protocol out."
                )
            object.__setattr__(self, "split", split)
            chosen = PROTOCOLS[self.protocol]
        for option, value in chosen.items():
            given = getattr(self, option)
            if given is None:
                object.__setattr__(self, option, value)
            elif self.protocol is not None and given != value:
                raise ValueError(
                    f"{option} is {given!r}, but protocol={self.protocol!r} has {value!r}; leave "
                    "one of the two out."
                )
        super().__post_init__()
