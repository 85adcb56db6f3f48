"""PNG and APNG: the pixels, what they mean, and nothing else; wrong checksums are read over."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from webhook.errors import UnsupportedImage
from webhook.imaging import profiles
from webhook.imaging.containers.exif import orientation
from webhook.imaging.containers.picture import (
    MAX_PIECES,
    MAX_PROFILE_BYTES,
    Picture,
    damaged,
    too_many_pieces,
)
from webhook.imaging.hdr import TRANSFERS, HdrColours

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_DEPTHS = {
    **dict.fromkeys((_RGB, _GREY_ALPHA, _RGBA), (8, 16)),
    _GREY: (1, 2, 4, 8, 16),
    _PALETTE: (1, 2, 4, 8),
}
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_ADAM7 = (  # first column and row, step right and down
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_USED = {  # name: allowed lengths
    b"tRNS": range(1, 257),
    b"cICP": range(4, 5),
    b"iCCP": range(4, 2**31),
    b"cLLI": range(8, 9),
    b"mDCV": range(24, 25),
    b"sRGB": range(1, 2),
    b"gAMA": range(4, 5),
    b"cHRM": range(32, 33),
    b"eXIf": range(8, 2**31),
    b"acTL": range(8, 9),
    b"fcTL": range(26, 27),
}
_PIECE_BYTES = 256 * 1024
_BEHIND_PIXELS = 8 + 4 + 12  # in a clean file: their chunk's head and checksum, and IEND


def is_png(data: bytes) -> bool:
    """Tell by the signature."""
    return data[:8] == SIGNATURE


@dataclass(frozen=True, slots=True)
class _Header:
    """IHDR."""

    width: int
    height: int
    depth: int
    colour_type: int
    is_interlaced: bool

    def packed(self) -> bytes:
        """Return the chunk's body."""
        return struct.pack(
            ">2I5B", self.width, self.height, self.depth, self.colour_type, 0, 0, self.is_interlaced
        )


@dataclass(slots=True)
class _Parts:
    """What is collected: bodies by the names of chunks, and the pixels' pieces."""

    header: _Header
    ancillary: dict[bytes, bytes] = field(default_factory=dict)
    palette: bytes = b""
    pixels: list[memoryview] = field(default_factory=list)
    frame_size: tuple[int, int] = (0, 0)
    frame_at: tuple[int, int] = (0, 0)


def read_png(data: bytes) -> Picture:
    """Walk through the chunks, to the end of the first picture.

    Chunks that are ancillary and broken are left out, as browsers do.

    Raises:
        UnsupportedImage: what is critical is broken or missing.
    """
    chunks = _chunks(data)
    parts = _Parts(_header(data, chunks))
    parts.frame_size = parts.header.width, parts.header.height
    after = _read_to_pixels(data, chunks, parts)
    if _is_animated(parts) and b"fcTL" not in parts.ancillary:
        _read_first_frame(data, chunks, after, parts)
    hdr = _hdr(parts.ancillary)
    profile, spare_profile = _profiles(parts.ancillary) if hdr is None else (None, None)
    return Picture(
        "PNG",
        (parts.header.width, parts.header.height),
        "grey" if parts.header.colour_type in (_GREY, _GREY_ALPHA) else "colour",
        list(_clean(parts)),
        parts.frame_size,
        parts.frame_at,
        orientation=orientation(parts.ancillary.get(b"eXIf", b"")),
        profile=profile,
        spare_profile=spare_profile,
        hdr=hdr,
    )


