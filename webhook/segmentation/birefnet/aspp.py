"""Deformable ASPP: one map read at several scales, and as a whole.

Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587) with deformable kernels of
sizes 1, 1, 3 and 7 in place of dilated ones, as in Zheng et al. 2024, arXiv:2401.03407.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .deformable import FramedMap, deformable_columns, row_chunks
from .folding import Folding, fold_norm

INNER_CHANNELS = 64
BRANCH_CHANNELS = 256


class DeformableConv(nn.Module):
    """The parameters of one modulated deformable convolution."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        taps, padding = kernel * kernel, kernel // 2
        self.offset_conv = nn.Conv2d(INNER_CHANNELS, 2 * taps, kernel, padding=padding)
        self.modulator_conv = nn.Conv2d(INNER_CHANNELS, taps, kernel, padding=padding)
        self.regular_conv = nn.Conv2d(
            INNER_CHANNELS, BRANCH_CHANNELS, kernel, padding=padding, bias=False
        )


class FoldedBranch(NamedTuple):
    """What a deformable branch computes with."""

    sampling_weight: Tensor  # 3k², C, k, k: row offsets, column offsets, modulation
    sampling_bias: Tensor
    weight: Tensor  # 256, k²·C
    bias: Tensor  # 256


class DeformableBranch(Folding[FoldedBranch]):
    """Deformable convolution, batch norm and ReLU."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.atrous_conv = DeformableConv(kernel)
        self.bn = nn.BatchNorm2d(BRANCH_CHANNELS)

    def fold(self) -> FoldedBranch:
        """Join the convolutions that steer the sampling; fold the norm; order weights by tap."""
        offset, modulator = self.atrous_conv.offset_conv, self.atrous_conv.modulator_conv
        assert offset.bias is not None
        assert modulator.bias is not None
        weight, bias = fold_norm(self.atrous_conv.regular_conv, self.bn)
        return FoldedBranch(
            torch.cat((offset.weight[0::2], offset.weight[1::2], modulator.weight)),
            torch.cat((offset.bias[0::2], offset.bias[1::2], modulator.bias)),
            weight.permute(0, 2, 3, 1).flatten(1).contiguous(),
            bias,
        )

    def sampling(self, x: Tensor) -> Tensor:
        """Compute where and how strongly each tap reads: (B, H, W, 3k²)."""
        steering = self.folded()
        sampling = F.conv2d(
            x, steering.sampling_weight, steering.sampling_bias, padding=self.kernel // 2
        ).permute(0, 2, 3, 1)
        sampling[..., 2 * self.kernel**2 :].sigmoid_().mul_(2)
        return sampling

    def forward(self, features: FramedMap, sampling: Tensor, rows: slice) -> Tensor:
        """Compute some rows of one image's map: (pixels, 256)."""
        folded = self.folded()
        columns = deformable_columns(features, sampling, rows)  # pixels, k²·C
        return F.linear(columns, folded.weight, folded.bias).relu_()


class FoldedASPP(NamedTuple):
    """What the pyramid computes with, besides its branches."""

    pool_weight: Tensor  # 256, C
    pool_bias: Tensor  # 256
    mix_pool: Tensor  # 64, 256: the pooled branch's part of the mixing layer
    mix_bias: Tensor  # 64
    mix_branches: tuple[Tensor, ...]  # 256, 64 each: the other branches' parts


class DeformableASPP(Folding[FoldedASPP]):
    """Four deformable branches and a global one, mixed pixel by pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.aspp1 = DeformableBranch(1)
        self.aspp_deforms = nn.ModuleList(DeformableBranch(kernel) for kernel in (1, 3, 7))
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(INNER_CHANNELS, BRANCH_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(BRANCH_CHANNELS),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(5 * BRANCH_CHANNELS, INNER_CHANNELS, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(INNER_CHANNELS)

    def fold(self) -> FoldedASPP:
        """Fold the norms, and split the mixing layer by branch."""
        _, pool_conv, pool_norm, _ = self.global_avg_pool
        assert isinstance(pool_conv, nn.Conv2d)
        assert isinstance(pool_norm, nn.BatchNorm2d)
        pool_weight, pool_bias = fold_norm(pool_conv, pool_norm)
        mix_weight, mix_bias = fold_norm(self.conv1, self.bn1)
        *mix_branches, mix_pool = mix_weight.flatten(1).chunk(5, dim=1)
        return FoldedASPP(
            pool_weight.flatten(1),
            pool_bias,
            mix_pool,
            mix_bias,
            tuple(part.t().contiguous() for part in mix_branches),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 64, H, W) to the same shape, channels last."""
        folded = self.folded()
        branches = [self.aspp1, *self.aspp_deforms]
        samplings = [branch.sampling(x) for branch in branches]  # B, H, W, 3k²
        pooled = F.linear(x.mean((2, 3)), folded.pool_weight, folded.pool_bias).relu_()  # B, 256
        constant = F.linear(pooled, folded.mix_pool, folded.mix_bias)  # B, 64

        out = torch.empty_like(x, memory_format=torch.channels_last)
        pixels = out.permute(0, 2, 3, 1)  # B, H, W, 64
        chunks = row_chunks(x.shape[2], x.shape[3], x.device)
        for i, image in enumerate(x):
            features = FramedMap.of(image)
            for rows in chunks:
                mixed = constant[i]
                for branch, sampling, mix in zip(
                    branches, samplings, folded.mix_branches, strict=True
                ):
                    mixed = torch.addmm(mixed, branch(features, sampling[i], rows), mix)
                pixels[i, rows] = mixed.relu_().view(-1, *pixels.shape[2:])
        return out
