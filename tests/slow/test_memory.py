"""A pixel takes as much memory as the settings say, in every format and in every shape."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    cmyk_profile_with_orange_cyan,
    noise,
    png,
    rgb_profile,
    saved,
)
from tests.support.memory import measure
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
    "jpeg-grey": lambda: saved(picture(3), "JPEG", "L"),
    "jpeg-progressive": lambda: saved(picture(3), "JPEG", **PROGRESSIVE),
    "jpeg-converted": lambda: saved(picture(3), "JPEG", **WIDE),
    "jpeg-cmyk": lambda: saved(picture(3), "JPEG", "CMYK", **INKS),
    "jpeg-cmyk-progressive": lambda: saved(picture(3), "JPEG", "CMYK", progressive=True, **INKS),
    "png": lambda: saved(picture(3), "PNG"),
    "png-noise": lambda: saved(noise((SIDE, SIDE, 4)).astype(np.uint8), "PNG", compress_level=1),
    "png-converted": lambda: saved(picture(3), "PNG", **WIDE),
    "png-interlaced": partial(written, RGB, 8, 3, interlaced=True),
    "png-16-bit-interlaced": partial(written, RGBA, 16, 4, interlaced=True),
    "png-grey-1-bit": partial(written, GREY, 1, 1),
    "png-grey-16-bit": partial(written, GREY, 16, 1),
    "png-grey-16-bit-transparency": partial(written, GREY, 16, 1, transparency=b"\x00\x07"),
    "png-grey-alpha": partial(written, GREY_ALPHA, 8, 2),
    "png-palette-transparency": partial(written, PALETTE, 4, 1, **SIXTEEN_COLOURS),
    "gif": lambda: saved(picture(3), "GIF"),
    "webp": lambda: saved(picture(3), "WEBP", method=0),
    "webp-alpha": lambda: saved(picture(4), "WEBP", method=0),
    "webp-lossless": lambda: saved(picture(3), "WEBP", **LOSSLESS),
    "webp-lossless-alpha": lambda: saved(picture(4), "WEBP", **LOSSLESS),
    "webp-converted": lambda: saved(picture(3), "WEBP", method=0, **WIDE),
}


@pytest.mark.parametrize("name", FILES)
def test_a_pixel_takes_no_more_than_is_documented(name: str) -> None:
    cost = measure(FILES[name]())
    assert cost.pixels == SIDE * SIDE
    print(
        "FIG",
        name,
        cost.grown_bytes / cost.pixels,
        (cost.grown_bytes - 16 * cost.pixels) / 2**20,
        cost.cpu_s,
    )
    assert cost.grown_bytes < documented_bytes_per_pixel() * cost.pixels + FIXED_BYTES


THIN: dict[str, Callable[[int, int], bytes]] = {
    "rgba": lambda height, width: png(noise((height, width, 4)), 8, RGBA),
    "interlaced": lambda height, width: png(noise((height, width, 3)), 8, RGB, interlaced=True),
    "grey-16-bit-transparency": lambda height, width: png(
        noise((height, width, 1), 65536), 16, GREY, transparency=b"\x00\x07"
    ),
}


@pytest.mark.parametrize("thickness", [1, 2])
@pytest.mark.parametrize("lies", [True, False], ids=["lying", "standing"])
@pytest.mark.parametrize("name", THIN)
def test_a_pixel_of_a_thin_picture_takes_no_more(name: str, lies: bool, thickness: int) -> None:
    length = THIN_PX // thickness
    data = THIN[name](thickness, length) if lies else THIN[name](length, thickness)
    cost = measure(data)
    assert cost.pixels == THIN_PX
    print(
        "FIG",
        name,
        lies,
        thickness,
        cost.grown_bytes / cost.pixels,
        (cost.grown_bytes - 16 * cost.pixels) / 2**20,
        cost.cpu_s,
    )
    assert cost.grown_bytes < documented_bytes_per_pixel() * cost.pixels + FIXED_BYTES
    assert cost.cpu_s < 8  # it takes less than 1


@pytest.mark.parametrize("lies", [True, False], ids=["lying", "standing"])
@pytest.mark.parametrize(
    ("file_format", "length", "how"),
    [
        ("JPEG", 65_500, {}),
        ("JPEG", 65_500, PROGRESSIVE),
        ("GIF", 65_535, {}),
        ("WEBP", 16_383, {}),
        ("WEBP", 16_383, LOSSLESS),
    ],
    ids=["jpeg", "jpeg-progressive", "gif", "webp", "webp-lossless"],
)
def test_the_longest_picture_of_a_format_takes_next_to_nothing(
    file_format: str, length: int, how: dict[str, Any], lies: bool
) -> None:
    shape = (1, length, 3) if lies else (length, 1, 3)
    cost = measure(saved(np.full(shape, 90, np.uint8), file_format, **how))
    assert cost.pixels == length
    assert cost.grown_bytes < FIXED_BYTES
    assert cost.cpu_s < 2
