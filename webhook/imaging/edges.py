"""Foreground colours for pixels that show subject and background at once. No halo is left then.

A pixel of the edge shows I = a·F + (1 - a)·B. The cut-out must carry F, or the old background
shines through on a new one.
"""

from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from webhook.imaging.layers import GRID, colour_spreads, layer_colours
from webhook.imaging.matte import CLEAR, OPAQUE

_NUMBER = TypeVar("_NUMBER", np.uint8, np.uint32)

_MATTE_DOUBT = 0.04
"""How far off a matte may be. Without any doubt, where it is, edges get rims lighter or darker than
the subject; with much, they lose their detail."""

_ROUNDING_VARIANCE = 1.0  # of I itself

_PIXELS_AT_ONCE = 2**16  # each takes some 130 bytes on the way; these stay in the core's cache


class EdgeColours:
    """Colours of the subject and of the background around every place of a picture.

    Source:
        The idea to estimate both at low resolution and to correct at full size is of Forte 2021
        ("Approximate Fast Foreground Colour Estimation"). The correction weighs both colours'
        spread, as Bayesian matting does (Chuang et al. 2001).
    """

    def __init__(self, table: NDArray[np.uint64], width: int, height: int) -> None:
        self._table = table  # per cell, 8 bytes: F's red, green, blue, spread; the same of B
        self._width = width
        self._height = height

    @classmethod
    def estimate(cls, rgba: NDArray[np.uint8], levels: NDArray[np.uint8]) -> Self:
        """Gather the colours.

        Args:
            rgba: uint8 (H, W, 4); colours under alpha 0 are not looked at.
            levels: The matte, uint8 (h, w) of any size.
        """
        height, width = rgba.shape[:2]
        pixels = _sampled(rgba.view(np.uint32)[:, :, 0])
        samples = _planes(pixels.reshape(-1)).reshape(4, GRID, GRID)
        image, seen = samples[:3], samples[3]
        seen /= OPAQUE
        alpha = _sampled(levels).astype(np.float32)
        alpha /= OPAQUE

        colours = layer_colours(image, alpha, seen)
        spreads = colour_spreads(image, alpha, seen, colours)
        cells = np.concatenate((colours, spreads), axis=1).reshape(8, GRID * GRID)
        cells += 0.5  # so that the cast rounds
        table = np.ascontiguousarray(cells.astype(np.uint8).T)
        return cls(table.view(np.uint64)[:, 0], width, height)

    def clean(
        self, rows: NDArray[np.uint32], alpha: NDArray[np.uint8], left: int, top: int
    ) -> None:
        """Put the subject's own colours into the pixels of some rows that are partly covered.

        Args:
            rows: RGBA words (rows, W), contiguous; changed in place, their alpha is lost.
            alpha: The matte uint8 (rows, columns) of the columns from `left` on.
            left: See `alpha`.
            top: The picture's row that `rows` begin with.
        """
        columns = alpha.shape[1]
        edge = np.flatnonzero((alpha != CLEAR) & (alpha != OPAQUE))
        if not edge.size:
            return
        cell_of_row = _cells(top, alpha.shape[0], self._height) * GRID
        cell_of_column = _cells(left, columns, self._width)
        flat = rows.reshape(-1)
        for start in range(0, edge.size, _PIXELS_AT_ONCE):
            part = edge[start : start + _PIXELS_AT_ONCE]
            row = part // columns
            column = part - row * columns
            cells = cell_of_row[row] + cell_of_column[column]
            share = alpha.reshape(-1)[part].astype(np.float32) / OPAQUE
            position = row * rows.shape[1] + column + left
            flat[position] = self._cleaned(flat[position], share, cells)

    def _cleaned(
        self, words: NDArray[np.uint32], share: NDArray[np.floating], cells: NDArray[np.intp]
    ) -> NDArray[np.uint32]:
        """Return n pixels without their background; `cells` says where in the table they look."""
        estimate = _planes(self._table[cells])  # 8, n
        foreground, background = estimate[:3], estimate[4:7]
        # Of what the two estimates leave unexplained, each takes as much as it may be wrong by.
        foreground_doubt = share * estimate[3] ** 2
        background_doubt = ((1 - share) * estimate[7]) ** 2
        unexplained = _planes(words)[:3]
        unexplained -= background
        contrast = np.subtract(foreground, background, out=background)
        matte_doubt = np.einsum("ij,ij->j", contrast, contrast) * (_MATTE_DOUBT**2 / 3)
        matte_doubt += _ROUNDING_VARIANCE
        gain = foreground_doubt / (share * foreground_doubt + background_doubt + matte_doubt)
        contrast *= share
        unexplained -= contrast
        unexplained *= gain
        foreground += unexplained
        foreground += 0.5  # so that the cast rounds
        np.clip(foreground, 0, 255, out=foreground)

        cleaned = np.empty((words.size, 4), np.uint8)
        cleaned[:, :3] = foreground.T
        return cleaned.view(np.uint32)[:, 0]


def _cells(start: int, count: int, size: int) -> NDArray[np.intp]:
    """Return the table's row or column for `count` rows or columns of a picture from `start`."""
    return np.arange(start, start + count) * GRID // size


def _sampled(plane: NDArray[_NUMBER]) -> NDArray[_NUMBER]:
    height, width = plane.shape
    middles = np.arange(GRID) + 0.5
    rows = (middles * height / GRID).astype(np.intp)
    columns = (middles * width / GRID).astype(np.intp)
    sampled: NDArray[_NUMBER] = plane[rows[:, None], columns]
    return sampled


def _planes(words: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """Split n words into their bytes: float32 (bytes, n)."""
    return words.view(np.uint8).reshape(words.size, -1).T.astype(np.float32, order="C")
