"""BiRefNet written the plain way, to measure ours against.

Attention with explicit scores and masks on a rolled map, torchvision's deformable convolution,
batch norms in their places, every map at full width: the way the published code computes, with
nothing folded, cached or reordered. It takes the same state dict; its parts are named as ours are.
"""

# ruff: noqa: D101, D102, D103
# mypy: disable-error-code="no-any-return, operator"

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from webhook.segmentation.birefnet import BiRefNetConfig, PatchOrder
from webhook.segmentation.birefnet.windows import relative_position_index


def resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def partition(x: Tensor, w: int) -> Tensor:
    b, height, width, c = x.shape
    x = x.view(b, height // w, w, width // w, w, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, w * w, c)


def shift_mask(height: int, width: int, w: int, shift: int) -> Tensor:
    label = torch.zeros(1, height, width, 1)
    cuts = (slice(0, -w), slice(-w, -shift), slice(-shift, None))
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            label[:, rows, columns] = 3 * i + j
    windows = partition(label, w).squeeze(-1)
    different = windows[:, None, :] != windows[:, :, None]
    return torch.zeros(different.shape).masked_fill(different, -100.0)


class WindowAttention(nn.Module):
    def __init__(self, dim: int, heads: int, w: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * w - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(w))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, n, c = x.shape
        q, k, v = self.qkv(x).reshape(count, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        scores = scores + bias.view(n, n, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            windows = len(mask)
            scores = scores.view(-1, windows, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, n, n)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(count, n, c))


class Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    def __init__(self, dim: int, heads: int, w: int, shift: int) -> None:
        super().__init__()
        self.w, self.shift = w, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, w)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor, height: int, width: int, mask: Tensor) -> Tensor:
        b, _, c = x.shape
        w, shift = self.w, self.shift
        y = self.norm1(x).view(b, height, width, c)
        y = F.pad(y, (0, 0, 0, -width % w, 0, -height % w))
        padded_height, padded_width = y.shape[1:3]
        if shift:
            y = torch.roll(y, (-shift, -shift), dims=(1, 2))
        y = self.attn(partition(y, w), mask if shift else None)
        y = y.view(b, padded_height // w, padded_width // w, w, w, c)
        y = y.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, padded_height, padded_width, c)
        if shift:
            y = torch.roll(y, (shift, shift), dims=(1, 2))
        x = x + y[:, :height, :width].contiguous().view(b, height * width, c)
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x.view(len(x), height, width, -1)
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        phases = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(phases, -1).flatten(1, 2)))


