import io

import numpy as np
import pytest
from PIL import Image

from tests.fakes import make_image
from webhook.errors import ImageTooLarge, UnsupportedImage
from webhook.imaging import decode, encode_png

MAX_PIXELS = 1_000_000


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_each_format_is_decoded_whatever_the_name_of_its_object(file_format: str) -> None:
    image = decode(make_image((40, 30), file_format), MAX_PIXELS)
    assert image.rgb.shape == (30, 40, 3)
    assert image.rgb.dtype == np.uint8
    assert image.alpha is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(make_image((9, 7), file_format, mode), MAX_PIXELS).rgb.shape == (7, 9, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_the_sources_own_transparency_is_kept_apart(mode: str) -> None:
    image = decode(make_image((9, 7), "PNG", mode), MAX_PIXELS)
    assert image.alpha is not None
    assert image.alpha.shape == (7, 9)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), MAX_PIXELS).rgb[0, :, 0].tolist() == [0, 0x80, 0xFF]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:, :8, 0] = 255  # left half red: mirrored or turned, it would be elsewhere
    upright[:4, :, 1] = 255  # upper half green
    turn = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(turn)).save(buffer, "PNG", exif=exif)
    assert np.array_equal(decode(buffer.getvalue(), MAX_PIXELS).rgb, upright)


def test_broken_exif_does_not_cost_a_good_picture() -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(make_image())).save(buffer, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff")
    assert decode(buffer.getvalue(), MAX_PIXELS).rgb.shape == (30, 40, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"<svg/>", bytes(1000)],
    ids=repr,
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        decode(data, MAX_PIXELS)


@pytest.mark.parametrize("file_format", ["BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(UnsupportedImage, match="no JPEG, PNG, GIF or WEBP"):
        decode(make_image((9, 7), file_format), MAX_PIXELS)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_file_is_refused(file_format: str) -> None:
    data = make_image((64, 64), file_format)
    with pytest.raises(UnsupportedImage, match="damaged"):
        decode(data[: len(data) // 2], MAX_PIXELS)


def test_too_many_pixels_are_refused_by_the_header() -> None:
    header_only = make_image((100, 100))[:50]
    with pytest.raises(ImageTooLarge, match="100 × 100"):
        decode(header_only, max_pixels=9_999)


def test_a_png_comes_back_as_it_was_and_says_srgb() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (13, 7, 4), np.uint8)
    png = encode_png(rgba)
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), rgba)
    assert b"sRGB" in png
    assert b"eXIf" not in png
