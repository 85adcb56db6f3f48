"""Swin Transformer backbone: an image becomes four feature maps.

Liu et al. 2021, arXiv:2103.14030. How windows are cut is in windows.py.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import BiRefNetConfig
from .folding import Folding
from .windows import Band, relative_position_index, window_bands


class PatchEmbedding(nn.Module):
    """Cut the image into 4 x 4 patches, one token each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to tokens (B, H/4, W/4, C)."""
        tokens: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1).contiguous())
        return tokens


class WindowAttention(Folding[Tensor]):
    """Self-attention inside windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        table = torch.zeros((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(table)
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def fold(self) -> Tensor:
        """Look up the position bias: (heads, row, column of a query, row, column of a key)."""
        w = self.window
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.t().reshape(self.heads, w, w, w, w).contiguous()

    def forward(self, rows: Tensor, band: Band) -> Tensor:
        """Attend within the windows of `band`; `rows` are its tokens, (N, C)."""
        # Queries, keys and values of the real tokens only. A window's padding is zero after the
        # norm, so that its projection is the bias alone.
        projected = self.qkv(rows).index_select(0, band.gather)  # M, 3C, window by window
        if band.padding is not None:
            projected[band.padding] = self.qkv.bias

        attended = []
        for group in band.groups:
            windows = projected[group.rows].view(group.count, group.size, 3, self.heads, -1)
            q, k, v = windows.permute(2, 0, 3, 1, 4)  # windows, heads, tokens, 32
            bias = self.folded()[:, : group.height, : group.width, : group.height, : group.width]
            bias = bias.reshape(1, self.heads, group.size, group.size)
            values = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            attended.append(values.transpose(1, 2).reshape(-1, rows.shape[1]))
        joined = torch.cat(attended) if len(attended) > 1 else attended[0]  # M, C
        out: Tensor = self.proj(joined.index_select(0, band.scatter))  # N, C
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between, token by token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (N, C) to (N, C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(rows)))
        return out


class SwinBlock(nn.Module):
    """Window attention and an MLP, each added to the tokens."""

    untraced: ClassVar = ("bands",)  # as in Folding

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, tokens: Tensor) -> None:
        """Transform the tokens (B, H, W, C) in place, band by band."""
        batch, height, width, channels = tokens.shape
        flat = tokens.view(-1, channels)
        for band in self.bands(batch, height, width, tokens.device):
            rows = flat[band.tokens]  # a view
            rows += self.attn(self.norm1(rows), band)
            rows += self.mlp(self.norm2(rows))

    def bands(self, batch: int, height: int, width: int, device: torch.device) -> tuple[Band, ...]:
        """Look up how maps of this size are cut."""
        return window_bands(batch, height, width, self.attn.window, self.shift, device)


class PatchMerging(nn.Module):
    """Halve the resolution and double the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H/2), ceil(W/2), 2C)."""
        height, width = tokens.shape[1:3]
        if height % 2 or width % 2:
            tokens = F.pad(tokens, (0, 0, 0, width % 2, 0, height % 2))
        batch, height, width, channels = tokens.shape
        quads = tokens.view(batch, height // 2, 2, width // 2, 2, channels)
        quads = quads.permute(0, 1, 3, 4, 2, 5).flatten(3)  # B, H/2, W/2, 4C: column, row, C
        merged: Tensor = self.reduction(self.norm(quads))
        return merged


class SwinStage(nn.Module):
    """Blocks at one resolution, every second one with shifted windows, and the way down."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, shift=window // 2 if i % 2 else 0)
            for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, tokens: Tensor) -> None:
        """Run the blocks on the tokens (B, H, W, C), in place."""
        for block in self.blocks:
            block(tokens)


class SwinTransformer(nn.Module):
    """The backbone: feature maps at 1/4, 1/8, 1/16 and 1/32 of the image."""

    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.embed_dim)
        self.layers = nn.ModuleList(
            SwinStage(channels, depth, heads, config.window, last=i == 3)
            for i, (channels, depth, heads) in enumerate(
                zip(config.stage_channels, config.depths, config.num_heads, strict=True)
            )
        )
        for i, channels in enumerate(config.stage_channels):
            self.add_module(f"norm{i}", nn.LayerNorm(channels))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to four maps (B, C·2^i, H/2^(i+2), W/2^(i+2)), channels last."""
        maps = []
        tokens = self.patch_embed(image)  # B, H/4, W/4, C
        for i, stage in enumerate(self.layers):
            assert isinstance(stage, SwinStage)
            stage(tokens)
            maps.append(self.get_submodule(f"norm{i}")(tokens).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                tokens = stage.downsample(tokens)
        return maps
