"""Networks of images, from torchvision, timm, pytorchcv and vit-pytorch, made small."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch.nn.functional as F
from torch import nn

from tests.zoo.entry import Entry, images, integers


def tv_resnet(block: str, **options: Any) -> nn.Module:
    resnet = import_module("torchvision.models.resnet")
    return resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], num_classes=4, **options)


def tv_mobilenet() -> nn.Module:
    from torchvision.models import MobileNetV2

    setting = [[1, 8, 1, 1], [3, 12, 2, 2], [3, 16, 1, 2]]
    return MobileNetV2(4, 0.25, inverted_residual_setting=setting, round_nearest=4, dropout=0.0)


def tv_convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=4)


def tv_swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer(
        [2, 2], 8, [2, 2], [2, 4], [2, 2], mlp_ratio=2, stochastic_depth_prob=0.0, num_classes=4
    )


def tv_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=4)


def timm_resnet(block: str, **options: Any) -> nn.Module:
    resnet = import_module("timm.models.resnet")
    kind, widths = getattr(resnet, block), (4, 6, 8, 8)
    return resnet.ResNet(
        kind, (2, 1, 1, 1), num_classes=4, channels=widths, stem_width=4, **options
    )


def timm_convnext() -> nn.Module:
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(num_classes=4, depths=(1, 1, 2, 1), dims=(4, 8, 8, 12), patch_size=2)


def timm_vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        16, 4, num_classes=4, embed_dim=8, depth=2, num_heads=2, mlp_ratio=2, init_values=1e-5
    )


def timm_mixer() -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(4, 16, patch_size=4, num_blocks=2, embed_dim=8)


def timm_nfnet() -> nn.Module:
    """Weights standardized at every step, by a convolution of timm's own."""
    from timm.layers import ScaledStdConv2d

    return nn.Sequential(
        ScaledStdConv2d(3, 6, 3, padding=1), nn.SiLU(), ScaledStdConv2d(6, 8, 3, 2, 1, groups=2),
        nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def cv(module: str, kind: str, **options: Any) -> nn.Module:
    return getattr(import_module(f"pytorchcv.models.{module}"), kind)(**options)


def lucid_vit(module: str, kind: str, **options: Any) -> nn.Module:
    found = getattr(import_module(f"vit_pytorch.{module}"), kind)
    common = {"image_size": 16, "patch_size": 4, "num_classes": 4, "dim": 8, "depth": 2}
    return found(**common, heads=2, mlp_dim=12, dim_head=4, **options)


def entries(package: str, table: dict[str, Any], size: int = 16) -> list[Entry]:
    x, y = images(4, 3, size, size), integers(4, 4)
    return [
        Entry(f"{name} ({package})", build, y, (x,), package=package)
        for name, build in table.items()
    ]


WIDE = {"in_size": (56, 56), "num_classes": 4}
ENTRIES = [
    *entries("torchvision", {
        "ResNet-50": partial(tv_resnet, "Bottleneck", width_per_group=2),
        "MobileNetV2": tv_mobilenet,
    }, 32),
    *entries("torchvision", {"ConvNeXt": tv_convnext, "ViT": tv_vit, "Swin": tv_swin}),
    *entries("timm", {
        "ResNet-18": partial(timm_resnet, "BasicBlock"),
        "ResNet-50": partial(timm_resnet, "Bottleneck", stem_type="deep"),
    }, 32),
    *entries("timm", {"ConvNeXt": timm_convnext}, 32),
    *entries("timm", {"ViT": timm_vit, "MLP-Mixer": timm_mixer, "standardized": timm_nfnet}),
    *entries("pytorchcv", {
        "MobileNetV2": partial(cv, "mobilenetv2", "MobileNetV2", channels=[[4], [6, 6], [8]],
            init_block_channels=4, final_block_channels=12, remove_exp_conv=False, **WIDE),
        "DiracNetV2": partial(cv, "diracnetv2", "DiracNetV2", channels=[[4, 4], [8, 8]],
            init_block_channels=4, **WIDE),
    }, 56),
    Entry("U-Net (pytorchcv)",
        partial(cv, "unet", "UNet", channels=[[4, 6, 6], [6, 4, 4]], init_block_channels=4,
            num_classes=3),
        integers(3, 2, 16, 16), (images(2, 3, 16, 16),), loss=F.cross_entropy, package="pytorchcv"),
    *entries("vit_pytorch", {
        "ViT": partial(lucid_vit, "vit", "ViT"),
        "SimpleViT": partial(lucid_vit, "simple_vit", "SimpleViT"),
    }),
]  # fmt: skip
