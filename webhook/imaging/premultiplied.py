"""Colours times their alpha: what may be averaged and blended. Knows no sizes and no files.

Of a cut-out only the pixels of the edge change: elsewhere alpha is 0, and so the colour, or 1.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from webhook.imaging.matte import CLEAR, OPAQUE
from webhook.imaging.workers import CORES, map_strips

_PIXELS_AT_ONCE = 2**18  # with what they need on the way, they stay in the core's cache


def premultiply(rgba: NDArray[np.uint8], threads: int = CORES) -> None:
    """Multiply the colours of uint8 (H, W, 4) by their alpha, in place.

    Args:
        rgba: Contiguous, straight alpha, RGB 0 wherever alpha is 0.
        threads: How many may work on it at once.
    """
    pixels = rgba.reshape(-1, 4)

    def step(start: int) -> None:
        part = pixels[start : start + _PIXELS_AT_ONCE]
        edge = _partly_covered(part)
        if edge.size:
            colours, alpha = _wide(part[edge])
            part[edge, :3] = (colours * alpha + OPAQUE // 2) // OPAQUE

    map_strips(step, range(0, len(pixels), _PIXELS_AT_ONCE), threads)


def straighten(premultiplied: NDArray[np.uint8]) -> None:
    """Divide the colours of uint8 (H, W, 4), contiguous, by their alpha, in place."""
    for part in _parts(premultiplied):
        edge = _partly_covered(part)
        if edge.size:
            colours, alpha = _wide(part[edge])
            part[edge, :3] = np.minimum((colours * OPAQUE + alpha // 2) // alpha, OPAQUE)
        words = part.view(np.uint32)[:, 0]
        words *= part[:, 3] != CLEAR


def put_on(premultiplied: NDArray[np.uint8], background: tuple[int, int, int]) -> None:
    """Put uint8 (H, W, 4), contiguous, on a colour, in place: all of it is opaque then."""
    backdrop = np.array((*background, OPAQUE), np.uint8)
    for part in _parts(premultiplied):
        edge = _partly_covered(part)
        if edge.size:
            colours, alpha = _wide(part[edge])
            colours += (backdrop[:3] * (OPAQUE - alpha) + OPAQUE // 2) // OPAQUE
            part[edge, :3] = np.minimum(colours, OPAQUE)
        np.copyto(part.view(np.uint32), backdrop.view(np.uint32), where=part[:, 3:] == CLEAR)
        part[:, 3] = OPAQUE


def _parts(rgba: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    pixels = rgba.reshape(-1, 4)
    for start in range(0, len(pixels), _PIXELS_AT_ONCE):
        yield pixels[start : start + _PIXELS_AT_ONCE]


def _partly_covered(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return which of n pixels are neither clear nor opaque."""
    # Alpha is a word's highest byte, and 0 wraps round to 255: one comparison for both ends.
    words = pixels.view(np.uint32)[:, 0]
    return np.flatnonzero(words - np.uint32(1 << 24) < np.uint32(OPAQUE - 1 << 24))


def _wide(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return colours (n, 3) and alpha (n, 1), with room for products."""
    wide = pixels.astype(np.uint32)
    return wide[:, :3], wide[:, 3:]
