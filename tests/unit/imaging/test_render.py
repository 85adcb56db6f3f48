import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging import Cutout, SourceImage, render_cutout


def source(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | int = 255) -> SourceImage:
    rgba = np.empty((*rgb.shape[:2], 4), np.uint8)
    rgba[:, :, :3] = rgb
    rgba[:, :, 3] = alpha
    return SourceImage(rgba, has_alpha=not isinstance(alpha, int))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def pixels(cutout: Cutout) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(cutout.png)))


def halves(size: int = 8) -> NDArray[np.float32]:
    alpha = np.zeros((size, size), np.float32)
    alpha[:, size // 2 :] = 1
    return alpha


def test_a_cutout_has_the_size_of_its_source() -> None:
    cutout = render_cutout(source(noise(20, 30)), np.ones((8, 8), np.float32))
    assert pixels(cutout).shape == (20, 30, 4)
    assert (cutout.width, cutout.height, cutout.coverage) == (30, 20, 1)


@pytest.mark.parametrize("width", [30, 900])
def test_opaque_pixels_keep_their_exact_colours(width: int) -> None:
    rgb = noise(20, width)
    rgba = pixels(render_cutout(source(rgb), halves()))
    opaque = rgba[:, :, 3] == 255
    assert opaque.mean() > 0.3
    assert np.array_equal(rgba[opaque][:, :3], rgb[opaque])


@pytest.mark.parametrize("width", [30, 900])
def test_nothing_of_the_background_hides_under_clear_pixels(width: int) -> None:
    cutout = render_cutout(source(noise(20, width)), halves())
    rgba = pixels(cutout)
    clear = rgba[:, :, 3] == 0
    assert clear.mean() > 0.3
    assert not rgba[clear].any()
    assert cutout.coverage == pytest.approx(0.5, abs=0.02)
    assert cutout.coverage == pytest.approx(rgba[:, :, 3].mean() / 255, abs=1e-6)


@pytest.mark.parametrize("width", [30, 900])
def test_the_sources_own_alpha_multiplies_the_matte(width: int) -> None:
    own = np.full((20, width), 128, np.uint8)
    own[:5] = 0
    rgb = noise(20, width)
    rgb[:5] = 0
    whole = render_cutout(source(rgb, own), np.ones((8, 8), np.float32))
    assert np.array_equal(pixels(whole)[:, :, 3], own)
    assert whole.coverage == pytest.approx(own.mean() / 255)
    faint = render_cutout(source(rgb, own), np.full((8, 8), 0.5, np.float32))
    assert np.array_equal(pixels(faint)[5:, :, 3], np.full((15, width), 64))
    assert not pixels(faint)[:5].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2000, 3), (3, 2000)], ids=str)
def test_any_size_works(size: tuple[int, int]) -> None:
    cutout = render_cutout(source(noise(*size)), halves())
    assert pixels(cutout).shape == (*size, 4)


@pytest.mark.parametrize("size", [(1, 800_000), (800_000, 1)], ids=str)
def test_a_row_or_a_column_is_cut_out_like_any_picture(size: tuple[int, int]) -> None:
    ends = np.zeros((64, 64), np.float32)
    ends[:8], ends[-8:], ends[:, :8], ends[:, -8:] = 1, 1, 1, 1  # a frame
    rgb = noise(*size)
    rgba = pixels(render_cutout(source(rgb), ends)).reshape(-1, 4)
    alpha = rgba[:, 3]
    assert (alpha[:80_000] == 255).all()
    assert (alpha[-80_000:] == 255).all()
    assert 0 < alpha[400_000] < 255  # the frame's two sides, and the clear middle, are in it
    opaque = alpha == 255
    assert np.array_equal(rgba[opaque, :3], rgb.reshape(-1, 3)[opaque])


def test_the_number_of_threads_changes_nothing() -> None:
    rgb = noise(1200, 1000)  # five strips
    y, x = np.mgrid[:64, :64] / 64
    alpha = (0.5 + 0.5 * np.sin(9 * x + 5 * y)).astype(np.float32)
    alone, together = (render_cutout(source(rgb), alpha, threads) for threads in (1, 4))
    assert alone.png == together.png
    assert alone.coverage == together.coverage
