"""JPEG: segments by the million, scans, metadata in pieces, kinds that decoders do not know."""

import io
import random
import struct
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from PIL import Image

from tests.support.hostile.metadata import exif_shares, icc_pipeline
from tests.support.images import SCAN, noise, progressive_jpeg, saved, with_scans

_START, _END, _FRAME = b"\xff\xd8", b"\xff\xd9", b"\xff\xc0"


@cache
def _photo(width: int = 8, height: int = 8) -> bytes:
    return saved(noise((height, width, 3)).astype(np.uint8), "JPEG")


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">2BH", 0xFF, marker, len(data) + 2) + data


def _comment(seed: int) -> bytes:
    return _segment(0xFE, str(seed).encode())


def _with(seed: int, segments: bytes, photo: bytes | None = None) -> bytes:
    photo = photo or _photo()
    return b"".join((_START, _comment(seed), segments, photo[2:]))


def _pipeline(seed: int) -> bytes:
    image, file = Image.new("RGB", (8, 8), (seed % 256, 0, 0)), io.BytesIO()
    image.save(file, "JPEG", icc_profile=icc_pipeline(seed))
    return file.getvalue()


def _exif_pieces(seed: int) -> bytes:
    size = 1_400 - seed % 100
    return _with(seed, _segment(0xE1, b"Exif\0\0" + bytes(size)) * 12_000)


def _exif_shares(seed: int) -> bytes:
    return _with(seed, _segment(0xE1, b"Exif\0\0" + exif_shares(seed)))


def _exif_shares_in_pieces(seed: int) -> bytes:
    data = exif_shares(seed, 2**22)
    pieces = (data[start : start + 65_000] for start in range(0, len(data), 65_000))
    return _with(seed, b"".join(_segment(0xE1, b"Exif\0\0" + piece) for piece in pieces))


def _profile_pieces(seed: int) -> bytes:
    piece = bytes([seed % 256]) * 65_000
    numbers = (struct.pack("BB", number, 255) for number in range(255, 0, -1))
    pieces = (_segment(0xE2, b"ICC_PROFILE\0" + number + piece) for number in numbers)
    return _with(seed, b"".join(pieces))


def _resources(seed: int) -> bytes:
    """Photoshop's blocks, thousands in each of hundreds of segments."""
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", 0)
    return _with(seed, _segment(0xED, b"Photoshop 3.0\0" + block * 5_000) * 100)


def _tables(seed: int) -> bytes:
    return _with(seed, _segment(0xDB, b"\0" + bytes(range(1, 65))) * 40_000)


def _padding(seed: int) -> bytes:
    return _START + _comment(seed) + b"\xff" * 8_000_000 + _photo()[2:]


def _comments(seed: int) -> bytes:
    return _with(seed, b"\xff\xfe\0\2" * 2_000_000)


@cache
def _scans(side: int, count: int) -> bytes:
    return with_scans(progressive_jpeg(side), count)


def _endless_scans(seed: int) -> bytes:
    return _with(seed, b"", _scans(2_000, 25_000))


def _allowed_scans(seed: int) -> bytes:
    return _with(seed, b"", _scans(2_000, 50))


def _markers_between_scans(seed: int) -> bytes:
    picture = _scans(600, 30)
    return _with(seed, b"", picture[:-2] + b"\xff\xfe\0\2" * 500_000 + SCAN * 60)


def _arithmetic(seed: int) -> bytes:
    return _with(seed, b"", _photo(64, 64).replace(_FRAME, b"\xff\xc9", 1))


def _twelve_bits(seed: int) -> bytes:
    place = _photo(64, 64).index(_FRAME)
    photo = bytearray(_photo(64, 64))
    photo[place + 1 : place + 5] = b"\xc1\0\x11\x0c"
    return _with(seed, b"", bytes(photo))


def _lossless(seed: int) -> bytes:
    return _with(seed, b"", _photo(64, 64).replace(_FRAME, b"\xff\xc3", 1))


def _resized(seed: int, width: int, height: int) -> bytes:
    photo = bytearray(_photo())
    place = photo.index(_FRAME) + 5
    photo[place : place + 4] = struct.pack(">2H", height, width)
    return _with(seed, b"", bytes(photo))


def _lie(seed: int) -> bytes:
    """Four megapixels, of which 64 pixels are there."""
    return _resized(seed, 2_000, 2_000 - seed % 50)


def _thin(seed: int) -> bytes:
    return _resized(seed, 1, 65_500 - seed % 100)


def _too_large(seed: int) -> bytes:
    return _resized(seed, 65_500, 65_500 - seed % 100)


@cache
def _two_frames() -> bytes:
    frames = [Image.fromarray(noise((64, 64, 3), seed=n).astype(np.uint8)) for n in range(2)]
    file = io.BytesIO()
    frames[0].save(file, "MPO", save_all=True, append_images=frames[1:])
    return file.getvalue()


def _mpo(seed: int) -> bytes:
    data = _two_frames()
    return data[:2] + _comment(seed) + data[2:]


def _mpo_of_thousands(seed: int) -> bytes:
    """Return thousands of frames that are all the first one."""
    count = 4_000 - seed % 100
    entries = struct.pack("<4I", 0x030000, 100, 0, 0) * count
    table = struct.pack("<H", 3)
    table += struct.pack("<2HI4s", 0xB000, 7, 4, b"0100")
    table += struct.pack("<2H2I", 0xB001, 4, 1, count)
    table += struct.pack("<2H2I", 0xB002, 7, len(entries), 8 + 2 + 36 + 4) + bytes(4)
    return _with(seed, _segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + table + entries))


def _cut(seed: int) -> bytes:
    whole = _photo(640, 480)
    return whole[: random.Random(seed).randrange(20, len(whole))]


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "icc-pipeline": _pipeline,
    "icc-pieces": _profile_pieces,
    "exif-pieces": _exif_pieces,
    "exif-shares": _exif_shares,
    "exif-shares-in-pieces": _exif_shares_in_pieces,
    "resources": _resources,
    "tables": _tables,
    "padding": _padding,
    "comments": _comments,
    "25000-scans": _endless_scans,
    "50-scans": _allowed_scans,
    "markers-between-scans": _markers_between_scans,
    "arithmetic": _arithmetic,
    "12-bit": _twelve_bits,
    "lossless": _lossless,
    "no-pixels": _lie,
    "thin": _thin,
    "4-gigapixels": _too_large,
    "mpo": _mpo,
    "mpo-of-thousands": _mpo_of_thousands,
    "cut": _cut,
}
