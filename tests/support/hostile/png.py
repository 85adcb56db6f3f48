"""PNG: shapes, profiles, texts, chunks and frames."""

import random
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache

from tests.support.hostile.metadata import exif_shares, icc_pipeline
from tests.support.images import GREY, RGB, RGBA, chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = chunk(b"IEND", b"")
_CHANNELS = {GREY: 1, RGB: 3, RGBA: 4}


@cache
def _rows(row_bytes: int, rows: int, level: int = 0) -> bytes:
    """Compress rows of one level."""
    packer = zlib.compressobj(9)
    row, many = b"\0" + bytes([level]) * row_bytes, max(1, 2**16 // row_bytes)
    parts = [packer.compress(row * many) for _ in range(rows // many)]
    return b"".join([*parts, packer.compress(row * (rows % many)), packer.flush()])


def _picture(
    width: int,
    height: int,
    depth: int = 8,
    colour_type: int = RGB,
    *,
    level: int = 0,
    before: bytes = b"",
    pixels: bytes | None = None,
    interlaced: bool = False,
) -> bytes:
    header = struct.pack(">2I5B", width, height, depth, colour_type, 0, 0, interlaced)
    if pixels is None:
        row_bytes = (width * depth * _CHANNELS[colour_type] + 7) // 8
        pixels = chunk(b"IDAT", _rows(row_bytes, height, level))
    return b"".join((_SIGNATURE, chunk(b"IHDR", header), before, pixels, _END))


def _small(seed: int, before: bytes) -> bytes:
    return _picture(8, 8, level=seed % 256, before=before)


def _thin(width: int, height: int) -> Callable[[int], bytes]:
    def make(seed: int) -> bytes:
        level, less = seed % 8, seed // 8 % 1000  # so that few rows are packed anew
        if width > height:
            return _picture(width - less, height, 1, GREY, level=level)
        return _picture(width, height, 1, GREY, level=level, before=_note(less))

    return make


def _note(number: int) -> bytes:
    return chunk(b"tEXt", b"Comment\0" + str(number).encode())


@cache
def _adam7(width: int, height: int, pixel_bytes: int) -> bytes:
    """Compress black in seven passes."""
    starts_and_steps = (
        *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
        *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
    )
    total = 0
    for y, x, dy, dx in starts_and_steps:
        total += len(range(y, height, dy)) * (1 + pixel_bytes * len(range(x, width, dx)))
    return zlib.compress(bytes(total), 9)


def _interlaced(seed: int) -> bytes:
    pixels = chunk(b"IDAT", _adam7(2000, 2000, 8))
    before = _note(seed)
    return _picture(2000, 2000, 16, RGBA, pixels=pixels, before=before, interlaced=True)


@cache
def _packed(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _repeated_profiles(seed: int) -> bytes:
    one = chunk(b"iCCP", b"x\0\0" + _packed(2**20 - 1 - seed % 4096))
    return _small(seed, one * (2**22 // len(one)))


def _compressed_texts(seed: int) -> bytes:
    one = chunk(b"zTXt", b"x\0\0" + _packed(2**20 - 1 - seed % 4096))
    return _small(seed, one * 1000)


def _international_texts(seed: int) -> bytes:
    one = chunk(b"iTXt", b"x\0\1\0\0\0" + _packed(2**20 - 1 - seed % 4096))
    return _small(seed, one * 1000)


def _large_text(seed: int) -> bytes:
    return _small(seed, chunk(b"zTXt", b"x\0\0" + _packed(2**27)) * 3)


def _empty_chunks(seed: int) -> bytes:
    return _small(seed, _note(seed) + chunk(b"abCd", b"") * 1_000_000)


def _tiny_data_chunks(seed: int) -> bytes:
    pixels = b"".join(chunk(b"IDAT", bytes([byte])) for byte in _rows(30_000, 100, seed % 8))
    empty = chunk(b"IDAT", b"") * 12_000
    return _picture(10_000, 100, pixels=empty + pixels)


def _frames(seed: int) -> bytes:
    dice = random.Random(seed)
    count = dice.randrange(5_000, 10_000)
    first, frames, number = struct.pack(">I4I2H2B", 0, 8, 8, 0, 0, 1, 10, 0, 0), [], 1
    data = _rows(24, 8, seed % 256)
    for _ in range(count):
        frame = struct.pack(">I4I2H2B", number, 8, 8, 0, 0, 1, 10, dice.randrange(3), 0)
        frames += [chunk(b"fcTL", frame), chunk(b"fdAT", struct.pack(">I", number + 1) + data)]
        number += 2
    before = chunk(b"acTL", struct.pack(">2I", count, 0)) + chunk(b"fcTL", first)
    return _picture(8, 8, before=before, pixels=chunk(b"IDAT", data) + b"".join(frames))


def _bomb(seed: int) -> bytes:
    side = 10_000 + seed % 500
    pixels = chunk(b"IDAT", _rows(1_251, 10_000))
    return _picture(side, side, 1, GREY, pixels=pixels)


def _lie(seed: int) -> bytes:
    """As large as is allowed, without pixels."""
    side = 7_071 - seed % 50
    return _picture(side, side, 16, RGBA, pixels=chunk(b"IDAT", _packed(100)))


def _endless_data(seed: int) -> bytes:
    """Pixels for four, and a quarter of a gigabyte more of them."""
    return _picture(2, 2, before=_note(seed), pixels=chunk(b"IDAT", _packed(2**28)))


def _cut(seed: int) -> bytes:
    whole = _interlaced(seed)
    return whole[: random.Random(seed).randrange(20, len(whole))]


def _profile_bomb(seed: int) -> bytes:
    profile = zlib.compress(icc_pipeline(seed), 9)
    return _small(seed, chunk(b"iCCP", b"x\0\0" + profile))


def _exif(seed: int) -> bytes:
    return _small(seed, chunk(b"eXIf", exif_shares(seed, 2**20)))


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "thin-600000-high": _thin(1, 600_000),
    "thin-5000000-high": _thin(1, 5_000_000),
    "thin-5000000-wide": _thin(5_000_000, 1),
    "thin-3-by-2000000": _thin(3, 2_000_000),
    "icc-pipeline": _profile_bomb,
    "icc-repeated": _repeated_profiles,
    "compressed-texts": _compressed_texts,
    "international-texts": _international_texts,
    "large-text": _large_text,
    "million-chunks": _empty_chunks,
    "tiny-data-chunks": _tiny_data_chunks,
    "exif-shares": _exif,
    "interlaced-16-bit": _interlaced,
    "thousands-of-frames": _frames,
    "100-megapixels": _bomb,
    "no-pixels": _lie,
    "endless-data": _endless_data,
    "cut": _cut,
}
