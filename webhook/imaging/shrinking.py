"""Smaller pictures of premultiplied pixels, without a rim of other colours.

Inside the subject the filter is bicubic, which keeps it sharp. Its weights are partly negative: at
an edge it would swing above and below the colours that are there. So near the edge the filter is
the triangle (bilinear), whose weights are never negative: each pixel is a mean of its neighbours.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from webhook.domain import Box
from webhook.imaging.matte import OPAQUE

_THIN_ASPECT = 16  # torch resizes across first: a column would become many of its height
_SPARE_BYTES_PER_PIXEL = 8  # of the picture's, beside itself and its PNG
_BAND_PX = 2**18
_REDUCING_GAP = 4  # where a side shrinks more than this, whole pixels are averaged first
_FILTERS = {
    "triangle": torch.ops.aten._upsample_bilinear2d_aa.out,
    "bicubic": torch.ops.aten._upsample_bicubic2d_aa.out,
}


def shrink(premultiplied: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a part of a picture at a smaller size.

    Args:
        premultiplied: uint8 (H, W, 4), contiguous.
        box: Which part.
        size: Width and height of what is returned, not larger than the box's.

    Returns:
        uint8 (height, width, 4); a view of `premultiplied` if it has that size already.
    """
    part = premultiplied[box.top : box.top + box.height, box.left : box.left + box.width]
    if size == (box.width, box.height):
        return part
    if _takes_too_much(premultiplied, box, size):
        return _shrunk_in_bands(premultiplied, box, size)
    part = np.ascontiguousarray(part)
    smooth = _resized(part, size, "triangle")
    sharp = _resized(part, size, "bicubic")
    words = smooth.view(np.uint32)[:, :, 0]
    np.copyto(words, sharp.view(np.uint32)[:, :, 0], where=_far_from_edges(smooth[:, :, 3]))
    return smooth


def _takes_too_much(premultiplied: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> bool:
    """Tell whether torch would take more memory than a picture is granted, or too long."""
    if max(box.width, box.height) > _THIN_ASPECT * min(box.width, box.height):
        return True
    height, width = premultiplied.shape[:2]
    copied = 0 if box.width == width else box.width * box.height
    across = size[0] * box.height
    needed = 4 * (copied + across) + 8 * size[0] * size[1]
    return bool(needed > _SPARE_BYTES_PER_PIXEL * width * height)


def _resized(part: NDArray[np.uint8], size: tuple[int, int], filter_name: str) -> NDArray[np.uint8]:
    """Resize by torch's antialiased filters, as its `interpolate` does."""
    width, height = size
    pixels = torch.from_numpy(part[None]).permute(0, 3, 1, 2)  # 1, 4, H, W, channels last
    # Into an array of ours: `interpolate` returns planes, and to interleave them takes as long.
    small: NDArray[np.uint8] = np.empty((1, height, width, 4), np.uint8)
    out = torch.from_numpy(small).permute(0, 3, 1, 2)
    _FILTERS[filter_name](pixels, [height, width], False, None, None, out=out)
    return small.reshape(height, width, 4)


def _far_from_edges(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which pixels have only opaque neighbours: there the wider filter meets no edge either.

    The bicubic filter reaches twice as far as the triangle, one pixel of the small picture more.
    """
    opaque = np.pad(alpha == OPAQUE, 1, constant_values=True)
    across = opaque[:, :-2] & opaque[:, 1:-1] & opaque[:, 2:]
    far: NDArray[np.bool_] = across[:-2] & across[1:-1] & across[2:]
    return far


def _shrunk_in_bands(
    premultiplied: NDArray[np.uint8], box: Box, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Shrink some rows at a time, by a filter of Pillow's that has no negative weights either."""
    height, width = premultiplied.shape[:2]
    # As RGBA, Pillow would multiply by alpha once more.
    image = Image.frombuffer("RGBX", (width, height), premultiplied, "raw", "RGBX", 0, 1)
    small = np.empty((size[1], size[0], 4), np.uint8)
    rows, step = max(1, _BAND_PX // size[0]), box.height / size[1]
    for top in range(0, size[1], rows):
        bottom = min(top + rows, size[1])
        lower = min(box.top + bottom * step, box.top + box.height)  # no rounding error beyond
        band = image.resize(
            (size[0], bottom - top),
            Image.Resampling.HAMMING,
            box=(box.left, box.top + top * step, box.left + box.width, lower),
            reducing_gap=_REDUCING_GAP,
        )
        small[top:bottom] = np.asarray(band)
    return small
