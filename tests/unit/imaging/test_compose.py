import numpy as np
import pytest

from webhook.imaging import SourceImage, compose

GREY = np.full((20, 30, 3), 90, np.uint8)


def test_a_cutout_has_the_size_of_its_source() -> None:
    cutout = compose(SourceImage(GREY, None), np.ones((8, 8), np.float32))
    assert cutout.rgba.shape == (20, 30, 4)
    assert cutout.coverage == 1


def test_opaque_pixels_keep_their_exact_colours() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    cutout = compose(SourceImage(rgb, None), np.ones((8, 8), np.float32))
    assert np.array_equal(cutout.rgba[:, :, :3], rgb)


def test_nothing_of_the_background_hides_under_clear_pixels() -> None:
    alpha = np.zeros((8, 8), np.float32)
    alpha[:, 4:] = 1
    cutout = compose(SourceImage(GREY, None), alpha)
    clear = cutout.rgba[:, :, 3] == 0
    assert clear[:, :10].all()
    assert not cutout.rgba[clear].any()
    assert cutout.coverage == pytest.approx(0.5, abs=0.02)


def test_the_sources_own_alpha_multiplies_the_matte() -> None:
    own = np.full((20, 30), 128, np.uint8)
    own[:, :5] = 0
    cutout = compose(SourceImage(GREY, own), np.ones((8, 8), np.float32))
    assert (cutout.rgba[:, 5:, 3] == 128).all()
    assert not cutout.rgba[:, :5].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2000, 3)])
def test_any_size_works(size: tuple[int, int]) -> None:
    image = SourceImage(np.zeros((*size, 3), np.uint8), None)
    assert compose(image, np.zeros((8, 8), np.float32)).rgba.shape == (*size, 4)
