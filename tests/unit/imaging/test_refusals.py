"""Which files are served and which refused, and the words of a refusal."""

import io
import re
import struct

import numpy as np
import pytest
from PIL import Image

from tests.support.images import saved
from tests.support.pictures import Outcome, all_specimens, gifs, jpegs, pngs, webps
from tests.support.pictures.specimen import large_photo
from webhook.errors import ImageRejected, UnsupportedImage
from webhook.imaging import decode, probe

MAX_PIXELS = 1_000_000
PHOTO = np.ascontiguousarray(large_photo())


def refusal(data: bytes) -> str:
    with pytest.raises(UnsupportedImage) as caught:
        decode(data, MAX_PIXELS)
    return str(caught.value)


def test_all_pixels_are_served_and_parts_refused() -> None:
    """How the served ones look, tests/browser/test_pictures.py compares with Chromium."""
    wrong = []
    for specimen in all_specimens():
        try:
            image = decode(specimen.data, MAX_PIXELS)
        except ImageRejected:
            is_served = False
        else:
            is_served = True
            height, width = image.rgba.shape[:2]
            assert probe(specimen.data, MAX_PIXELS) == height * width
        if is_served == (specimen.outcome in (Outcome.NEITHER, Outcome.REFUSED)):
            wrong.append(specimen.name)
    assert wrong == []


