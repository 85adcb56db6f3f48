"""Colours times their alpha: what may be averaged and blended. Knows no sizes and no files.

Of a cut-out only the pixels of the edge change: elsewhere alpha is 0, and so the colour, or 1.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from webhook.imaging.matte import OPAQUE
from webhook.imaging.workers import CORES, map_strips

_LEAST_ALPHA = np.uint32(1 << 24)  # of a pixel as one number, on machines as they are today
_ALPHA, _RED_BLUE, _GREEN = np.uint32(0xFF000000), np.uint32(0xFF00FF), np.uint32(0xFF00)
_HALVES, _ONES = np.uint32(0x800080), np.uint32(0x10001)
_PIXELS_AT_ONCE = 2**18  # with what they need on the way, they stay in the core's cache


def premultiply(rgba: NDArray[np.uint8], threads: int = CORES) -> None:
    """Multiply the colours of uint8 (H, W, 4) by their alpha, in place.

    Args:
        rgba: Contiguous, straight alpha, RGB 0 wherever alpha is 0.
        threads: How many may work on it at once.
    """
    words = _words(rgba)

    def step(start: int) -> None:
        part = words[start : start + _PIXELS_AT_ONCE]
        edge = _partly_covered(part)
        pixels = part[edge]
        part[edge] = _share(pixels, pixels >> 24) | (pixels & _ALPHA)

    map_strips(step, range(0, len(words), _PIXELS_AT_ONCE), threads)


def straighten(premultiplied: NDArray[np.uint8]) -> None:
    """Divide the colours of uint8 (H, W, 4), contiguous, by their alpha, in place."""
    for part in _parts(premultiplied):
        edge = _partly_covered(part)
        pixels = part[edge].view(np.uint8).reshape(-1, 4).astype(np.uint32)
        colours, alpha = pixels[:, :3], pixels[:, 3:]
        colours *= OPAQUE
        colours += alpha // 2
        colours //= alpha
        part[edge] = np.minimum(pixels, OPAQUE).astype(np.uint8).view(np.uint32)[:, 0]
        part *= part >= _LEAST_ALPHA


def put_on(premultiplied: NDArray[np.uint8], background: tuple[int, int, int]) -> None:
    """Put uint8 (H, W, 4), contiguous, on a colour, in place: all of it is opaque then."""
    behind = word_of((*background, OPAQUE))
    for part in _parts(premultiplied):
        edge = _partly_covered(part)
        pixels = part[edge]
        np.copyto(part, behind, where=part < _LEAST_ALPHA)
        part[edge] = _sum(pixels, _share(behind, OPAQUE - (pixels >> 24))) | _ALPHA


def word_of(rgba: tuple[int, ...]) -> np.uint32:
    """Return a pixel as one number: alpha is its highest byte."""
    return np.uint32(int.from_bytes(bytes(rgba), "little"))


def _words(rgba: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return rgba.reshape(-1, 4).view(np.uint32)[:, 0]


def _parts(rgba: NDArray[np.uint8]) -> Iterator[NDArray[np.uint32]]:
    words = _words(rgba)
    for start in range(0, len(words), _PIXELS_AT_ONCE):
        yield words[start : start + _PIXELS_AT_ONCE]


def _partly_covered(words: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Return which of n pixels are neither clear nor opaque."""
    # A clear one becomes larger than any other: one comparison for both ends.
    return np.flatnonzero(words - _LEAST_ALPHA < (OPAQUE - 1) * _LEAST_ALPHA)


def _share(words: NDArray[np.uint32] | np.uint32, alpha: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Return the colours of pixels times alpha, 0 to 255; their own alpha is left out."""
    # Red and blue at once: each has room for its product. 1 / 255 is 1 / 256 + 1 / 65,536 + ….
    outer = (words & _RED_BLUE) * alpha + _HALVES
    outer = outer + (outer >> 8 & _RED_BLUE)
    green = (words >> 8 & 0xFF) * alpha + 0x80
    green = green + (green >> 8)
    return ((outer >> 8 & _RED_BLUE) | (green & _GREEN)).astype(np.uint32, copy=False)


def _sum(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Add the colours of pixels, 255 at most; their alpha is left out."""
    outer: NDArray[np.integer] = (one & _RED_BLUE) + (other & _RED_BLUE)
    outer |= (outer >> 8 & _ONES) * 0xFF
    green: NDArray[np.integer] = (one & _GREEN) + (other & _GREEN)
    green |= (green >> 16 & 1) * 0xFF00
    return ((outer & _RED_BLUE) | (green & _GREEN)).astype(np.uint32, copy=False)