class Stage(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, w: int, last: bool) -> None:
        super().__init__()
        self.w = w
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, w, w // 2 if i % 2 else 0) for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        w = self.w
        mask = shift_mask(-(-height // w) * w, -(-width // w) * w, w, w // 2)
        for block in self.blocks:
            x = block(x, height, width, mask)
        return x


class Swin(nn.Module):
    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, config.embed_dim, 4, 4)
        self.patch_embed.norm = nn.LayerNorm(config.embed_dim)
        dims = config.stage_channels
        self.layers = nn.ModuleList(
            Stage(dims[i], config.depths[i], config.num_heads[i], config.window, i == 3)
            for i in range(4)
        )
        for i, dim in enumerate(dims):
            self.add_module(f"norm{i}", nn.LayerNorm(dim))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.patch_embed.proj(image)
        height, width = x.shape[2:]
        x = self.patch_embed.norm(x.flatten(2).transpose(1, 2))
        maps = []
        for i, stage in enumerate(self.layers):
            x = stage(x, height, width)
            out = getattr(self, f"norm{i}")(x).view(len(x), height, width, -1)
            maps.append(out.permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x, height, width)
                height, width = (height + 1) // 2, (width + 1) // 2
        return maps


class DeformableConv(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.offset_conv = nn.Conv2d(64, 2 * k * k, k, padding=k // 2)
        self.modulator_conv = nn.Conv2d(64, k * k, k, padding=k // 2)
        self.regular_conv = nn.Conv2d(64, 256, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        modulation = 2.0 * torch.sigmoid(self.modulator_conv(x))
        weight = self.regular_conv.weight
        padding = weight.shape[-1] // 2
        return deform_conv2d(x, self.offset_conv(x), weight, None, 1, padding, mask=modulation)


class Branch(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv(k)
        self.bn = nn.BatchNorm2d(256)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class ASPP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.aspp1 = Branch(1)
        self.aspp_deforms = nn.ModuleList(Branch(k) for k in (1, 3, 7))
        pool_conv = nn.Conv2d(64, 256, 1, bias=False)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), pool_conv, nn.BatchNorm2d(256), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(1280, 64, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.aspp1(x), *(branch(x) for branch in self.aspp_deforms)]
        pooled = resize(self.global_avg_pool(x), x.shape[2:])
        return F.relu(self.bn1(self.conv1(torch.cat((*maps, pooled), 1))))


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, 64, 3, padding=1)
        self.dec_att = ASPP()
        self.conv_out = nn.Conv2d(64, channels_out, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(64)
        self.bn_out = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dec_att(F.relu(self.bn_in(self.conv_in(x))))
        return self.bn_out(self.conv_out(x))


def named(**modules: nn.Module) -> nn.Module:
    parent = nn.Module()
    for name, module in modules.items():
        parent.add_module(name, module)
    return parent


class ReferenceBiRefNet(nn.Module):
    def __init__(self, config: BiRefNetConfig, patch_order: PatchOrder) -> None:
        super().__init__()
        self.patch_order = patch_order
        c1, c2, c3, c4 = config.scale_channels
        self.bb = Swin(config)
        self.squeeze_module = nn.Sequential(Block(c1 + c2 + c3 + c4, c4))
        self.decoder = d = nn.Module()
        tiles = ((5, 3072, c4), (4, 768, c4), (3, 192, c3), (2, 48, c2), (1, 3, c1))
        for n, channels_in, c in tiles:
            conv1 = nn.Conv2d(channels_in, 64, 3, padding=1)
            conv_out = nn.Conv2d(64, c // 8, 3, padding=1)
            d.add_module(f"ipt_blk{n}", named(conv1=conv1, conv_out=conv_out))
        blocks = ((4, c4 + c4 // 8, c3), (3, c3 + c4 // 8, c2), (2, c2 + c3 // 8, c1))
        for n, channels_in, c in (*blocks, (1, c1 + c2 // 8, c1 // 2)):
            d.add_module(f"decoder_block{n}", Block(channels_in, c))
        d.conv_out1 = nn.Sequential(nn.Conv2d(c1 // 2 + c1 // 8, 1, 1))
        for n, _, c in blocks:
            d.add_module(f"lateral_block{n}", named(conv=nn.Conv2d(c, c, 1)))
            d.add_module(f"conv_ms_spvn_{n}", nn.Conv2d(c, 1, 1))
            gate = nn.Sequential(nn.Conv2d(c, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            d.add_module(f"gdt_convs_{n}", gate)
            d.add_module(f"gdt_convs_pred_{n}", nn.Sequential(nn.Conv2d(16, 1, 1)))
            d.add_module(f"gdt_convs_attn_{n}", nn.Sequential(nn.Conv2d(16, 1, 1)))
        self.eval()

    def tiles(self, image: Tensor, n: int, size: torch.Size) -> Tensor:
        b, _, height, width = image.shape
        h, w = size
        x = image.view(b, 3, height // h, h, width // w, w)
        order = (0, 4, 2, 1, 3, 5) if self.patch_order == "columns" else (0, 1, 2, 4, 3, 5)
        block = getattr(self.decoder, f"ipt_blk{n}")
        return block.conv_out(block.conv1(x.permute(order).reshape(b, -1, h, w)))

    def forward(self, image: Tensor) -> Tensor:
        d = self.decoder
        height, width = image.shape[2:]
        half = self.bb(resize(image, (height // 2, width // 2)))
        x = [
            torch.cat((f, resize(h, f.shape[2:])), 1)
            for f, h in zip(self.bb(image), half, strict=True)
        ]
        size = x[3].shape[2:]
        p = self.squeeze_module(torch.cat([resize(m, size) for m in x[:3]] + [x[3]], 1))
        for n in (4, 3, 2):
            block_in = torch.cat((p, self.tiles(image, n + 1, p.shape[2:])), 1)
            p = getattr(d, f"decoder_block{n}")(block_in)
            edges = getattr(d, f"gdt_convs_{n}")(p)
            p = p * getattr(d, f"gdt_convs_attn_{n}")(edges).sigmoid()
            below = x[n - 2]
            p = resize(p, below.shape[2:]) + getattr(d, f"lateral_block{n}").conv(below)
        p = d.decoder_block1(torch.cat((p, self.tiles(image, 2, p.shape[2:])), 1))
        p = resize(p, (height, width))
        return d.conv_out1(torch.cat((p, self.tiles(image, 1, image.shape[2:])), 1))