_Chunk = tuple[bytes, int, int]  # its name, where its body begins and ends


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks; the last one's end may lie behind the file's."""
    position = len(SIGNATURE)
    for _ in range(MAX_PIECES):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        yield name, position + 8, position + 8 + length
        position += 12 + length
    raise too_many_pieces()


def _is_intact(data: bytes, chunk: _Chunk) -> bool:
    _, start, end = chunk
    return zlib.crc32(memoryview(data)[start - 4 : end]).to_bytes(4, "big") == data[end : end + 4]


def _header(data: bytes, chunks: Iterator[_Chunk]) -> _Header:
    chunk = next(chunks, (b"", 0, 0))
    name, start, end = chunk
    if name == b"CgBI":
        raise UnsupportedImage("The file is an iPhone app's PNG (CgBI); export it as a plain PNG.")
    if name != b"IHDR" or end - start != 13 or not _is_intact(data, chunk):
        raise damaged("the header of the PNG is broken")
    width, height, depth, colour_type, compression, filters, interlace = struct.unpack_from(
        ">2I5B", data, start
    )
    is_valid = depth in _DEPTHS.get(colour_type, ()) and width < 2**31 and height < 2**31
    if not is_valid or not width * height or compression or filters or interlace > 1:
        raise damaged("the header of the PNG is broken")
    return _Header(width, height, depth, colour_type, bool(interlace))


def _read_to_pixels(data: bytes, chunks: Iterator[_Chunk], parts: _Parts) -> _Chunk | None:
    """Collect all up to the end of the pixels; return the chunk behind them."""
    for chunk in chunks:
        name, start, end = chunk
        if name == b"IDAT":
            parts.pixels.append(memoryview(data)[start:end])
        elif parts.pixels:
            return chunk
        elif name == b"IEND" or end > len(data):
            break
        elif name == b"PLTE":
            if parts.palette or (end - start) // 3 not in range(1, 257):
                raise damaged("the palette of the PNG is broken")
            if not _is_intact(data, chunk):
                raise damaged("the palette of the PNG is broken")
            parts.palette = data[start:end]
        elif name in _USED:
            # The first of a name counts, broken or not; tRNS only behind the palette.
            is_early = name == b"tRNS" and parts.header.colour_type == _PALETTE
            if name not in parts.ancillary and not (is_early and not parts.palette):
                is_good = end - start in _USED[name] and _is_intact(data, chunk)
                if is_good:
                    parts.ancillary[name] = data[start:end]
        elif not name[0] & 0x20:
            raise damaged(f"the PNG has an unknown critical chunk, {name.decode('latin-1')!r}")
    if not parts.pixels:
        raise damaged("the PNG ends before its pixels")
    return None


def _is_animated(parts: _Parts) -> bool:
    return int.from_bytes(parts.ancillary.get(b"acTL", b"")[:4], "big") > 0


def _read_first_frame(
    data: bytes, chunks: Iterator[_Chunk], chunk: _Chunk | None, parts: _Parts
) -> None:
    """Take the animation's first frame for the picture: the one before it is for old readers."""
    parts.pixels = []
    sequence = 0
    while chunk is not None:
        name, start, end = chunk
        is_control = name == b"fcTL" and not sequence and end - start == 26
        if is_control and _is_intact(data, chunk):
            number, *size, left, top = struct.unpack_from(">5I", data, start)
            if number:
                break
            width, height = size
            if left + width > parts.header.width or top + height > parts.header.height:
                break
            parts.frame_size, parts.frame_at = (width, height), (left, top)
            sequence = 1
        elif (
            name == b"fdAT" and sequence and data[start : start + 4] == sequence.to_bytes(4, "big")
        ):
            parts.pixels.append(memoryview(data)[start + 4 : end])
            sequence += 1
        elif parts.pixels or name in (b"fcTL", b"fdAT", b"IEND"):
            break
        chunk = next(chunks, None)
    if not parts.pixels or not all(parts.frame_size):
        raise damaged("the first frame of the PNG's animation is broken")


def _sequence_number(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 4], "big")


def _hdr(ancillary: dict[bytes, bytes]) -> HdrColours | None:
    """Return what `cICP`, and the chunks of HDR beside it, tell of light."""
    primaries, transfer, matrix, full_range = ancillary.get(b"cICP", bytes(4))
    is_hdr = transfer in TRANSFERS and profiles.is_known(primaries)
    if not is_hdr or matrix or full_range != 1:
        return None
    content, screen = ancillary.get(b"cLLI", b""), ancillary.get(b"mDCV", b"")
    peak = int.from_bytes(content[:4], "big") or int.from_bytes(screen[16:20], "big")
    return HdrColours(primaries, transfer, peak / 10_000)


def _profiles(ancillary: dict[bytes, bytes]) -> tuple[bytes | None, bytes | None]:
    """Choose what tells the colours (PNG, third edition, 4.3): cICP, iCCP, sRGB, then gAMA."""
    spare = None
    if b"sRGB" not in ancillary and b"gAMA" in ancillary:
        spare = profiles.of_gamma(
            int.from_bytes(ancillary[b"gAMA"], "big"), ancillary.get(b"cHRM", b"")
        )
    if b"cICP" in ancillary:
        primaries, transfer, matrix, full_range = ancillary[b"cICP"]
        known = profiles.of_code_points(primaries, transfer)
        if known is not None and not matrix and full_range == 1:
            return known, None
    if b"iCCP" in ancillary:
        profile = _inflated_profile(ancillary[b"iCCP"])
        if profile is not None:
            return profile, spare
    return spare, None


