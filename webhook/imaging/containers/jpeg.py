"""JPEG: the tables, the frame and the scans; of the metadata, orientation and colour profile."""

import re
import struct
from dataclasses import dataclass, field

from webhook.errors import UnsupportedImage
from webhook.imaging.containers.exif import orientation
from webhook.imaging.containers.picture import (
    MAX_PIECES,
    MAX_PROFILE_BYTES,
    Colours,
    Picture,
    damaged,
    too_many_pieces,
)

# Like libjpeg: what is no marker is skipped, and any number of 0xFF may stand before one.
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_STANDS_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_TABLES = frozenset((0xC4, 0xCC, 0xDB, 0xDD))  # Huffman, arithmetic, quantisation, restarts
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))
_RARE_FRAMES = frozenset((0xC3, *range(0xC5, 0xC8), 0xCB, *range(0xCD, 0xD0), 0xF7))
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_NAMELESS = frozenset((*range(0xE0, 0xF0), 0xFE, 0xDC))  # application segments, comments, DNL

_COLOURS: dict[int, Colours] = {1: "grey", 3: "colour", 4: "inks"}
_MAX_TABLES = 1_000
_COEFFICIENTS = 64  # of a block
_LITTLE = 256 * 1024  # so much metadata is read over; more of it is left out, which takes a copy


def is_jpeg(data: bytes) -> bool:
    """Tell by the signature."""
    return data[:3] == b"\xff\xd8\xff"


@dataclass(slots=True)
class _Header:
    """What is collected before the first scan."""

    kept: list[bytes | memoryview] = field(default_factory=lambda: [b"\xff\xd8"])
    size: tuple[int, int] | None = None
    colours: Colours = "colour"
    block_rows: int = 8
    exif: bytes | None = None
    profile_pieces: list[bytes] = field(default_factory=list)
    has_jfif: bool = False
    adobe: bytes | None = None
    is_odd: bool = False


