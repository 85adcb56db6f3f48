"""A pixel takes as much memory as the settings say, in every format and in every shape."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    GREY,
    PALETTE,
    RGBA,
    cmyk_profile_with_orange_cyan,
    noise,
    png,
    rgb_profile,
    saved,
)
from tests.support.memory import Cost, measuring
from webhook.imaging.renditions import pixels_to_grant
from webhook.recipes import parse_renditions
from webhook.settings import Settings

SIDE = 3200  # an array of so many pixels is given back to the system at once
THIN_PX = 4_000_000
FIXED_BYTES = 32 * 2**20
"""What each picture takes besides: the strips that threads have in hand, the network's input."""

WIDE: dict[str, Any] = {"icc_profile": rgb_profile(DISPLAY_P3_PRIMARIES, 2.2)}
INKS: dict[str, Any] = {"icc_profile": cmyk_profile_with_orange_cyan()}
PROGRESSIVE: dict[str, Any] = {"progressive": True, "subsampling": 0}
LOSSLESS: dict[str, Any] = {"lossless": True, "method": 0, "quality": 0, "exact": True}
SIXTEEN_COLOURS: dict[str, Any] = {"palette": bytes(range(48)), "transparency": b"\x00\x80"}


def documented_bytes_per_pixel() -> int:
    told = Settings.model_fields["max_pixels_in_flight"].description
    found = re.search(r"up to (\d+) bytes", told or "")
    assert found
    return int(found[1])


def enlarged(levels: NDArray[Any], times: int) -> NDArray[Any]:
    return levels.repeat(times, axis=0).repeat(times, axis=1)


def picture(channels: int) -> NDArray[np.uint8]:
    """Return a picture that a file describes in few bytes."""
    return enlarged(noise((SIDE // 8, SIDE // 8, channels)).astype(np.uint8), 8)


def written(colour_type: int, depth: int, channels: int, **how: Any) -> bytes:
    levels = noise((SIDE // 8, SIDE // 8, channels), 2**depth).astype(np.uint16)
    return png(enlarged(levels, 8), depth, colour_type, **how)


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(picture(3), "JPEG"),
    "jpeg-progressive": lambda: saved(picture(3), "JPEG", **PROGRESSIVE),
    "jpeg-cmyk-progressive": lambda: saved(picture(3), "JPEG", "CMYK", progressive=True, **INKS),
    "png-16-bit-interlaced": partial(written, RGBA, 16, 4, interlaced=True),
    "png-grey-16-bit-transparency": partial(written, GREY, 16, 1, transparency=b"\x00\x07"),
    "png-palette-transparency": partial(written, PALETTE, 4, 1, **SIXTEEN_COLOURS),
    "gif": lambda: saved(picture(3), "GIF"),
    "webp-alpha": lambda: saved(picture(4), "WEBP", method=0),
    "webp-lossless-alpha": lambda: saved(picture(4), "WEBP", **LOSSLESS),
    "webp-converted": lambda: saved(picture(3), "WEBP", method=0, **WIDE),
}


Measure = Callable[..., Cost]


@pytest.fixture(scope="module")
def measure() -> Iterator[Measure]:
    with measuring() as measure:
        yield measure


@pytest.mark.parametrize("name", FILES)
def test_a_pixel_takes_no_more_than_is_documented(measure: Measure, name: str) -> None:
    cost = measure(FILES[name]())
    assert cost.pixels == SIDE * SIDE
    assert cost.grown_bytes < documented_bytes_per_pixel() * cost.pixels + FIXED_BYTES


@pytest.mark.parametrize("height", [1, 2, THIN_PX // 2, THIN_PX])
def test_a_pixel_of_a_thin_picture_takes_no_more(measure: Measure, height: int) -> None:
    cost = measure(png(noise((height, THIN_PX // height, 4)), 8, RGBA))
    assert cost.pixels == THIN_PX
    assert cost.grown_bytes < documented_bytes_per_pixel() * cost.pixels + FIXED_BYTES
    assert cost.cpu_s < 8  # it takes less than 1


@pytest.mark.parametrize(
    "renditions",
    [
        "a.png a.webp",
        "a.webp?quality=lossless",
        "a.avif",
        "a.png?max=1900 b.png?crop=subject&max=700",
    ],
)
def test_renditions_take_no_more_than_is_asked_for(measure: Measure, renditions: str) -> None:
    shape = (1500, 2000, 3)
    cost = measure(saved(noise(shape).astype(np.uint8), "JPEG"), renditions)
    granted = pixels_to_grant(parse_renditions(renditions), cost.pixels)
    assert cost.grown_bytes < documented_bytes_per_pixel() * granted + FIXED_BYTES


@pytest.mark.parametrize(
    ("file_format", "shape", "how"),
    [
        ("JPEG", (1, 65_500, 3), {}),
        ("JPEG", (65_500, 1, 3), PROGRESSIVE),
        ("GIF", (65_535, 1, 3), {}),
        ("WEBP", (16_383, 1, 3), {}),
        ("WEBP", (1, 16_383, 3), LOSSLESS),
    ],
    ids=["jpeg", "jpeg-progressive", "gif", "webp", "webp-lossless"],
)
def test_the_longest_picture_of_a_format_takes_next_to_nothing(
    measure: Measure, file_format: str, shape: tuple[int, ...], how: dict[str, Any]
) -> None:
    cost = measure(saved(np.full(shape, 90, np.uint8), file_format, **how))
    assert cost.pixels == max(shape)
    assert cost.grown_bytes < FIXED_BYTES
    assert cost.cpu_s < 2
