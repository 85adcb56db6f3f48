"""Modulated deformable convolution, by gathering instead of a generic operator.

Zhu et al. 2019, arXiv:1811.11168 (DCNv2): a convolution whose taps each read the map at a learned
offset, bilinearly, scaled by a learned modulation.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Pixels sampled at once: on a CPU their columns should stay in the cache, elsewhere in memory.
_CPU_CHUNK_PIXELS = 1024
_CHUNK_PIXELS = 65536


@dataclass(frozen=True, slots=True)
class FramedMap:
    """One image's feature map as rows of pixels, with a frame of zeros.

    Reading beyond the map counts as zero. One pixel of frame above and left and two below and right
    make that true for any position clamped to [-1, size], without a test per neighbour.
    """

    pixels: Tensor  # (height + 3) * (width + 3), C
    height: int
    width: int

    @classmethod
    def of(cls, features: Tensor) -> "FramedMap":
        """Frame a map (C, H, W)."""
        channels, height, width = features.shape
        framed = F.pad(features.permute(1, 2, 0), (0, 0, 1, 2, 1, 2))
        return cls(framed.reshape(-1, channels), height, width)

    def sample(self, rows: Tensor, columns: Tensor, modulation: Tensor) -> Tensor:
        """Read the map bilinearly.

        Args:
            rows: positions, 0 being the first row of the map, float32 of any shape.
            columns: likewise.
            modulation: factor on what is read there.

        Returns:
            (number of positions, C), in the dtype of the map.
        """
        rows = rows.clamp(-1, self.height)
        columns = columns.clamp(-1, self.width)
        top, left = rows.floor(), columns.floor()
        down, right = rows - top, columns - left
        stride = self.width + 3
        corner = (top.int() + 1) * stride + (left.int() + 1)
        # A NaN in the offsets must not become an address.
        corner = corner.clamp_(0, len(self.pixels) - stride - 2)
        neighbours = torch.stack((corner, corner + 1, corner + stride, corner + stride + 1), dim=-1)

        lower = down * modulation
        upper = modulation - lower
        lower_right, upper_right = lower * right, upper * right
        weights = torch.stack(
            (upper - upper_right, upper_right, lower - lower_right, lower_right), dim=-1
        )
        # A weighted sum of four rows is what this operator computes in one pass over them.
        return F.embedding_bag(
            neighbours.view(-1, 4),
            self.pixels,
            mode="sum",
            per_sample_weights=weights.view(-1, 4).to(self.pixels.dtype),
        )


def row_chunks(height: int, width: int, device: torch.device) -> list[slice]:
    """Cut the rows of a map into parts of bounded size."""
    pixels = _CPU_CHUNK_PIXELS if device.type == "cpu" else _CHUNK_PIXELS
    step = max(1, pixels // width)
    return [slice(row, min(row + step, height)) for row in range(0, height, step)]


def deformable_columns(features: FramedMap, sampling: Tensor, rows: slice) -> Tensor:
    """Collect what the taps of a k x k deformable kernel read, for some rows of pixels.

    Args:
        features: the map that is read.
        sampling: (H, W, 3k²): per pixel the taps' row offsets, column offsets, modulations; taps
            row by row.
        rows: the rows of pixels wanted.

    Returns:
        (pixels, k²·C), the input of a matrix product with weights ordered (tap, channel).
    """
    down, right, modulation = sampling[rows].float().chunk(3, dim=-1)  # rows, W, k²
    taps = down.shape[-1]
    k = round(taps**0.5)
    tap = torch.arange(taps, device=sampling.device)
    row = torch.arange(rows.start, rows.stop, device=sampling.device)
    column = torch.arange(features.width, device=sampling.device)
    base_row = row[:, None, None] + (tap // k - k // 2)  # rows, 1, k²
    base_column = column[:, None] + (tap % k - k // 2)  # W, k²
    samples = features.sample(down + base_row, right + base_column, modulation)
    return samples.view(-1, taps * samples.shape[-1])