def read_jpeg(data: bytes) -> Picture:
    """Walk through the segments before the first scan.

    Raises:
        UnsupportedImage: they are broken, or of a kind of JPEG that is not read.
    """
    header = _Header()
    scan = _read_header(data, header)
    if header.size is None:
        raise damaged("the JPEG has no frame header")
    kept_bytes = sum(len(part) for part in header.kept)
    # Which kind of colours it has is told by these, too: libjpeg reads them.
    if header.adobe is not None:
        header.kept.insert(1, header.adobe)
    if header.has_jfif:
        header.kept.insert(1, b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0")
    is_complete = data.rfind(b"\xff\xd9", scan) >= 0
    end = [] if is_complete else [b"\xff\xd9"]
    return Picture(
        "JPEG",
        header.size,
        header.colours,
        [*header.kept, memoryview(data)[scan:], *end],
        header.size,
        orientation=1 if header.exif is None else orientation(header.exif),
        profile=_profile(header.profile_pieces),
        is_clean=is_complete and not header.is_odd and scan - kept_bytes < _LITTLE,
        is_complete=is_complete,
        block_rows=header.block_rows,
    )


def _read_header(data: bytes, header: _Header) -> int:
    """Collect the header's segments; return where the first scan begins."""
    view, position = memoryview(data), 2
    for _ in range(MAX_PIECES):
        marker = _MARKER.search(data, position)
        if marker is None:
            break
        kind, start, position = marker[1][0], marker.start(), marker.end()
        if kind == _START_OF_SCAN:
            return start
        if kind == _END_OF_IMAGE:
            raise damaged("the JPEG has no pixels")
        if kind in _STANDS_ALONE:
            continue
        told = data[position : position + 2]
        length = int.from_bytes(told, "big")
        header.is_odd |= length < 2
        end = position + max(2, length)
        if len(told) < 2 or end > len(data):
            break
        if kind in _TABLES or kind in _FRAMES or kind in _RARE_FRAMES:
            if kind not in _TABLES:
                _read_frame(kind, data[position + 2 : end], header)
            header.kept.append(view[start:end])
            if len(header.kept) > _MAX_TABLES:
                raise damaged("the JPEG has more tables than any camera writes")
        elif kind in _NAMELESS:
            _read_metadata(kind, data, position + 2, end, header)
        else:
            raise damaged(f"the JPEG has an unknown segment, 0x{kind:02X}")
        position = end
    else:
        raise too_many_pieces()
    raise damaged("the JPEG ends before its first row")


def _read_frame(kind: int, body: bytes, header: _Header) -> None:
    if header.size is not None:
        raise damaged("the JPEG has two frame headers")
    if len(body) < 6:
        raise damaged("the frame header of the JPEG is too short")
    precision, height, width, components = struct.unpack_from(">B2HB", body)
    if kind in _RARE_FRAMES:
        raise UnsupportedImage("The file is a lossless or hierarchical JPEG, which is not read.")
    if precision != 8:
        raise UnsupportedImage(
            f"The file is a {precision}-bit JPEG; only those of 8 bits are read."
        )
    if components not in _COLOURS:
        raise UnsupportedImage(f"The JPEG has {components} colour channels, not 1, 3 or 4.")
    if not width * height:
        raise damaged("the JPEG has no pixels")
    header.size, header.colours = (width, height), _COLOURS[components]
    header.block_rows = 8 * max((sampling & 0x0F for sampling in body[7::3]), default=1)


def _read_metadata(kind: int, data: bytes, start: int, end: int, header: _Header) -> None:
    head = data[start : min(end, start + 14)]
    if kind == 0xE0:
        is_jfif = head[:5] == b"JFIF\0"
        header.has_jfif |= is_jfif and len(head) == 14  # libjpeg overlooks a shorter one
        header.is_odd |= (is_jfif and len(head) < 14) or not head
    elif kind == 0xEE and head[:5] == b"Adobe" and len(head) >= 12:
        header.adobe = b"\xff\xee\0\x0e" + head[:12]
    elif kind == 0xE1 and head[:5] == b"Exif\0" and len(head) >= 6:
        if header.exif is None:  # the first counts, whatever it says: as in browsers
            header.exif = data[start + 6 : end]
    elif kind == 0xE2 and head[:12] == b"ICC_PROFILE\0" and len(head) == 14:
        if len(header.profile_pieces) <= 0xFF:
            header.profile_pieces.append(data[start + 12 : end])
    else:
        header.is_odd |= end - start < 2  # Pillow stumbles over some


def _profile(pieces: list[bytes]) -> bytes | None:
    """Put a profile together (ICC.1:2022, B.4); like browsers take the first of each number."""
    if not pieces:
        return None
    count = pieces[0][1]
    by_number: dict[int, bytes] = {}
    for piece in pieces:
        if piece[1] != count:
            return None
        by_number.setdefault(piece[0], piece[2:])
    if not count or sorted(by_number) != list(range(1, count + 1)):
        return None
    return b"".join(by_number[number] for number in range(1, count + 1))[: MAX_PROFILE_BYTES + 1]


def detail_share(clean: bytes) -> float | None:
    """Return how much of the detail the scans of a JPEG bring, 0 to 1; None for a single scan.

    A picture in several scans has all its rows soon, and comes into focus scan by scan. The last
    scan counts as a whole: what it lacks at the end of a file is invisible.
    """
    share: dict[int, list[float]] = {}
    is_progressive = False
    position = 2
    while marker := _MARKER.search(clean, position):
        kind, position = marker[1][0], marker.end()
        if kind in _STANDS_ALONE or kind == _END_OF_IMAGE:
            continue
        length = max(2, int.from_bytes(clean[position : position + 2], "big"))
        body = clean[position + 2 : position + length]
        if kind in _FRAMES:
            is_progressive = kind in _PROGRESSIVE
            share = {identifier: [0.0] * _COEFFICIENTS for identifier in body[6::3]}
        elif kind == _START_OF_SCAN and len(body) >= 4 + 2 * body[0]:
            of_scan = body[1 : 1 + 2 * body[0] : 2]
            first, last, approximation = body[1 + 2 * body[0] :][:3]
            if not is_progressive:
                if len(of_scan) == len(share):
                    return None
                first, last, approximation = 0, _COEFFICIENTS - 1, 0
            for identifier in of_scan:
                known = share.get(identifier, [])
                # Each bit that is still to come halves what is known.
                part = [0.5 ** (approximation & 0x0F)] * (last + 1 - first)
                known[first : last + 1] = part[: len(known[first : last + 1])]
        position += length
    everything = [part for known in share.values() for part in known]
    return sum(everything) / len(everything) if everything else 0.0