def iso(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + b"\0\0\0\x08mdat" + bytes(200)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (iso(b"heic", b"mif1", b"heic"), "HEIC"),
        (iso(b"heix"), "HEIC"),
        (iso(b"mif1", b"heic"), "HEIC"),
        (iso(b"mif1", b"avif", b"miaf"), "AVIF"),
        (iso(b"avif"), "AVIF"),
        (iso(b"avis"), "AVIF"),
        (iso(b"qt  "), "QuickTime"),
        (iso(b"isom", b"mp42"), "MP4"),
        (iso(b"crx "), "raw"),
        (saved(PHOTO, "BMP"), "BMP"),
        (saved(PHOTO, "TIFF"), "TIFF"),
        (b"MM\0*" + bytes(100), "TIFF"),
        (saved(PHOTO, "PPM"), "Netpbm"),
        (saved(PHOTO, "JPEG2000"), "JPEG 2000"),
        (saved(PHOTO, "ICO"), "ICO"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (b"8BPS\0\1" + bytes(50), "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg viewBox="0 0 1 1"></svg>', "SVG"),
        (b"<svg/>", "SVG"),
        (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "XML"),
        (b'{"error": "not found"}', "JSON"),
        (b"not a photograph\n" * 20, "text"),
        ("Bild fehlt: Größe".encode(), "text"),
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "WebM"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(50), "AVI"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_refusal_names_what_the_file_is(data: bytes, name: str) -> None:
    words = refusal(data)
    assert re.search(rf"\b{name}\b", words)
    assert "no JPEG, PNG, GIF or WEBP image" in words


@pytest.mark.parametrize("data", [b"\0" * 100, b"BM\1\2", bytes(range(256))], ids=repr)
def test_what_can_not_be_named_is_refused_all_the_same(data: bytes) -> None:
    assert refusal(data) == "The file is no JPEG, PNG, GIF or WEBP image."


def test_kinds_of_the_formats_that_are_not_read_are_named() -> None:
    twelve = bytearray(jpegs.PLAIN.replace(b"\xff\xc0", b"\xff\xc1"))
    twelve[twelve.index(b"\xff\xc1") + 4] = 12
    assert "12-bit JPEG" in refusal(bytes(twelve))
    assert "lossless" in refusal(jpegs.PLAIN.replace(b"\xff\xc0", b"\xff\xc3"))
    of_a_phone = pngs.PLAIN[:8] + b"\0\0\0\4CgBI" + bytes(8) + pngs.PLAIN[8:]
    assert "CgBI" in refusal(of_a_phone)


@pytest.mark.parametrize("how", [{}, {"subsampling": 0}, {"mode": "L"}], ids=str)
def test_a_jpeg_without_its_last_bytes_is_served_as_libjpeg_does(how: dict[str, object]) -> None:
    whole = saved(PHOTO, "JPEG", quality=90, **how)  # type: ignore[arg-type]
    expected = decode(whole, MAX_PIXELS).rgba
    for cut in (1, 2):
        assert np.array_equal(decode(whole[:-cut], MAX_PIXELS).rgba, expected)
    for cut in (3, 10, 30):
        image = decode(whole[:-cut], MAX_PIXELS).rgba
        by_libjpeg = Image.open(io.BytesIO(whole[:-cut] + b"\xff\xd9")).convert("RGBA")
        assert np.array_equal(image, np.asarray(by_libjpeg))
        assert np.array_equal(image[:-18], expected[:-18])


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_progressive_jpeg_without_its_last_bytes_is_served(cut: int) -> None:
    whole = saved(PHOTO, "JPEG", quality=90, progressive=True)
    difference = decode(whole[:-cut], MAX_PIXELS).rgba.astype(int) - decode(whole, MAX_PIXELS).rgba
    assert (difference != 0).any(axis=2).mean() < 0.03


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_words_say_how_many_rows_of_a_jpeg_are_there(mode: str) -> None:
    whole = saved(PHOTO, "JPEG", mode, quality=90)
    scan = whole.index(b"\xff\xda")
    for share in (0.1, 0.5, 0.8):
        words = refusal(whole[: int(scan + share * (len(whole) - scan))])
        found = re.search(r"the JPEG ends after (\d+) % of its rows", words)
        assert found is not None
        assert abs(int(found[1]) / 100 - share) < 0.25  # whole rows of blocks count


def test_the_words_say_what_a_progressive_jpeg_lacks() -> None:
    whole = saved(PHOTO, "JPEG", quality=90, progressive=True)
    assert re.search(r"\d+ % of its detail", refusal(whole[: len(whole) // 2]))


def test_a_profile_does_not_let_half_a_jpeg_pass() -> None:
    whole = jpegs.insert(jpegs.exif_segment(6), data=jpegs.inks())
    assert "of its rows" in refusal(whole[: len(whole) // 2])


def test_the_words_say_how_much_of_other_files_is_there() -> None:
    png = saved(PHOTO, "PNG")
    assert re.search(r"the PNG ends after [45]\d % of its pixels", refusal(png[: len(png) // 2]))
    webp = webps.LOSSLESS
    assert f"the WEBP has 50 of its {len(webp)} bytes" in refusal(webp[:50])
    gif = gifs.gif(8, 8, gifs.frame(0, 0, 8, 8))
    assert "the first frame of the GIF is broken or ends early" in refusal(gif[:-20])
    assert "the GIF ends before its first frame" in refusal(gif[:26])


def test_a_png_without_its_last_rows_is_refused_even_if_its_stream_is_sound() -> None:
    for specimen in pngs.specimens():
        if "rows than told" in specimen.name and specimen.outcome is Outcome.REFUSED:
            assert re.search(r"the PNG ends after [56]\d % of its pixels", refusal(specimen.data))


def test_a_jpeg_that_is_broken_behind_its_last_row_is_served() -> None:
    whole = decode(jpegs.PLAIN, MAX_PIXELS).rgba
    scan = jpegs.PLAIN[jpegs.PLAIN.index(b"\xff\xda") : -2]
    for broken in (b"\xff\x1e\0\4ab", scan):
        data = jpegs.insert(broken, data=jpegs.PLAIN, at=len(jpegs.PLAIN) - 2)
        assert np.array_equal(decode(data, MAX_PIXELS).rgba, whole)


def test_a_jpeg_that_is_broken_between_its_rows_is_refused() -> None:
    photo = saved(PHOTO, "JPEG", quality=90)
    table = photo.index(b"\xff\xc4")
    in_vain = photo[:table] + b"\xff\xc4\0\x15\0" + b"\xff" * 16 + photo[table:]
    assert re.search(r"the JPEG is broken after 0 % of its rows", refusal(in_vain))


@pytest.mark.parametrize("height", [96, 90, 89, 49])
@pytest.mark.parametrize(
    "how", [{}, {"subsampling": 0}, {"subsampling": 1}, {"mode": "L"}], ids=str
)
def test_a_jpeg_without_an_end_is_served_if_its_last_blocks_have_begun(
    how: dict[str, object], height: int
) -> None:
    whole = saved(PHOTO[:height], "JPEG", quality=90, **how)  # type: ignore[arg-type]
    expected = decode(whole, MAX_PIXELS).rgba
    block_rows = 8 if how else 16
    last_blocks = (height - 1) // block_rows * block_rows
    served = []
    for cut in range(2, len(whole) - whole.index(b"\xff\xda") - 30, 130):
        data = whole[:-cut]
        with_end = np.asarray(Image.open(io.BytesIO(data + b"\xff\xd9")).convert("RGBA"))
        # Beyond the first block, and the row that takes colours from above, it is grey or begun.
        rest = with_end[last_blocks + 1 :, 2 * block_rows :]
        try:
            image = decode(data, MAX_PIXELS).rgba
        except UnsupportedImage:
            assert (rest == (128, 128, 128, 255)).all()
        else:
            assert np.array_equal(image, with_end)
            assert np.array_equal(image[: last_blocks - 2], expected[: last_blocks - 2])
            served.append(cut)
    assert served
    assert max(served) < len(whole) / 2
