import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    GREY,
    RGB,
    SRGB_PRIMARIES,
    chunk,
    cmyk_profile_with_orange_cyan,
    grey_profile,
    noise,
    png,
    rgb_profile,
    saved,
)
from tests.support.pictures import jpegs, pngs, profiles
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


def png_of(colours: NDArray[np.uint8], *chunks: bytes) -> bytes:
    plain = png(as_fields(colours).astype(int), 8, RGB if colours.ndim == 3 else GREY)
    return pngs.insert(plain, *chunks)


GREYS = np.array([[20, 64, 128, 220]], np.uint8)
ADOBE_RGB = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
ADOBE_PRIMARIES = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
TO_SRGB = np.linalg.inv(SRGB_PRIMARIES)


@pytest.mark.parametrize("gamma_100000", [20_000, 33_333, 60_000, 100_000])
def test_a_gamma_becomes_srgbs(gamma_100000: int) -> None:
    expected = srgb_encoded((GREYS[0] / 255) ** (100_000 / gamma_100000))
    for depth in (8, 16):
        levels = GREYS.astype(int) * (1 if depth == 8 else 257)
        plain = png(levels[:, :, None].repeat(16, 0).repeat(16, 1), depth, GREY)
        data = pngs.insert(plain, pngs.gamma(gamma_100000))
        assert np.abs(field_colours(data) - expected[:, None]).max() <= 2


def test_a_usual_gamma_stands_for_srgb_and_with_primaries_for_itself() -> None:
    alone = field_colours(png_of(COLOURS, pngs.gamma(45_455)))
    assert np.array_equal(alone, COLOURS[0])
    wide = field_colours(png_of(COLOURS, pngs.gamma(45_455), pngs.chromaticities(ADOBE_RGB)))
    expected = srgb_encoded((COLOURS[0] / 255) ** 2.2 @ ADOBE_PRIMARIES.T @ TO_SRGB.T)
    assert np.abs(wide - expected).max() <= 2
    primaries_alone = field_colours(png_of(COLOURS, pngs.chromaticities(ADOBE_RGB)))
    assert np.array_equal(primaries_alone, COLOURS[0])


def test_code_points_of_display_p3_become_srgb() -> None:
    linear = np.where(COLOURS[0] <= 10, 0, ((COLOURS[0] / 255 + 0.055) / 1.055) ** 2.4)
    expected = srgb_encoded(linear @ DISPLAY_P3_PRIMARIES.T @ TO_SRGB.T)
    assert np.abs(field_colours(png_of(COLOURS, pngs.cicp(12, 13, 0, 1))) - expected).max() <= 2


CICP, ICCP = pngs.cicp(12, 13, 0, 1), pngs.iccp(rgb_profile(DISPLAY_P3_PRIMARIES, 1.0))
SRGB, GAMA = chunk(b"sRGB", b"\0"), pngs.gamma(20_000)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_what_tells_a_pngs_colours_the_first_in_its_order_counts(count: int) -> None:
    in_order = [CICP, ICCP, SRGB, GAMA][-count:]
    first = field_colours(png_of(COLOURS, in_order[0]))
    for chunks in (in_order, in_order[::-1]):
        assert np.array_equal(field_colours(png_of(COLOURS, *chunks)), first)
    rest = field_colours(png_of(COLOURS, *in_order[1:]))
    assert not np.array_equal(first, rest)


def test_what_is_broken_does_not_count() -> None:
    for good in (CICP, ICCP, GAMA):
        assert np.array_equal(field_colours(png_of(COLOURS, pngs.broken(good))), COLOURS[0])
    by_gamma = field_colours(png_of(COLOURS, GAMA))
    junk = png_of(COLOURS, pngs.iccp(b"junk" * 50), GAMA)
    assert np.array_equal(field_colours(junk), by_gamma)
    assert decode(junk, 10_000).ignored_profile is not None


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_profile_of_greys_on_colours_is_left_aside(file_format: str) -> None:
    data = saved(as_fields(COLOURS), file_format, icc_profile=grey_profile(1.0), quality=100)
    assert np.abs(field_colours(data) - COLOURS[0]).max() <= 3
    ignored = decode(data, 10_000).ignored_profile
    assert ignored is not None
    assert "GRAY" in ignored.reason


def test_a_profile_behind_a_jpegs_frame_is_used() -> None:
    profile = rgb_profile(DISPLAY_P3_PRIMARIES, GAMMA)
    plain = saved(as_fields(COLOURS), "JPEG", quality=100)
    before = jpegs.insert(jpegs.profile_segment(profile), data=plain)
    behind = jpegs.insert(jpegs.profile_segment(profile), data=plain, at=plain.index(b"\xff\xda"))
    assert np.array_equal(decode(behind, 10_000).rgba, decode(before, 10_000).rgba)
    assert not np.array_equal(decode(behind, 10_000).rgba, decode(plain, 10_000).rgba)


def test_black_ink_has_the_colour_of_the_other_three() -> None:
    """So Chromium shows it: the profile is not asked for black."""
    fields = np.zeros((16, 32, 4), np.uint8)
    fields[:, :16, 3] = fields[:, 16:, :3] = 255
    buffer = io.BytesIO()
    profile = profiles.press(9, 0.03)
    Image.fromarray(fields, "CMYK").save(buffer, "JPEG", quality=100, icc_profile=profile)
    black, three = field_colours(buffer.getvalue())
    assert np.abs(black - three).max() <= 1
    assert black.max() < 100


def test_white_paper_of_hdr_has_half_of_the_range_and_the_peak_all_of_it() -> None:
    """203 nits by BT.2408; up to there it is linear, as in Chromium."""
    pq = np.array([[101, 148, 192, 255]], np.uint8)  # 30, 202, 1,000 and 10,000 nits
    shown = field_colours(png_of(pq, pngs.cicp(9, 16, 0, 1)))
    expected = srgb_encoded(np.array((0.076, 0.498, 1, 1)))
    assert np.abs(shown - expected[:, None]).max() <= 2
    hlg = np.array([[64, 128, 191, 255]], np.uint8)  # white paper is at 75 %
    shown = field_colours(png_of(hlg, pngs.cicp(9, 18, 0, 1)))
    expected = srgb_encoded(np.array((0.0240, 0.1262, 0.494, 1)))
    assert np.abs(shown - expected[:, None]).max() <= 2


@pytest.mark.parametrize("peak_nits", [203, 100])
def test_light_that_is_no_brighter_than_paper_is_shown_as_it_is(peak_nits: int) -> None:
    told = chunk(b"cLLI", struct.pack(">2I", peak_nits * 10_000, 0))
    pq = np.array([[101, 148]], np.uint8)
    shown = field_colours(png_of(pq, pngs.cicp(9, 16, 0, 1), told))
    assert np.abs(shown - srgb_encoded(np.array((0.152, 0.997)))[:, None]).max() <= 2
