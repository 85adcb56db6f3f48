"""WEBP: a still image, or the first frame of an animation, as a file of its own."""

import struct
from collections.abc import Iterator

from webhook.imaging.containers.picture import (
    MAX_PIECES,
    MAX_PROFILE_BYTES,
    Picture,
    damaged,
    too_many_pieces,
)

_ANIMATION, _ALPHA, _PROFILE = 0x02, 0x10, 0x20  # flags of VP8X
_Chunk = tuple[bytes, memoryview]


def is_webp(data: bytes) -> bool:
    """Tell by the signature."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read_webp(data: bytes) -> Picture:
    """Find what makes up the first picture.

    Browsers turn no WEBP by its EXIF, and convert an animation by no profile.

    Raises:
        UnsupportedImage: it is cut short, or its parts don't fit together.
    """
    try:
        return _read_webp(data)
    except (IndexError, struct.error) as exc:
        raise damaged("a part of the WEBP is too short") from exc


def _read_webp(data: bytes) -> Picture:
    (told,) = struct.unpack_from("<I", data, 4)
    if told + 8 > len(data):
        raise damaged(f"the WEBP has {len(data):,} of its {told + 8:,} bytes")
    chunks = list(_chunks(memoryview(data)[12 : told + 8]))
    if not chunks:
        raise damaged("the WEBP is empty")
    name, body = chunks[0]
    if name in (b"VP8 ", b"VP8L"):
        size = _bitstream_size(name, body)
        return Picture("WEBP", size, "colour", _still(size, chunks[:1], has_alpha=True), size)
    if name != b"VP8X":
        raise damaged("the WEBP begins with no picture")
    flags, canvas = body[0], (_uint24(body, 4) + 1, _uint24(body, 7) + 1)
    if flags & _ANIMATION:
        return _first_frame(canvas, chunks)
    size, parts = _picture(chunks, has_alpha=bool(flags & _ALPHA))
    if size != canvas:
        raise damaged("the sizes of the WEBP's canvas and picture differ")
    profile = None
    if flags & _PROFILE:
        found = (bytes(body[: MAX_PROFILE_BYTES + 1]) for name, body in chunks if name == b"ICCP")
        profile = next(found, None)
    return Picture("WEBP", size, "colour", parts, size, profile=profile)


def _first_frame(canvas: tuple[int, int], chunks: list[_Chunk]) -> Picture:
    names = [name for name, _ in chunks]
    if b"ANIM" not in names or b"ANMF" not in names:
        raise damaged("the WEBP animation has no frame")
    body = chunks[names.index(b"ANMF")][1]
    left, top = 2 * _uint24(body, 0), 2 * _uint24(body, 3)
    size, parts = _picture(list(_chunks(body[16:])), has_alpha=True)
    if left + size[0] > canvas[0] or top + size[1] > canvas[1]:
        raise damaged("the WEBP animation's first frame does not fit its canvas")
    return Picture("WEBP", canvas, "colour", parts, size, (left, top))


def _picture(
    chunks: list[_Chunk], *, has_alpha: bool
) -> tuple[tuple[int, int], list[bytes | memoryview]]:
    """Return the first picture's size, and a clean file that holds it."""
    alpha: list[_Chunk] = []
    for name, body in chunks:
        if name == b"ALPH" and not alpha:
            alpha = [(name, body)]
        elif name in (b"VP8 ", b"VP8L"):
            size = _bitstream_size(name, body)
            return size, _still(size, [*alpha, (name, body)], has_alpha=has_alpha)
    raise damaged("the WEBP has no picture")


def _still(
    size: tuple[int, int], chunks: list[_Chunk], *, has_alpha: bool
) -> list[bytes | memoryview]:
    """Put a still WEBP together; an alpha channel apart from the colours needs a header."""
    name, body = chunks[-1]
    parts: list[bytes | memoryview] = []
    if name == b"VP8 " and len(chunks) > 1 and has_alpha:
        header = struct.pack("<I", _ALPHA) + b"".join(
            struct.pack("<I", side - 1)[:3] for side in size
        )
        parts += [*_chunk(b"VP8X", header), *_chunk(*chunks[0])]
    parts += _chunk(name, body)
    length = 4 + sum(len(part) for part in parts)
    return [b"RIFF", struct.pack("<I", length), b"WEBP", *parts]


def _chunk(name: bytes, body: bytes | memoryview) -> list[bytes | memoryview]:
    return [name, struct.pack("<I", len(body)), body, bytes(len(body) % 2)]


def _chunks(body: memoryview) -> Iterator[_Chunk]:
    position = pieces = 0
    while position + 8 <= len(body):
        name, length = struct.unpack_from("<4sI", body, position)
        end = position + 8 + length
        if end > len(body):
            raise damaged("a part of the WEBP is longer than the file")
        yield name, body[position + 8 : end]
        position = end + length % 2
        pieces += 1
        if pieces > MAX_PIECES:
            raise too_many_pieces()


def _bitstream_size(name: bytes, body: memoryview) -> tuple[int, int]:
    """Return width and height by the header of the pixels (RFC 9649, 2.5, 3.4; RFC 6386, 9.1)."""
    if name == b"VP8L":
        signature, bits = struct.unpack_from("<BI", body)
        if signature == 0x2F:
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif bytes(body[3:6]) == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<2H", body, 6)
        if width & 0x3FFF and height & 0x3FFF:
            return width & 0x3FFF, height & 0x3FFF
    raise damaged("the WEBP's picture has no header")


def _uint24(body: memoryview, position: int) -> int:
    low, high = struct.unpack_from("<HB", body, position)
    return int(low | high << 16)
