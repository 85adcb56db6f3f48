"""U²-Net-P, the network: convolutions with batch norm already folded into them. Imports torch only.

Qin et al. 2020, "U²-Net: Going Deeper with Nested U-Structure for Salient Object Detection",
arXiv:2005.09007, figures 2 and 5. Loading the published weights is `weights.py`.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A "salient object" network: the size is part of the training. At 448² it loses thin parts of the
# subject, at 640² it falls apart, so images are resized to this and alphas back.
INPUT_SIZE: Final = 320

# Upstream divides by the largest value in the image before it normalises, we by 255 as for
# BiRefNet: on photographs with any highlight the alphas are the same (mean difference below 1e-4);
# on underexposed ones dark parts of the subject fade sooner.

_MIDDLE, _OUT = 16, 64  # The small variant ("P") has the same widths in every block.

# Dilations along the way down a block; the blocks shrink with the maps they get (figure 5).
_RSU_7 = (1, 1, 1, 1, 1, 1, 2)
_RSU_6 = (1, 1, 1, 1, 1, 2)
_RSU_5 = (1, 1, 1, 1, 2)
_RSU_4 = (1, 1, 1, 2)
_RSU_4F = (1, 2, 4, 8)  # "F": dilation in place of pooling, where maps are too small to pool.


class U2NetP(nn.Module):
    """A U-net whose every stage is a small U-net; its attribute names are the checkpoint's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            [
                ResidualUBlock(3, _RSU_7),
                ResidualUBlock(_OUT, _RSU_6),
                ResidualUBlock(_OUT, _RSU_5),
                ResidualUBlock(_OUT, _RSU_4),
                ResidualUBlock(_OUT, _RSU_4F, pooled=False),
                ResidualUBlock(_OUT, _RSU_4F, pooled=False),
            ]
        )
        self.decoder = nn.ModuleList(
            [
                ResidualUBlock(2 * _OUT, _RSU_4F, pooled=False),
                ResidualUBlock(2 * _OUT, _RSU_4),
                ResidualUBlock(2 * _OUT, _RSU_5),
                ResidualUBlock(2 * _OUT, _RSU_6),
                ResidualUBlock(2 * _OUT, _RSU_7),
            ]
        )
        self.side_heads = nn.ModuleList(nn.Conv2d(_OUT, 1, 3, padding=1) for _ in range(6))
        self.fuse = nn.Conv2d(6, 1, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict the logits of the fused saliency map.

        Args:
            pixel_values: normalised float (B, 3, S, S); the weights are good at S = INPUT_SIZE.

        Returns:
            Float (B, 1, S, S), before the sigmoid.
        """
        features = [self.encoder[0](pixel_values)]  # B, 64, S, S
        for stage in self.encoder[1:]:
            features.append(stage(_halve(features[-1])))  # B, 64, S/2 … S/32

        feature = features.pop()
        decoded = [feature]
        for stage in self.decoder:
            feature = stage(_join(feature, features.pop()))  # B, 64, S/16 … S
            decoded.append(feature)

        finest_first = zip(self.side_heads, reversed(decoded), strict=True)
        sides = [_enlarge(head(feature), pixel_values) for head, feature in finest_first]
        logits: Tensor = self.fuse(torch.cat(sides, dim=1))  # B, 6, S, S → B, 1, S, S
        return logits


class ResidualUBlock(nn.Module):
    """RSU: a small U-net added to its own input features, to see several scales at once.

    Args:
        in_channels: channels of the input; the output has 64.
        dilations: of the convolutions on the way down; the last one is the bottom of the U.
        pooled: halve the map between the convolutions on the way down.
    """

    def __init__(self, in_channels: int, dilations: Sequence[int], *, pooled: bool = True) -> None:
        super().__init__()
        *descent, bottom = dilations
        self.pooled = pooled
        self.inlet = ConvReLU(in_channels, _OUT)
        self.encoder = nn.ModuleList(
            ConvReLU(_MIDDLE if depth else _OUT, _MIDDLE, dilation)
            for depth, dilation in enumerate(descent)
        )
        self.bottom = ConvReLU(_MIDDLE, _MIDDLE, bottom)
        self.decoder = nn.ModuleList(
            ConvReLU(2 * _MIDDLE, _MIDDLE if depth else _OUT, descent[depth])
            for depth in reversed(range(len(descent)))
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Refine a feature map (B, C, H, W) to (B, 64, H, W)."""
        inlet: Tensor = self.inlet(feature)  # B, 64, H, W
        skips = [self.encoder[0](inlet)]  # B, 16, H, W
        for conv in self.encoder[1:]:
            skips.append(conv(_halve(skips[-1]) if self.pooled else skips[-1]))  # B, 16, H/2 …

        feature = self.bottom(skips[-1])
        for conv in self.decoder:
            feature = conv(_join(feature, skips.pop()))
        return feature + inlet


class ConvReLU(nn.Conv2d):
    """A 3x3 convolution that keeps the map's size, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve and clip at zero."""
        return F.relu(super().forward(input), inplace=True)


def _halve(feature: Tensor) -> Tensor:
    return F.max_pool2d(feature, 2, ceil_mode=True)


def _enlarge(feature: Tensor, reference: Tensor) -> Tensor:
    size = reference.shape[-2:]
    if feature.shape[-2:] == size:
        return feature
    return F.interpolate(feature, size, mode="bilinear")


def _join(feature: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([_enlarge(feature, skip), skip], dim=1)
