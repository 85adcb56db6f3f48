import io
from typing import Any

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from numpy.typing import NDArray
from PIL import Image

from tests.support.fakes import make_image
from tests.support.images import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    chunk,
    gif_with_offset_frame,
    noise,
    png,
    saved,
)
from tests.support.pictures import gifs, jpegs, pngs
from webhook.errors import ImageTooLarge, UnsupportedImage
from webhook.imaging import decode, probe

MAX_PIXELS = 1_000_000
SMOOTH = np.asarray(Image.linear_gradient("L").resize((40, 30)))
PHOTO = np.dstack((SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]))


Pixels = NDArray[np.uint8]


def rgb_of(data: bytes) -> Pixels:
    image = decode(data, MAX_PIXELS)
    assert not image.has_alpha
    assert (image.rgba[:, :, 3] == 255).all()
    return image.rgba[:, :, :3]


@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}], ids=str
)
def test_a_jpeg_has_the_pixels_of_libjpeg(how: dict[str, Any]) -> None:
    data = saved(PHOTO, "JPEG", quality=92, **how)
    assert np.array_equal(rgb_of(data), np.asarray(Image.open(io.BytesIO(data))))


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    data = saved(PHOTO, "JPEG", "L", quality=95)
    assert np.array_equal(rgb_of(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_probe_tells_the_pixels_and_refuses_what_decoding_refuses(file_format: str) -> None:
    data = saved(PHOTO, file_format)
    assert probe(data, 1200) == 40 * 30
    with pytest.raises(ImageTooLarge):
        probe(data, 1199)
    with pytest.raises(UnsupportedImage):
        probe(data[:6], 1200)


def inks() -> Pixels:
    """Return one field of each ink of 16 × 16 pixels, and one of paper."""
    fields = np.zeros((16, 80, 4), np.uint8)
    for ink in range(4):
        fields[:, 16 * ink : 16 * ink + 16, ink] = 255
    return fields


@pytest.mark.parametrize("transform", ["CMYK", "YCCK"])
def test_a_cmyk_jpeg_of_adobes_kind_has_the_inks_colours(transform: str) -> None:
    if transform == "CMYK":
        data = _cmyk_jpeg()
    else:
        data = simplejpeg.encode_jpeg(255 - inks(), 100, "CMYK", "444")
        assert simplejpeg.decode_jpeg_header(data)[2] == "YCCK"
    fields = rgb_of(data)[8, 8::16].astype(int)
    expected = [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0), (255, 255, 255)]
    assert np.abs(fields - expected).max() <= 3


def _cmyk_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(inks(), "CMYK").save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_png_is_scaled_to_eight_bits(depth: int, interlaced: bool) -> None:
    levels = noise((9, 13, 1), 2**depth)
    levels[0, :2, 0] = 0, 2**depth - 1
    expected = levels >> 8 if depth == 16 else levels * 255 // (2**depth - 1)
    actual = rgb_of(png(levels, depth, GREY, interlaced=interlaced))
    assert np.array_equal(actual, np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_clear_grey_of_a_png_is_clear(depth: int) -> None:
    levels = noise((9, 13, 1), 2**depth)
    clear = int(levels[4, 4, 0])
    image = decode(png(levels, depth, GREY, transparency=clear.to_bytes(2, "big")), MAX_PIXELS)
    assert image.has_alpha
    assert np.array_equal(image.rgba[:, :, 3] == 0, levels[:, :, 0] == clear)


@pytest.mark.parametrize("depth", [8, 16])
def test_the_clear_colour_of_a_png_is_clear(depth: int) -> None:
    levels = noise((9, 13, 3), 2**depth)
    transparency = levels[4, 4].astype(">u2").tobytes()
    image = decode(png(levels, depth, RGB, transparency=transparency), MAX_PIXELS)
    clear = (levels == levels[4, 4]).all(axis=2)
    assert np.array_equal(image.rgba[:, :, 3] == 0, clear)
    assert np.array_equal(image.rgba[~clear][:, :3], (levels >> depth - 8)[~clear])


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_png_has_its_palettes_colours_and_alphas(depth: int, interlaced: bool) -> None:
    colours = noise((2**depth, 3))
    alphas = np.full(2**depth, 255)
    alphas[:2] = 0, 100
    indices = noise((9, 13, 1), 2**depth)
    data = png(
        indices,
        depth,
        PALETTE,
        palette=colours.astype(np.uint8).tobytes(),
        transparency=bytes(alphas[:2].tolist()),
        interlaced=interlaced,
    )
    expected = np.concatenate((colours, alphas[:, None]), axis=1)
    expected[0] = 0  # hidden
    assert np.array_equal(decode(data, MAX_PIXELS).rgba, expected[indices[:, :, 0]])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour_type", [RGB, GREY_ALPHA, RGBA], ids=["RGB", "LA", "RGBA"])
def test_deep_and_transparent_pngs_keep_colours_and_alpha(depth: int, colour_type: int) -> None:
    channels = {RGB: 3, GREY_ALPHA: 2, RGBA: 4}[colour_type]
    levels = noise((9, 13, channels), 2**depth)
    levels[0, 0] = 0
    expected = levels >> depth - 8
    if colour_type == GREY_ALPHA:
        expected = expected[:, :, [0, 0, 0, 1]]
    if colour_type == RGB:
        expected = np.dstack((expected, np.full((9, 13), 255)))
    expected[expected[:, :, 3] == 0] = 0
    assert np.array_equal(decode(png(levels, depth, colour_type), MAX_PIXELS).rgba, expected)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    first, second = (Image.new("RGB", (12, 8), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    buffer = io.BytesIO()
    how = {"lossless": True} if file_format == "WEBP" else {}
    first.save(buffer, file_format, save_all=True, append_images=[second], **how)
    assert (rgb_of(buffer.getvalue()) == (255, 0, 0)).all()


def test_a_gifs_transparent_colour_is_clear() -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1, 2, 1])
    buffer = io.BytesIO()
    picture.save(buffer, "GIF", transparency=1)
    image = decode(buffer.getvalue(), MAX_PIXELS)
    clear = (0, 0, 0, 0)
    assert image.rgba[0].tolist() == [[0, 0, 0, 255], [*clear], [0, 255, 0, 255], [*clear]]


def test_what_a_gifs_first_frame_leaves_uncovered_is_clear() -> None:
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[1:3, 1:3] = (255, 0, 0, 255)
    assert np.array_equal(decode(gif_with_offset_frame(), MAX_PIXELS).rgba, expected)


def test_a_lossless_webp_keeps_colours_and_alpha() -> None:
    rgba = noise((9, 13, 4)).astype(np.uint8)
    rgba[0, 0, 3] = 0
    data = saved(rgba, "WEBP", lossless=True, exact=True)
    rgba[rgba[:, :, 3] == 0] = 0
    assert np.array_equal(decode(data, MAX_PIXELS).rgba, rgba)


def test_a_lossy_webp_is_decoded() -> None:
    assert np.abs(rgb_of(saved(PHOTO, "WEBP", quality=90)).astype(int) - PHOTO).mean() < 4


def test_an_alpha_channel_that_is_opaque_throughout_is_none() -> None:
    assert not decode(saved(np.full((3, 3, 4), 255, np.uint8), "PNG"), MAX_PIXELS).has_alpha


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int, file_format: str) -> None:
    upright = np.zeros((80, 160, 3), np.uint8)
    upright[:, :80, 0] = 255  # left half red: mirrored or turned, it would be elsewhere
    upright[:40, :, 1] = 255  # upper half green
    stored = {
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
    data = saved(np.ascontiguousarray(stored), file_format, exif=exif, quality=100)
    assert np.abs(rgb_of(data).astype(int) - upright).mean() < 2


def test_a_webp_is_not_turned_as_browsers_do_not_turn_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(PHOTO, "WEBP", exif=exif, lossless=True)
    assert np.array_equal(rgb_of(turned), rgb_of(saved(PHOTO, "WEBP", lossless=True)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif",
    [b"Exif\x00\x00MM\x00*\xff\xff", b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff", b"\x00", b""],
    ids=["offset beyond", "count beyond", "no header", "empty"],
)
def test_broken_exif_does_not_cost_a_good_picture(exif: bytes) -> None:
    assert rgb_of(saved(PHOTO, "JPEG", exif=exif)).shape == PHOTO.shape


def test_an_orientation_outside_of_the_standard_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    assert rgb_of(saved(PHOTO, "JPEG", exif=exif)).shape == PHOTO.shape


def test_a_jpeg_with_stray_bytes_between_markers_is_decoded_as_libjpeg_does() -> None:
    data = saved(PHOTO, "JPEG")
    scan = data.index(b"\xff\xda")
    stray = data[:scan] + b"\x00\x00" + data[scan:]
    assert np.array_equal(rgb_of(stray), rgb_of(data))


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


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn an upright picture the way EXIF says that a file stores it."""
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (2, 5000), (5000, 2)], ids=str)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_thin_picture_is_turned_upright(
    file_format: str, orientation: int, shape: tuple[int, int]
) -> None:
    stored = noise((*shape, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = decode(saved(stored, file_format), MAX_PIXELS).rgba
    upright = decode(saved(stored, file_format, exif=exif), MAX_PIXELS).rgba
    assert np.array_equal(turned(upright, orientation), plain)


@pytest.mark.parametrize("shape", [(1, 600_000), (600_000, 1), (2, 300_000)], ids=str)
def test_a_picture_of_any_shape_is_decoded_in_parts(shape: tuple[int, int]) -> None:
    levels = noise((*shape, 1), 65536)
    transparent = int(levels[-1, -1, 0])
    data = png(levels, 16, GREY, transparency=transparent.to_bytes(2, "big"))
    image = decode(data, MAX_PIXELS)
    clear = levels == transparent
    expected = np.where(clear, 0, levels >> 8)
    assert image.has_alpha
    assert np.array_equal(image.rgba[:, :, :3], expected.repeat(3, axis=2))
    assert np.array_equal(image.rgba[:, :, 3:], np.where(clear, 0, 255))


def test_a_short_segment_does_not_cost_a_jpeg() -> None:
    whole = decode(jpegs.PLAIN, MAX_PIXELS).rgba
    for marker in (*range(0xE0, 0xF0), 0xFE):
        for body in (b"", b"J", b"JFIF\0", b"Exif\0", b"ICC_PROFILE\0", b"Adobe"):
            short = jpegs.insert(jpegs.segment(marker, body))
            assert np.array_equal(decode(short, MAX_PIXELS).rgba, whole)


@pytest.mark.parametrize("name", [b"tEXt", b"gAMA", b"cHRM", b"iCCP", b"tRNS", b"eXIf", b"pHYs"])
def test_a_broken_chunk_that_is_not_critical_does_not_cost_a_png(name: bytes) -> None:
    whole = decode(pngs.PLAIN, MAX_PIXELS).rgba
    for body in (b"", b"\0", bytes(31), bytes(200)):
        wrong = pngs.insert(pngs.PLAIN, pngs.broken(chunk(name, body)))
        assert np.array_equal(decode(wrong, MAX_PIXELS).rgba, whole)


def test_a_wrong_checksum_does_not_cost_a_png_whose_pixels_are_there() -> None:
    whole = decode(pngs.PLAIN, MAX_PIXELS).rgba
    body = pngs.pixels_of(pngs.PLAIN)
    for damaged in (body[:-4] + b"abcd", body[:-4], body[:-2], body + b"junk"):
        assert np.array_equal(decode(pngs.with_pixels(pngs.PLAIN, damaged), MAX_PIXELS).rgba, whole)
    assert np.array_equal(decode(pngs.PLAIN[:-12], MAX_PIXELS).rgba, whole)


def test_an_animation_begins_with_its_first_frame_not_with_a_hidden_picture() -> None:
    hidden = next(it for it in pngs.specimens() if "default picture hidden" in it.name)
    assert (rgb_of(hidden.data) == (0, 0, 255)).all()
    small = next(it for it in pngs.specimens() if it.name.endswith("first frame small"))
    expected = np.zeros((32, 40, 4), np.uint8)
    expected[4:12, 10:18] = (0, 0, 255, 255)
    assert np.array_equal(decode(small.data, MAX_PIXELS).rgba, expected)


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (4, 0)], ids=str)
def test_an_empty_frame_leaves_a_gif_clear(size: tuple[int, int]) -> None:
    image = decode(gifs.gif(8, 6, gifs.frame(0, 0, *size, [])), MAX_PIXELS)
    assert image.has_alpha
    assert image.rgba.shape == (6, 8, 4)
    assert not image.rgba.any()


def test_an_index_beyond_the_palette_has_the_palettes_last_colour() -> None:
    indices = np.arange(16).reshape(4, 4, 1)
    data = png(indices, 4, PALETTE, palette=bytes((0, 0, 0, 9, 8, 7)), transparency=b"\0\x80")
    expected = np.full((4, 4, 4), (9, 8, 7, 128))
    expected[0, 0] = 0
    assert np.array_equal(decode(data, MAX_PIXELS).rgba, expected)


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize("size", [(1, 1), (700, 900), (1, 60_000)], ids=str)
def test_black_pixels_are_not_taken_for_missing_ones(
    size: tuple[int, int], interlaced: bool
) -> None:
    data = png(np.zeros((*size, 3), int), 8, RGB, interlaced=interlaced)
    assert not rgb_of(data).any()
    body = pngs.pixels_of(data)
    without_checksum = pngs.with_pixels(data, body[:-4] + b"abcd")
    assert not rgb_of(without_checksum).any()
