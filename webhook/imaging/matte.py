"""A network's matte at the size of the picture, a few rows at a time, where it isn't constant."""

from collections.abc import Iterator
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLEAR = 0
OPAQUE = 255

_BICUBIC_REACH = 2  # source pixels to either side, at scale 1
_SHORTEST_CONSTANT_SPAN_PX = 64  # below, another span costs more than its pixels
_LONGEST_COMPUTED_SPAN_PX = 2**18  # a row may have fifty million
_FLAT_ASPECT = 64  # no photograph is flatter


class Span(NamedTuple):
    """Neighbouring columns of some rows: CLEAR or OPAQUE throughout, or uint8 (rows, columns)."""

    left: int
    right: int
    alpha: int | NDArray[np.uint8]


class Matte:
    """An alpha matte, enlarged bicubically as on the card of RMBG-2.0.

    Most of a matte is constant, and so is its enlargement a kernel's reach away from any change:
    only the rest is computed.
    """

    def __init__(self, alpha: NDArray[np.float32], width: int, height: int) -> None:
        """Take float32 (h, w) in [0, 1] for a picture of `width` × `height`."""
        self.levels = (alpha * OPAQUE).round().astype(np.uint8)
        self._image = Image.fromarray(self.levels)
        self._width = width
        self._is_flat = width > _FLAT_ASPECT * height
        self._x_scale = alpha.shape[1] / width
        self._y_scale = alpha.shape[0] / height

    def spans(self, top: int, bottom: int) -> Iterator[Span]:
        """Yield the picture's rows from `top` to before `bottom`, from left to right."""
        reach = _reach(self._y_scale)
        first = max(0, floor(top * self._y_scale) - reach)
        last = min(self.levels.shape[0], ceil(bottom * self._y_scale) + reach)
        end = 0
        for left, right, level in self._constant_spans(first, last):
            yield from self._computed_spans(end, left, top, bottom, first, last)
            yield Span(left, right, level)
            end = right
        yield from self._computed_spans(end, self._width, top, bottom, first, last)

    def _constant_spans(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        rows = self.levels[first:last]
        lowest, highest = rows.min(axis=0), rows.max(axis=0)
        level = np.where(lowest == highest, lowest, 1)  # 1: neither CLEAR nor OPAQUE

        changes = np.flatnonzero(level[1:] != level[:-1]) + 1
        starts = np.concatenate(([0], changes))
        ends = np.concatenate((changes, [level.size]))
        # Next to a change the kernel reaches over it; at the picture's border there is nothing.
        reach = _reach(self._x_scale)
        lefts = np.where(starts == 0, 0, np.ceil((starts + reach) / self._x_scale))
        at_border = ends == level.size
        rights = np.where(at_border, self._width, np.floor((ends - reach) / self._x_scale))
        levels = level[starts]
        keep = (rights - lefts >= _SHORTEST_CONSTANT_SPAN_PX) & (
            (levels == CLEAR) | (levels == OPAQUE)
        )
        for i in np.flatnonzero(keep):
            yield int(lefts[i]), int(rights[i]), int(levels[i])

    def _computed_spans(
        self, left: int, right: int, top: int, bottom: int, first: int, last: int
    ) -> Iterator[Span]:
        enlarge = self._enlarged_flat if self._is_flat else self._enlarged
        for start in range(left, right, _LONGEST_COMPUTED_SPAN_PX):
            end = min(start + _LONGEST_COMPUTED_SPAN_PX, right)
            yield Span(start, end, enlarge(start, end, top, bottom, first, last))

    def _enlarged(
        self, left: int, right: int, top: int, bottom: int, first: int, last: int
    ) -> NDArray[np.uint8]:
        # Across, then down, as Pillow does with a whole picture; of a part it may do it the other
        # way round, and clips the overshoot in between elsewhere.
        right_edge = min(right * self._x_scale, self.levels.shape[1])  # no rounding error beyond
        across = self._image.resize(
            (right - left, last - first),
            Image.Resampling.BICUBIC,
            box=(left * self._x_scale, first, right_edge, last),
        )
        upper, lower = top * self._y_scale - first, bottom * self._y_scale - first
        down = across.resize(
            (right - left, bottom - top),
            Image.Resampling.BICUBIC,
            box=(0, upper, right - left, min(lower, last - first)),
        )
        return np.asarray(down)

    def _enlarged_flat(
        self, left: int, right: int, top: int, bottom: int, first: int, last: int
    ) -> NDArray[np.uint8]:
        # Down, then across: the other way round, a row becomes a thousand rows of its length.
        reach = _reach(self._x_scale)
        left_edge = left * self._x_scale
        right_edge = min(right * self._x_scale, self.levels.shape[1])
        begin, end = max(0, floor(left_edge) - reach), ceil(right_edge) + reach
        part = Image.fromarray(np.ascontiguousarray(self.levels[first:last, begin:end]))
        upper, lower = top * self._y_scale - first, bottom * self._y_scale - first
        down = part.resize(
            (part.width, bottom - top),
            Image.Resampling.BICUBIC,
            box=(0, upper, part.width, min(lower, last - first)),
        )
        across = down.resize(
            (right - left, bottom - top),
            Image.Resampling.BICUBIC,
            box=(left_edge - begin, 0, right_edge - begin, bottom - top),
        )
        return np.asarray(across)


def _reach(scale: float) -> int:
    return ceil(_BICUBIC_REACH * max(scale, 1)) + 1
