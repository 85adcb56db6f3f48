from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging.matte import OPAQUE, Matte, Span


def disc(size: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:size, :size] / size - 0.5
    inside = np.clip((0.35 - np.hypot(x, y)) * 20 + 0.5, 0, 1)
    return np.asarray(inside, np.float32)


def noise(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((size, size), np.float32)


def pasted(spans: list[Span], rows: int, width: int) -> NDArray[np.uint8]:
    whole = np.empty((rows, width), np.uint8)
    for left, right, alpha in spans:
        whole[:, left:right] = alpha
    return whole


@pytest.mark.parametrize("make", [disc, noise])
@pytest.mark.parametrize(
    ("width", "height"),
    [(1000, 700), (333, 1001), (64, 64), (40, 30), (1, 1), (700, 1), (1, 700), (3001, 97)],
    ids=str,
)
def test_spans_make_up_the_whole_enlargement(
    make: Callable[[int], NDArray[np.float32]], width: int, height: int
) -> None:
    alpha = make(64)
    matte = Matte(alpha, width, height)
    expected = np.asarray(
        Image.fromarray((alpha * 255).round().astype(np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
    )
    for top in range(0, height, 50):
        bottom = min(top + 50, height)
        spans = list(matte.spans(top, bottom))
        assert (spans[0].left, spans[-1].right) == (0, width)
        assert all(before.right == after.left for before, after in pairwise(spans))
        actual = pasted(spans, bottom - top, width)
        assert np.abs(actual.astype(int) - expected[top:bottom]).max() <= 2


@pytest.mark.parametrize("size", [(300_000, 1), (300_000, 3), (1, 300_000), (9000, 100)], ids=str)
def test_a_thin_picture_gets_the_same_matte(size: tuple[int, int]) -> None:
    width, height = size
    alpha = disc(256)
    levels = Image.fromarray((alpha * 255).round().astype(np.uint8))
    expected = np.asarray(levels.resize(size, Image.Resampling.BICUBIC))
    actual = pasted(list(Matte(alpha, width, height).spans(0, height)), height, width)
    assert np.abs(actual.astype(int) - expected).max() <= 2


def test_where_a_matte_is_constant_nothing_is_computed() -> None:
    spans = list(Matte(disc(128), 2000, 2000).spans(1000, 1064))
    constant = sum(span.right - span.left for span in spans if isinstance(span.alpha, int))
    assert constant > 1600
    assert any(span.alpha is not None and np.all(span.alpha == OPAQUE) for span in spans)
