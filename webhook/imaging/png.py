"""Rows to a PNG, RGBA or grey: strips, filtered and deflated apart, joined into one zlib stream.

Knows pixels and the file format, not mattes. The format: W3C, Portable Network Graphics (third
edition); zlib and deflate: RFC 1950, RFC 1951.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 4: 6}  # by the bytes of a pixel: grey, RGBA
_RENDERING_INTENT_PERCEPTUAL = b"\x00"
_FILTER_SUB, _FILTER_UP = 1, 2
_SAMPLED_EVERY = 16  # rows
_IN_FAVOUR_OF_UP = 1.2  # at the same distance deflate finds more repetitions in its rows
_LONGEST_PART_PX = 2**19  # of a strip that is a single row: it may have fifty million

_ZLIB_HEADER = b"\x78\x01"  # a window of 32 KiB, the fastest level
_LAST_BLOCK = b"\x03\x00"  # an empty deflate block that says it is the last one
_LEVEL = 1  # ISA-L's own scale, 0 to 3: 2 and 3 cost double and gain 1 %
_RAW_DEFLATE = -15
_MEMORY_LEVEL = 9
_ADLER_MODULUS = 65521


@dataclass(frozen=True, slots=True)
class EncodedStrip:
    """Some rows of the file, ready to be written.

    Attributes:
        chunk: one whole IDAT chunk; its deflate data ends on a byte and refers to no other strip.
        adler: Adler-32 of the filtered rows.
        size_bytes: of the filtered rows.
    """

    chunk: bytes
    adler: int
    size_bytes: int


def encode_strip(pixels: NDArray[np.uint8]) -> EncodedStrip:
    """Encode uint8 (rows, W, 4), straight alpha, or grey (rows, W, 1), as a part of a PNG."""
    deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE, _MEMORY_LEVEL)
    parts, adler, size_bytes = [], 1, 0
    for filtered in _filtered_parts(pixels):
        parts.append(deflate.compress(filtered))
        adler = isal_zlib.adler32(filtered, adler)
        size_bytes += filtered.size
    parts.append(deflate.flush(isal_zlib.Z_SYNC_FLUSH))
    return EncodedStrip(_chunk(b"IDAT", *parts), adler, size_bytes)


def assemble_png(
    width: int, height: int, strips: Sequence[EncodedStrip], bytes_per_pixel: int = 4
) -> bytes:
    """Join the strips of a picture, from top to bottom, to a PNG that says sRGB, no more."""
    # Depth, colour type, three standard methods.
    kind = struct.pack(">5B", 8, _COLOUR_TYPES[bytes_per_pixel], 0, 0, 0)
    adler = 1
    for strip in strips:
        adler = _combine_adler(adler, strip)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">2I", width, height) + kind),
            _chunk(b"sRGB", _RENDERING_INTENT_PERCEPTUAL),
            _chunk(b"IDAT", _ZLIB_HEADER),
            *(strip.chunk for strip in strips),
            _chunk(b"IDAT", _LAST_BLOCK + struct.pack(">I", adler)),
            _chunk(b"IEND", b""),
        )
    )


def encode_png(rgba: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W, 4), straight alpha, in one strip."""
    height, width = rgba.shape[:2]
    return assemble_png(width, height, [encode_strip(rgba)])


def _filtered_parts(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Filter a strip, at once or, if it is one long row, in parts."""
    height, width = pixels.shape[:2]
    if height > 1 or width <= _LONGEST_PART_PX:
        yield _filtered(pixels)
        return
    yield _filtered(pixels[:, :_LONGEST_PART_PX])
    row = pixels[0]
    for start in range(_LONGEST_PART_PX, width, _LONGEST_PART_PX):
        part = row[start : start + _LONGEST_PART_PX]
        yield part - row[start - 1 : start - 1 + len(part)]


def _filtered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn pixels into differences, each row after the byte that says to which neighbour.

    The left or the upper one, whichever is nearer on a sample of the strip's rows. All five
    filters, chosen row by row, would save a few percent of the size at several times the work.
    """
    height, width, pixel_bytes = pixels.shape
    rows = pixels.reshape(height, width * pixel_bytes)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    # The row above the first one belongs to another strip, which may not be finished.
    upwards_from = 1 if _nearer_above(rows, pixel_bytes) else height
    left, up = rows[:upwards_from], rows[upwards_from:]
    filtered[:upwards_from, 0] = _FILTER_SUB
    filtered[:upwards_from, 1 : 1 + pixel_bytes] = left[:, :pixel_bytes]
    np.subtract(
        left[:, pixel_bytes:],
        left[:, :-pixel_bytes],
        out=filtered[:upwards_from, 1 + pixel_bytes :],
    )
    filtered[upwards_from:, 0] = _FILTER_UP
    np.subtract(up, rows[upwards_from - 1 : -1], out=filtered[upwards_from:, 1:])
    return filtered


def _nearer_above(rows: NDArray[np.uint8], pixel_bytes: int) -> bool:
    here, above = rows[1::_SAMPLED_EVERY], rows[:-1:_SAMPLED_EVERY]
    from_above = here - above
    from_left = here[:, pixel_bytes:] - here[:, :-pixel_bytes]
    return _distance(from_above) < _IN_FAVOUR_OF_UP * _distance(from_left)


def _distance(differences: NDArray[np.uint8]) -> int:
    # As signed bytes: 255 is as near as 1.
    return int(np.minimum(differences, -differences).sum(dtype=np.uint32))


def _combine_adler(adler: int, strip: EncodedStrip) -> int:
    """Return the checksum of what `adler` stands for, followed by the strip."""
    low, high = adler & 0xFFFF, adler >> 16
    # Both sums of a strip start from 1 and 0: shifted by what came before, they go on from it.
    new_low = (low + (strip.adler & 0xFFFF) - 1) % _ADLER_MODULUS
    new_high = (high + (strip.adler >> 16) + strip.size_bytes * (low - 1)) % _ADLER_MODULUS
    return new_high << 16 | new_low


def _chunk(name: bytes, *data: bytes) -> bytes:
    size_bytes, checksum = 0, isal_zlib.crc32(name)
    for part in data:
        size_bytes += len(part)
        checksum = isal_zlib.crc32(part, checksum)
    return b"".join((struct.pack(">I", size_bytes), name, *data, struct.pack(">I", checksum)))
