import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    SRGB_PRIMARIES,
    cmyk_profile_with_orange_cyan,
    grey_profile,
    noise,
    rgb_profile,
    saved,
)
from webhook.imaging import decode

COLOURS = np.array([[(200, 50, 50), (90, 180, 90), (40, 60, 200), (128, 128, 128)]], np.uint8)
GAMMA = 2.2


def srgb_encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = linear.clip(0, 1)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.asarray(255 * curve)


def as_fields(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return colours.repeat(16, axis=0).repeat(16, axis=1)


def field_colours(data: bytes) -> NDArray[np.int64]:
    return decode(data, 10_000).rgba[8, 8::16, :3].astype(np.int64)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_wide_gamut_colours_become_srgb(file_format: str) -> None:
    to_srgb = np.linalg.inv(SRGB_PRIMARIES) @ DISPLAY_P3_PRIMARIES
    expected = srgb_encoded((COLOURS[0] / 255) ** GAMMA @ to_srgb.T)
    profile = rgb_profile(DISPLAY_P3_PRIMARIES, GAMMA)
    data = saved(as_fields(COLOURS), file_format, icc_profile=profile, quality=100)
    assert np.abs(field_colours(data) - expected).max() <= 4  # lossy files lose some
    assert np.abs(expected - COLOURS[0]).max() > 20  # without a conversion it would show


def test_wide_gamut_colours_keep_their_alpha() -> None:
    rgba = np.dstack((as_fields(COLOURS), noise((16, 64)))).astype(np.uint8)
    profile = rgb_profile(DISPLAY_P3_PRIMARIES, GAMMA)
    image = decode(saved(rgba, "PNG", icc_profile=profile), 10_000)
    assert np.array_equal(image.rgba[:, :, 3], rgba[:, :, 3])
    opaque = saved(as_fields(COLOURS), "PNG", icc_profile=profile)
    seen = rgba[:, :, 3] != 0
    assert np.array_equal(image.rgba[seen][:, :3], decode(opaque, 10_000).rgba[seen][:, :3])


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_greys_of_another_gamma_become_srgb(file_format: str) -> None:
    levels = np.array([[20, 64, 128, 220]], np.uint8)
    data = saved(as_fields(levels), file_format, icc_profile=grey_profile(1.0), quality=100)
    expected = srgb_encoded(levels[0] / 255)
    assert np.abs(field_colours(data) - expected[:, None]).max() <= 3


def test_a_presss_inks_have_the_colours_of_its_profile() -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255  # cyan, which this press prints orange
    profile = cmyk_profile_with_orange_cyan()
    buffer = io.BytesIO()
    picture = Image.frombytes("CMYK", (32, 16), inks.tobytes())
    picture.save(buffer, "JPEG", quality=100, icc_profile=profile)
    orange, paper = field_colours(buffer.getvalue())
    assert orange[0] > 200
    assert orange[2] < 80
    assert paper.min() >= 252


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = saved(as_fields(COLOURS), "JPEG")
    tagged = saved(as_fields(COLOURS), "JPEG", icc_profile=profile)
    assert np.array_equal(decode(tagged, 10_000).rgba, decode(plain, 10_000).rgba)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        rgb_profile(DISPLAY_P3_PRIMARIES, GAMMA)[:200],
        grey_profile(1.0).replace(b"GRAY", b"Lab "),
        cmyk_profile_with_orange_cyan(),
    ],
    ids=["junk", "truncated", "of a space without files", "of another kind of image"],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_broken_profile_is_told_of_and_the_image_taken_for_srgb(
    profile: bytes, file_format: str
) -> None:
    image = decode(saved(as_fields(COLOURS), file_format, icc_profile=profile, quality=100), 10_000)
    colours = image.rgba[8, 8::16, :3].astype(int)
    assert np.abs(colours - COLOURS[0]).max() <= 3
    assert image.ignored_profile is not None
    assert image.ignored_profile.reason
    assert image.ignored_profile.profile_bytes == len(profile)
