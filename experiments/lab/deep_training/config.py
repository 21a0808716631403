"""Settings of deep training runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import Doc

from experiments.lab.settings.seeds import OverSeeds

RULES = (
    "backprop", "feedback_alignment", "direct_feedback_alignment", "uniform_sign", "kolen_pollack",
    "symmetric_alignment", "activation_alignment", "information_alignment",
)  # fmt: skip
MORE = ("batchwise_random_sign", "fixed_random_sign", "product_feedback_alignment")


@dataclass(frozen=True, kw_only=True)
class Deep(OverSeeds):
    """Credit-assignment rules in residual networks, compared with backprop."""

    network: Annotated[Literal["resnet20", "resnet18"], Doc("of He et al., for 32x32")] = "resnet20"
    rules: Annotated[tuple[str, ...], Doc(f"of {' '.join((*RULES, *MORE))}")] = RULES
    data_set: Annotated[
        Literal["exact", "jpeg75"],
        Doc("exact: the 8,336-image subset; jpeg75: all 60,000 images, as lossy JPEGs"),
    ] = "exact"
    norm: Annotated[
        Literal["group", "batch"] | None, Doc("None: group in the 20-layer net, batch in ResNet-18")
    ] = None
    epochs: Annotated[int, Doc("of training")] = 10
    minutes: Annotated[float | None, Doc("instead of --epochs: CPU minutes on one thread")] = None
    lr: Annotated[float | None, Doc("one rate for all rules; None: chosen per rule from --lrs")] = (
        None
    )
    lrs: Annotated[tuple[float, ...], Doc("rates to choose from on held-out images")] = (
        0.003, 0.01, 0.03, 0.1,
    )  # fmt: skip
    tune_epochs: Annotated[int, Doc("of each run that a rate is chosen by")] = 1
    rates_of: Annotated[
        Path | None, Doc("--out folder of another command, whose chosen rates to use")
    ] = None
    batch: Annotated[int, Doc("images in a minibatch")] = 64
    flip_crop: Annotated[bool, Doc("random flips and crops of training images")] = False
    precision: Annotated[
        Literal["float32", "bfloat16"], Doc("of passes; weights and angles are float32")
    ] = "float32"
    width: Annotated[int | None, Doc("channels of the first stage; None: as published")] = None
    examples: Annotated[int | None, Doc("the first so many training images; None: all")] = None
    angles_every: Annotated[int, Doc("minibatches between measurements of angles")] = 100
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 1
    threads: Annotated[int, Doc("of the processor")] = 1
    report_only: Annotated[bool, Doc("no training: tables and figures of existing runs")] = False
    out: Annotated[Path, Doc("folder of runs, tables and figures")] = Path("runs/deep")

    @property
    def record(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self).items()}

    def folder(self, rule: str, seed: int) -> Path:
        return self.out / rule / f"seed-{seed}"
