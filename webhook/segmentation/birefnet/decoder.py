"""Decoder: four feature maps and the image itself become one map of logits.

Zheng et al. 2024, arXiv:2401.03407, section 3.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .aspp import INNER_CHANNELS, DeformableASPP
from .config import FourSizes, PatchOrder
from .folding import Folding, fold_norm

GATE_CHANNELS = 16


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Resize maps (B, C, H, W) bilinearly to `size` (H', W'), corner on corner."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def image_tiles(image: Tensor, size: torch.Size, order: PatchOrder) -> Tensor:
    """Cut an image into tiles of `size`, stacked as channels.

    `columns` stacks them column of tiles by column of tiles, each with its colours; `rows` colour
    by colour, in each row of tiles by row of tiles. A checkpoint knows one order only.

    Returns:
        (B, 3 · tiles, *size), channels last.
    """
    batch, colours, height, width = image.shape
    h, w = size
    tiles = image.reshape(batch, colours, height // h, h, width // w, w)
    channels = (4, 2, 1) if order == "columns" else (1, 2, 4)
    stacked = tiles.permute(0, 3, 5, *channels).reshape(batch, h, w, -1)
    return stacked.permute(0, 3, 1, 2)


class FoldedBlock(NamedTuple):
    """A decoder block's two convolutions with their norms."""

    weight_in: Tensor
    bias_in: Tensor
    weight_out: Tensor
    bias_out: Tensor


class DecoderBlock(Folding[FoldedBlock]):
    """Narrow to 64 channels, look around at several scales, widen."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, INNER_CHANNELS, 3, padding=1)
        self.dec_att = DeformableASPP()
        self.conv_out = nn.Conv2d(INNER_CHANNELS, channels_out, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(INNER_CHANNELS)
        self.bn_out = nn.BatchNorm2d(channels_out)

    def fold(self) -> FoldedBlock:
        """Fold the norms into the convolutions."""
        return FoldedBlock(
            *fold_norm(self.conv_in, self.bn_in), *fold_norm(self.conv_out, self.bn_out)
        )

    def inner(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, 64, H, W): all but the widening."""
        folded = self.folded()
        narrow = F.conv2d(x, folded.weight_in, folded.bias_in, padding=1).relu_()
        attended: Tensor = self.dec_att(narrow)
        return attended

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        folded = self.folded()
        return F.conv2d(self.inner(x), folded.weight_out, folded.bias_out, padding=1)


