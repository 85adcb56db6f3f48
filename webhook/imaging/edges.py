"""Foreground colours for pixels that show subject and background at once. No halo is left then.

A pixel of the edge shows I = a·F + (1 - a)·B. The cut-out must carry F, or the old background
shines through on a new one.
"""

from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from webhook.imaging.matte import CLEAR, OPAQUE

_NUMBER = TypeVar("_NUMBER", np.uint8, np.uint32)

_GRID = 128  # cells a side of the finest level at which colours are gathered
_SAMPLES = 2 * _GRID
_TABLE = 2 * _GRID  # cells a side of the table that pixels look their colours up in

_COARSER_WEIGHT = 0.03
"""What a cell's coarser neighbourhood counts against its own samples (which count up to 1)."""

_NOISE = 4.0  # grey levels: no surface is more even than its grain and JPEG's traces
_MATTE_DOUBT = 0.04
"""How far off a matte may be. Without any doubt, where it is, edges get rims lighter or darker than
the subject; with much, they lose their detail."""

_ROUNDING_VARIANCE = 1.0  # of I itself

_PIXELS_AT_ONCE = 2**16  # each takes some 130 bytes on the way; these stay in the core's cache


class EdgeColours:
    """Colours of the subject and of the background around every place of a picture.

    Source:
        The idea of estimating both at low resolution and correcting at full size is of Forte
        2021 ("Approximate Fast Foreground Colour Estimation"), the multi-level one of Germer et
        al. 2020 (arXiv:2006.14970). Here: means by weighted push-pull over a pyramid, and the
        correction weighs both colours' spread, as Bayesian matting does (Chuang et al. 2001).
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
        pixels = _sampled(rgba.view(np.uint32)[:, :, 0]).view(np.uint8)
        planes = pixels.reshape(_SAMPLES, _SAMPLES, 4).transpose(2, 0, 1)
        samples = planes.astype(np.float32, order="C")
        alpha = _sampled(levels).astype(np.float32) / OPAQUE
        colours, seen = samples[:3], samples[3] / OPAQUE

        # The 8th power: a sample counts only as far as it is nearly pure, but where there is no
        # purer one it still counts.
        weights = np.stack((alpha, 1 - alpha)) ** 2
        weights *= weights
        weights *= weights
        weights *= seen
        moments = np.concatenate((colours, (colours * colours).mean(axis=0, keepdims=True)))
        weighted = np.empty((2, 5, _SAMPLES, _SAMPLES), np.float32)
        np.multiply(moments, weights[:, None], out=weighted[:, :4])
        weighted[:, 4] = weights

        filled = _push_pull(weighted)  # 2, 4, _TABLE, _TABLE
        variance = filled[:, 3] - (filled[:, :3] ** 2).mean(axis=1)
        filled[:, 3] = np.sqrt(np.maximum(variance, 0) + _NOISE**2)
        table = filled.reshape(8, _TABLE * _TABLE).T.round().clip(0, 255).astype(np.uint8)
        return cls(np.ascontiguousarray(table).view(np.uint64)[:, 0], width, height)

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
        cell_of_row = _cells(top, alpha.shape[0], self._height) * _TABLE
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
    return np.arange(start, start + count) * _TABLE // size


def _sampled(plane: NDArray[_NUMBER]) -> NDArray[_NUMBER]:
    height, width = plane.shape
    middles = np.arange(_SAMPLES) + 0.5
    rows = (middles * height / _SAMPLES).astype(np.intp)
    columns = (middles * width / _SAMPLES).astype(np.intp)
    sampled: NDArray[_NUMBER] = plane[rows[:, None], columns]
    return sampled


def _push_pull(weighted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill every cell with the weighted mean around it, from as near as there is weight.

    Args:
        weighted: (2, 5, N, N): four values times their weight, and the weight.

    Returns:
        (2, 4, N, N): the four values, at a resolution of N / 2, enlarged smoothly.
    """
    pyramid = [_halved(weighted)]
    while pyramid[-1].shape[-1] > 1:
        pyramid.append(_halved(pyramid[-1]))
    top = pyramid.pop()
    filled = (top[:, :4] / np.maximum(top[:, 4:], 1e-6)).astype(np.float32)
    for level in reversed(pyramid):
        coarser = _doubled(filled)
        coarser *= _COARSER_WEIGHT
        coarser += level[:, :4]
        coarser /= level[:, 4:] + _COARSER_WEIGHT
        filled = coarser
    return _doubled(filled)


def _halved(level: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = level[:, :, 0::2] + level[:, :, 1::2]
    mean: NDArray[np.float32] = (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)
    return mean


def _doubled(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Enlarge twofold, bilinearly."""
    planes, values, height, width = level.shape
    padded = np.pad(level, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    own = padded[:, :, 1:-1] * 0.75
    rows = np.empty((planes, values, 2 * height, width + 2), np.float32)
    np.add(own, padded[:, :, :-2] * 0.25, out=rows[:, :, 0::2])
    np.add(own, padded[:, :, 2:] * 0.25, out=rows[:, :, 1::2])
    own = rows[..., 1:-1] * 0.75
    doubled = np.empty((planes, values, 2 * height, 2 * width), np.float32)
    np.add(own, rows[..., :-2] * 0.25, out=doubled[..., 0::2])
    np.add(own, rows[..., 2:] * 0.25, out=doubled[..., 1::2])
    return doubled


def _planes(words: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """Split n words into their bytes: float32 (bytes, n)."""
    return words.view(np.uint8).reshape(words.size, -1).T.astype(np.float32, order="C")
