import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging.png import assemble_png, encode_png, encode_strip

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


def picture(height: int, width: int, kind: str) -> NDArray[np.uint8]:
    if kind == "clear":
        return np.zeros((height, width, 4), np.uint8)
    if kind == "opaque":
        return np.full((height, width, 4), 255, np.uint8)
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 4), np.uint8)


def encoded_in_strips(rgba: NDArray[np.uint8], rows: int) -> bytes:
    strips = [encode_strip(rgba[top : top + rows]) for top in range(0, len(rgba), rows)]
    return assemble_png(rgba.shape[1], rgba.shape[0], strips)


@given(
    size=SIZES,
    kind=st.sampled_from(["clear", "opaque", "noise"]),
    rows_per_strip=st.integers(1, 70),
)
@settings(max_examples=150, deadline=None)
def test_every_picture_comes_back_bit_by_bit(
    size: tuple[int, int], kind: str, rows_per_strip: int
) -> None:
    rgba = picture(*size, kind)
    png = encoded_in_strips(rgba, rows_per_strip)
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), rgba)


@pytest.mark.parametrize("rows_per_strip", [1, 100, 500])
def test_the_joined_stream_is_a_whole_zlib_stream(rows_per_strip: int) -> None:
    rgba = picture(500, 301, "noise")  # more than the checksum's modulus, more than one window
    png = encoded_in_strips(rgba, rows_per_strip)
    data = b"".join(body for name, body in chunks(png) if name == b"IDAT")
    decompressor = zlib.decompressobj()
    rows = decompressor.decompress(data)  # it compares the Adler-32
    assert len(rows) == 500 * (1 + 4 * 301)
    assert decompressor.eof
    assert not decompressor.unused_data


@pytest.mark.parametrize("size", [(1, 1_200_000), (1_200_000, 1)], ids=str)
def test_a_row_or_a_column_comes_back_bit_by_bit(size: tuple[int, int]) -> None:
    rgba = picture(*size, "noise")
    with Image.open(io.BytesIO(encoded_in_strips(rgba, 500_000))) as image:
        assert np.array_equal(np.asarray(image), rgba)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position < len(png):
        size = int.from_bytes(png[position : position + 4], "big")
        found.append((png[position + 4 : position + 8], png[position + 8 : position + 8 + size]))
        position += 12 + size
    return found


@pytest.mark.parametrize("axis", [0, 1], ids=["upright stripes", "level stripes"])
def test_pixels_are_told_by_the_nearer_neighbour(axis: int) -> None:
    stripes = np.broadcast_to(
        np.expand_dims(np.random.default_rng(2).integers(0, 256, (200, 4), np.uint8), axis),
        (200, 200, 4),
    )
    png = encode_png(np.ascontiguousarray(stripes))
    assert len(png) < 6_000  # 160,000 bytes; by the other neighbour they would stay as they are
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), stripes)


def test_a_png_says_srgb_and_carries_no_metadata() -> None:
    names = [name for name, _ in chunks(encode_png(picture(5, 5, "noise")))]
    assert list(dict.fromkeys(names)) == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]