class LateralBlock(nn.Module):
    """A pixelwise projection from the encoder to the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        projected: Tensor = self.conv(x)
        return projected


class ImageBlock(nn.Module):
    """Features of the image tiles: two convolutions with nothing between."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, INNER_CHANNELS, 3, padding=1)
        self.conv_out = nn.Conv2d(INNER_CHANNELS, channels_out, 3, padding=1)

    def forward(self, tiles: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        features: Tensor = self.conv_out(self.conv1(tiles))
        return features


class EdgeFeatures(Folding[tuple[Tensor, Tensor]]):
    """Convolution, batch norm and ReLU in front of a gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add_module("0", nn.Conv2d(channels, GATE_CHANNELS, 3, padding=1))
        self.add_module("1", nn.BatchNorm2d(GATE_CHANNELS))

    def fold(self) -> tuple[Tensor, Tensor]:
        """Fold the norm into the convolution."""
        conv, norm = self.children()
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return fold_norm(conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 16, H, W)."""
        weight, bias = self.folded()
        return F.conv2d(x, weight, bias, padding=1).relu_()


class FoldedHead(NamedTuple):
    """The way to the logits from block 1's inner map and from the image."""

    map_weight: Tensor  # 1, 64, 3, 3
    map_bias: Tensor  # 1
    image_weight: Tensor  # 9, 3, 3, 3
    image_bias: Tensor  # 9


class Decoder(Folding[FoldedHead]):
    """Four decoder blocks, coarse to fine; each sees the image, the first three are gated."""

    def __init__(self, channels: FourSizes, patch_order: PatchOrder) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.patch_order = patch_order
        self.ipt_blk5 = ImageBlock(3 * 32 * 32, c4 // 8)
        self.ipt_blk4 = ImageBlock(3 * 16 * 16, c4 // 8)
        self.ipt_blk3 = ImageBlock(3 * 8 * 8, c3 // 8)
        self.ipt_blk2 = ImageBlock(3 * 4 * 4, c2 // 8)
        self.ipt_blk1 = ImageBlock(3, c1 // 8)
        self.decoder_block4 = DecoderBlock(c4 + c4 // 8, c3)
        self.decoder_block3 = DecoderBlock(c3 + c4 // 8, c2)
        self.decoder_block2 = DecoderBlock(c2 + c3 // 8, c1)
        self.decoder_block1 = DecoderBlock(c1 + c2 // 8, c1 // 2)
        self.conv_out1 = nn.Sequential(nn.Conv2d(c1 // 2 + c1 // 8, 1, 1))
        self.lateral_block4 = LateralBlock(c3)
        self.lateral_block3 = LateralBlock(c2)
        self.lateral_block2 = LateralBlock(c1)
        # Gradient ("gdt") attention: a gate that knows where edges are.
        self.gdt_convs_4 = EdgeFeatures(c3)
        self.gdt_convs_3 = EdgeFeatures(c2)
        self.gdt_convs_2 = EdgeFeatures(c1)
        self.gdt_convs_attn_4 = nn.Sequential(nn.Conv2d(GATE_CHANNELS, 1, 1))
        self.gdt_convs_attn_3 = nn.Sequential(nn.Conv2d(GATE_CHANNELS, 1, 1))
        self.gdt_convs_attn_2 = nn.Sequential(nn.Conv2d(GATE_CHANNELS, 1, 1))
        # Two more heads per scale are in the files; only training reads them.
        for n, width in ((4, c3), (3, c2), (2, c1)):
            self.add_module(f"conv_ms_spvn_{n}", nn.Conv2d(width, 1, 1))
            self.add_module(f"gdt_convs_pred_{n}", nn.Sequential(nn.Conv2d(GATE_CHANNELS, 1, 1)))

    def fold(self) -> FoldedHead:
        """Compose what is linear: the last convolutions and the projection to one channel.

        Block 1 ends with a convolution and the image's block is two of them, so that the projection
        can act before them. What it leaves of the image's second one, 3 x 3 to one channel, is
        written as nine dot products per pixel (part of the first one) that `_logits` shifts and
        adds: no 64 channels at full size, and no less exact at the border.
        """
        head, block, image = self.conv_out1[0], self.decoder_block1.folded(), self.ipt_blk1
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        assert image.conv1.bias is not None
        assert image.conv_out.bias is not None
        dtype = head.weight.dtype
        projection = head.weight.double().flatten()
        of_map, of_image = projection[: len(block.bias_out)], projection[len(block.bias_out) :]

        map_weight = torch.einsum("o,oihw->ihw", of_map, block.weight_out.double())
        bias = of_map @ block.bias_out.double() + of_image @ image.conv_out.bias.double()
        dots = torch.einsum("o,oihw->hwi", of_image, image.conv_out.weight.double()).flatten(0, 1)
        dots = dots.flip(0)  # a kernel collects from its neighbours, F.fold hands out to them
        image_weight = torch.einsum("di,ichw->dchw", dots, image.conv1.weight.double())
        return FoldedHead(
            map_weight[None].to(dtype),
            (bias + head.bias.double()).to(dtype),
            image_weight.to(dtype),
            (dots @ image.conv1.bias.double()).to(dtype),
        )

    def forward(self, image: Tensor, scales: list[Tensor], context: Tensor) -> Tensor:
        """Decode.

        Args:
            image: (B, 3, H, W), as the encoder saw it.
            scales: the encoder's maps, finest first.
            context: its squeezed context, at the size of the coarsest.

        Returns:
            logits, (B, 1, H, W).
        """
        x1, x2, x3, _ = scales

        p4 = self.decoder_block4(self._with_tiles(context, self.ipt_blk5, image))
        p4 = _gated(p4, self.gdt_convs_4, self.gdt_convs_attn_4)  # B, c3, H/32, W/32

        q3 = self.lateral_block4(x3).add_(resize(p4, x3.shape[2:]))
        p3 = self.decoder_block3(self._with_tiles(q3, self.ipt_blk4, image))
        p3 = _gated(p3, self.gdt_convs_3, self.gdt_convs_attn_3)  # B, c2, H/16, W/16

        q2 = self.lateral_block3(x2).add_(resize(p3, x2.shape[2:]))
        p2 = self.decoder_block2(self._with_tiles(q2, self.ipt_blk3, image))
        p2 = _gated(p2, self.gdt_convs_2, self.gdt_convs_attn_2)  # B, c1, H/8, W/8

        q1 = self.lateral_block2(x1).add_(resize(p2, x1.shape[2:]))
        inner = self.decoder_block1.inner(self._with_tiles(q1, self.ipt_blk2, image))
        return self._logits(inner, image)  # inner: B, 64, H/4, W/4

    def _with_tiles(self, x: Tensor, block: nn.Module, image: Tensor) -> Tensor:
        """Append the features of the image, in tiles of the size of `x`."""
        size = x.shape[2:]
        return torch.cat((x, block(image_tiles(image, size, self.patch_order))), dim=1)

    def _logits(self, inner: Tensor, image: Tensor) -> Tensor:
        """Add up what block 1 and the image say of each pixel."""
        folded = self.folded()
        from_map = F.conv2d(inner, folded.map_weight, folded.map_bias, padding=1)
        dots = F.conv2d(image, folded.image_weight, folded.image_bias, padding=1)  # B, 9, H, W
        height, width = image.shape[2:]
        from_image = F.fold(dots.flatten(2), (height, width), 3, padding=1)  # B, 1, H, W
        return from_image.add_(resize(from_map, image.shape[2:]))


def _gated(x: Tensor, features: nn.Module, attention: nn.Module) -> Tensor:
    """Scale each pixel of (B, C, H, W) by its gate, in place."""
    return x.mul_(attention(features(x)).sigmoid())
