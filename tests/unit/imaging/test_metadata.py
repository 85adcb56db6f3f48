"""What stands in a file beside its pixels: it costs neither the picture nor time."""

import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from PIL import Image

from tests.support.images import chunk, png, saved
from tests.support.pictures import gifs, jpegs, pngs, profiles, webps
from tests.support.pictures.specimen import PHOTO
from webhook.errors import ImageRejected, ImageTooLarge
from webhook.imaging import decode, probe

MAX_PIXELS = 50_000_000
BOUND_S = 2.0  # of a core; the files below took several, or minutes


def cpu_seconds(data: bytes) -> float:
    started = time.thread_time()
    for step in (probe, decode):
        with suppress(ImageRejected):
            step(data, MAX_PIXELS)
    return time.thread_time() - started


def exif_in_thousands_of_pieces() -> bytes:
    return jpegs.insert(jpegs.segment(0xE1, b"Exif\0\0" + bytes(1_000)) * 12_000)


def profile_pieces_without_number() -> bytes:
    return jpegs.insert(jpegs.profile_segment(bytes(60_000)) * 255)


def profiles_that_repeat() -> bytes:
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000), 9))
    return pngs.insert(pngs.PLAIN, bomb * 80)


def texts_that_inflate() -> bytes:
    bomb = zlib.compress(bytes(50_000_000), 9)
    as_text = chunk(b"zTXt", b"a\0\0" + bomb) + chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)
    return pngs.insert(pngs.PLAIN, as_text * 50)


def comments_by_the_million() -> bytes:
    return gifs.gif(8, 8, b"!\xfe\1a\0" * 1_000_000, gifs.frame(0, 0, 8, 8))


def one_comment_of_a_million_blocks() -> bytes:
    return gifs.gif(8, 8, b"!\xfe" + b"\1a" * 5_000_000 + b"\0", gifs.frame(0, 0, 8, 8))


def application_blocks_by_the_million() -> bytes:
    return gifs.gif(8, 8, b"!\xff\1a\0" * 1_000_000, gifs.frame(0, 0, 8, 8))


def parts_by_the_million() -> bytes:
    parts = webps.part(b"abcd", b"") * 1_000_000
    return webps.riff(webps.header(0x10), parts, webps.LOSSLESS[12:])


def a_large_xmp() -> bytes:
    xmp = webps.part(b"XMP ", bytes(30_000_000))
    return webps.riff(webps.header(0x04), webps.LOSSLESS[12:], xmp)


def pixels_without_end(*, interlaced: bool = False) -> bytes:
    deflater = zlib.compressobj(9)
    ten_megabytes = deflater.compress(bytes(10_000_000)) + deflater.flush(zlib.Z_FULL_FLUSH)
    endless = ten_megabytes[:2] + ten_megabytes[2:] * 500
    plain = png(np.zeros((8, 8, 3), int), 8, 2, interlaced=interlaced)
    return pngs.with_pixels(plain, endless)


def interlaced_pixels_without_end() -> bytes:
    return pixels_without_end(interlaced=True)


HOSTILE: list[Callable[[], bytes]] = [
    exif_in_thousands_of_pieces,
    profile_pieces_without_number,
    profiles_that_repeat,
    texts_that_inflate,
    comments_by_the_million,
    one_comment_of_a_million_blocks,
    application_blocks_by_the_million,
    parts_by_the_million,
    a_large_xmp,
    pixels_without_end,
    interlaced_pixels_without_end,
]


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_metadata_is_bounded_before_anything_is_made_of_it(make: Callable[[], bytes]) -> None:
    assert cpu_seconds(make()) < BOUND_S


@pytest.mark.parametrize("make", [exif_in_thousands_of_pieces, texts_that_inflate])
def test_an_odd_amount_of_metadata_does_not_cost_the_picture(make: Callable[[], bytes]) -> None:
    assert decode(make(), MAX_PIXELS).rgba.shape == (32, 40, 4)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_profile_with_a_pipeline_is_used_without_it(file_format: str) -> None:
    wide = profiles.display(profiles.para(0, 2.2))
    profile = profiles.with_pipeline(4_000)
    data = saved(PHOTO, file_format, icc_profile=profile, quality=100, lossless=True)
    assert cpu_seconds(data) < BOUND_S
    plain = saved(PHOTO, file_format, icc_profile=wide, quality=100, lossless=True)
    image = decode(data, MAX_PIXELS)
    assert image.ignored_profile is None
    assert np.array_equal(image.rgba, decode(plain, MAX_PIXELS).rgba)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_profile_that_is_too_large_is_left_aside(file_format: str) -> None:
    profile = profiles.display(profiles.para(0, 2.2)) + bytes(5 * 2**20)
    data = saved(PHOTO, file_format, icc_profile=profile, quality=100, lossless=True)
    image = decode(data, MAX_PIXELS)
    assert np.abs(image.rgba[:, :, :3].astype(int) - PHOTO).mean() < 2
    assert image.ignored_profile is not None
    assert "larger" in image.ignored_profile.reason


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
@pytest.mark.parametrize("screen", [1, 65_535])
def test_a_gif_of_four_gigapixels_is_refused_by_its_header(disposal: int, screen: int) -> None:
    control = bytes((disposal << 2 | 1, 0, 0, 0))
    huge = gifs.frame(0, 0, 65_535, 65_535, control=control, pixels=b"\2\0")
    data = gifs.gif(screen, screen, huge)
    for step in (probe, decode):
        with pytest.raises(ImageTooLarge, match="65535 × 65535"):
            step(data, MAX_PIXELS)


def test_a_frame_outside_of_a_gifs_canvas_counts() -> None:
    data = gifs.gif(8, 8, gifs.frame(60_000, 60_000, 8, 8))
    with pytest.raises(ImageTooLarge):
        probe(data, MAX_PIXELS)


def test_an_animation_of_a_png_is_as_large_as_its_canvas() -> None:
    data = png(np.zeros((10, 10, 3), int), 8, 2)
    with pytest.raises(ImageTooLarge):
        probe(data, 99)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_where_memory_ends_the_image_is_too_large(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", no_memory)
    monkeypatch.setattr(Image, "open", no_memory)
    with pytest.raises(ImageTooLarge, match="memory"):
        decode(saved(PHOTO, file_format), MAX_PIXELS)


def test_the_first_of_several_exif_blocks_counts() -> None:
    data = jpegs.insert(jpegs.exif_segment(3), jpegs.exif_segment(6))
    upright = decode(jpegs.PLAIN, MAX_PIXELS).rgba
    assert np.array_equal(decode(data, MAX_PIXELS).rgba, upright[::-1, ::-1])


TURNED_BY_OTHERS = {
    "a PNG's text": pngs.insert(
        pngs.PLAIN,
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n26\n" + pngs.exif(6).hex().encode()),
    ),
    "a PNG's XMP": pngs.insert(
        pngs.PLAIN, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='6'/>")
    ),
    "a JPEG's XMP": jpegs.insert(
        jpegs.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>")
    ),
}


@pytest.mark.parametrize("data", TURNED_BY_OTHERS.values(), ids=TURNED_BY_OTHERS)
def test_nothing_but_exif_turns_a_picture(data: bytes) -> None:
    assert decode(data, MAX_PIXELS).rgba.shape == (32, 40, 4)