def _inflated_profile(body: bytes) -> bytes | None:
    name, _, rest = body[:81].partition(b"\0")
    if not name or len(name) > 79 or rest[:1] != b"\0":
        return None
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(memoryview(body)[len(name) + 2 :], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return None
    return profile if inflater.eof or len(profile) > MAX_PROFILE_BYTES else None


def _clean(parts: _Parts) -> Iterator[bytes | memoryview]:
    header = parts.header
    width, height = parts.frame_size
    framed = _Header(width, height, header.depth, header.colour_type, header.is_interlaced)
    yield SIGNATURE
    yield from _chunk(b"IHDR", framed.packed())
    transparency = parts.ancillary.get(b"tRNS", b"")
    if header.colour_type == _PALETTE:
        if not parts.palette:
            raise damaged("the PNG has no palette")
        palette, transparency = _full_palette(parts.palette, transparency)
        yield from _chunk(b"PLTE", palette)
    else:
        transparency = _transparent_colour(header, transparency)
    if transparency:
        yield from _chunk(b"tRNS", transparency)
    yield struct.pack(">I4s", sum(len(piece) for piece in parts.pixels), b"IDAT")
    yield from parts.pixels
    yield bytes(4)  # Pillow checks no checksum of pixels, neither do browsers
    yield from _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> tuple[bytes, ...]:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return struct.pack(">I4s", len(body), name), body, checksum.to_bytes(4, "big")


def _full_palette(palette: bytes, transparency: bytes) -> tuple[bytes, bytes]:
    """Give indices beyond the palette its last colour, as browsers do."""
    count = len(palette) // 3
    palette = palette[: 3 * count] + palette[3 * count - 3 : 3 * count] * (256 - count)
    transparency = transparency[:count]
    if len(transparency) == count:
        transparency += transparency[-1:] * (256 - count)
    return palette, transparency


def _transparent_colour(header: _Header, transparency: bytes) -> bytes:
    """Return tRNS as a decoder of the samples' depth compares it; nothing if it can't match."""
    channels = {_GREY: 1, _RGB: 3}.get(header.colour_type, 0)
    if not channels or len(transparency) != 2 * channels:
        return b""
    levels = struct.unpack(f">{channels}H", transparency)
    if header.depth == 8:  # the upper byte is of no account
        levels = tuple(level & 0xFF for level in levels)
    if max(levels) >= 1 << header.depth:
        return b""
    return struct.pack(f">{channels}H", *levels)


def pixel_share(clean: bytes) -> float:
    """Return how much of a clean PNG's pixels is there, 0 to 1."""
    header, deflated = _pixels(clean)
    expected = _raw_bytes(header)
    return sum(map(len, _inflated(deflated, expected))) / expected


def mended(clean: bytes) -> bytes:
    """Deflate a clean PNG's pixels anew: with a sound end, and a checksum that is right."""
    header, deflated = _pixels(clean)
    # Fast, and a flat picture stays small.
    deflater = zlib.compressobj(1, strategy=zlib.Z_RLE)
    pieces = [deflater.compress(piece) for piece in _inflated(deflated, _raw_bytes(header))]
    pieces.append(deflater.flush())
    before = clean[: len(clean) - len(deflated) - _BEHIND_PIXELS]
    return b"".join((before, *_chunk(b"IDAT", b"".join(pieces)), *_chunk(b"IEND", b"")))


def _pixels(clean: bytes) -> tuple[_Header, memoryview]:
    chunks = list(_chunks(clean))
    ((start, end),) = ((start, end) for name, start, end in chunks if name == b"IDAT")
    return _header(clean, iter(chunks)), memoryview(clean)[start:end]


def _inflated(deflated: memoryview, limit_bytes: int) -> Iterator[bytes]:
    """Yield what a zlib stream holds, as far as it goes; its checksum is not looked at."""
    head = bytes(deflated[:2]).ljust(2, b"\0")
    if head[0] & 0x0F != 8 or int.from_bytes(head, "big") % 31:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = limit_bytes
    for start in range(2, len(deflated) + _PIECE_BYTES, _PIECE_BYTES):  # last: nothing more to read
        waiting: bytes | memoryview = deflated[start : start + _PIECE_BYTES]
        while left and not inflater.eof:
            try:
                piece = inflater.decompress(waiting, min(left, _PIECE_BYTES))
            except zlib.error:
                return
            left -= len(piece)
            yield piece
            waiting = inflater.unconsumed_tail
            if not waiting and not piece:
                break


def _raw_bytes(header: _Header) -> int:
    """Return how many bytes the rows have, each with its filter's (PNG, third edition, 7)."""
    bits = header.depth * _CHANNELS[header.colour_type]
    passes = _ADAM7 if header.is_interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, right, down in passes:
        columns = (header.width - left + right - 1) // right
        rows = (header.height - top + down - 1) // down
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
