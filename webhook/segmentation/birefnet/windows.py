"""How a map of tokens is cut into attention windows.

A shifted Swin block rolls the map, cuts it into windows, and masks the pairs of tokens that met
only because the roll wrapped around. What remains unmasked is exactly a cut that starts half a
window earlier, with smaller windows along the border. So no map is rolled and no mask exists here:
a window has a size, and the position bias of a smaller one is a part of the full one's.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# On a CPU a band's activations should stay in the cache (and in memory the allocator has at hand:
# a fresh block of many megabytes costs more in page faults than the arithmetic on it).
_CPU_BAND_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class WindowGroup:
    """The windows of one size within a band."""

    count: int
    height: int
    width: int
    rows: slice  # where they stand among the band's gathered tokens

    @property
    def size(self) -> int:
        """Tokens per window."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Band:
    """Consecutive tokens of a batch that hold whole windows, so that they need no others.

    Attributes:
        tokens: which tokens, counted row by row and image by image.
        gather: token (counted within the band) at each window position; 0 where there is none.
        padding: window positions without a token, beyond the map's right or bottom edge.
        scatter: window position of each token: the way back.
        groups: the windows, by size, in the order of `gather`.
    """

    tokens: slice
    gather: Tensor
    padding: Tensor | None
    scatter: Tensor
    groups: tuple[WindowGroup, ...]


def relative_position_index(window: int) -> Tensor:
    """Return, for each pair (query, key) of a window, the row of the bias table: int64 (N, N)."""
    position = torch.arange(window * window)
    row, column = position // window, position % window
    rows = row[:, None] - row[None, :] + window - 1
    columns = column[:, None] - column[None, :] + window - 1
    return rows * (2 * window - 1) + columns


@lru_cache(maxsize=128)  # one forward pass uses 16
def window_bands(
    batch: int, height: int, width: int, window: int, shift: int, device: torch.device
) -> tuple[Band, ...]:
    """Cut `batch` maps of height x width tokens into bands of windows.

    Args:
        batch: number of maps, one after the other.
        height: rows of a map.
        width: columns of a map.
        window: side of a full window.
        shift: how far down and right the first full window begins.
        device: where the index tensors are needed.
    """
    strips = [
        _Strip((image * height + top) * width, min(bottom, height) - top, bottom - top)
        for image in range(batch)
        for top, bottom in _cuts(height, window, shift)
    ]
    limit = _CPU_BAND_TOKENS if device.type == "cpu" else batch * height * width
    parts: list[list[_Strip]] = [[]]
    for strip in strips:
        if parts[-1] and (sum(s.rows for s in parts[-1]) + strip.rows) * width > limit:
            parts.append([])
        parts[-1].append(strip)

    columns = _cuts(width, window, shift)
    with torch.inference_mode(mode=False):  # the tensors outlive this call, in whatever mode it is
        return tuple(_band(part, width, columns, device) for part in parts)


class _Strip(NamedTuple):
    """One row of windows, from the left edge of a map to the right."""

    first: int  # token
    rows: int  # of tokens
    window_rows: int  # the same and what padding there is below the map


def _cuts(length: int, window: int, shift: int) -> list[tuple[int, int]]:
    """Cut an axis, padded to whole windows; a window of nothing but padding is left out."""
    padded = -(-length // window) * window
    edges = [0, *range(shift or window, padded, window), padded]
    return [(start, stop) for start, stop in pairwise(edges) if start < length]


def _band(
    strips: list[_Strip], width: int, columns: list[tuple[int, int]], device: torch.device
) -> Band:
    """Collect the windows of some strips, each cut at `columns`."""
    windows: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    tokens = 0
    for strip in strips:
        index = torch.arange(tokens, tokens + strip.rows * width).view(strip.rows, width)
        below, beside = strip.window_rows - strip.rows, columns[-1][1] - width
        index = F.pad(index, (0, beside, 0, below), value=-1)
        for left, right in columns:
            windows[strip.window_rows, right - left].append(index[:, left:right].flatten())
        tokens += strip.rows * width

    groups = []
    end = 0
    for (rows, cols), members in windows.items():
        begin, end = end, end + len(members) * rows * cols
        groups.append(WindowGroup(len(members), rows, cols, slice(begin, end)))

    gather = torch.cat([index for members in windows.values() for index in members])
    is_padding = gather < 0
    real = (~is_padding).nonzero().flatten()
    scatter = torch.empty(tokens, dtype=torch.int64)
    scatter[gather[real]] = real
    return Band(
        tokens=slice(strips[0].first, strips[0].first + tokens),
        gather=gather.clamp(min=0).to(device),
        padding=is_padding.nonzero().flatten().to(device) if is_padding.any() else None,
        scatter=scatter.to(device),
        groups=tuple(groups),
    )
