"""GIF: the first frame. Comments, application blocks and later frames are left out."""

import struct

from webhook.imaging.containers.picture import MAX_PIECES, Picture, damaged, too_many_pieces

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_HAS_PALETTE, _PALETTE_BITS = 0x80, 0x07
_BLACK = bytes(6)  # browsers draw an image without any palette in black


def is_gif(data: bytes) -> bool:
    """Tell by the signature."""
    return data[:6] in (b"GIF87a", b"GIF89a")


def read_gif(data: bytes) -> Picture:
    """Walk to the first frame and make it a GIF of its own.

    The canvas grows where the frame reaches beyond it, as in browsers; what the frame leaves
    uncovered is clear.

    Raises:
        UnsupportedImage: it is broken before the first frame's pixels.
    """
    try:
        return _read_gif(data)
    except (IndexError, struct.error) as exc:
        raise damaged("the GIF ends before its first frame") from exc


def _read_gif(data: bytes) -> Picture:
    width, height, flags = struct.unpack_from("<2HB", data, 6)
    palette, position = _palette(data, 13, flags)
    control, position = _skip_extensions(data, position)
    left, top, frame_width, frame_height, flags = struct.unpack_from("<4HB", data, position + 1)
    own_palette, position = _palette(data, position + 10, flags)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    if not width * height:
        raise damaged("the GIF has no pixels")
    if not frame_width * frame_height:  # browsers show an empty canvas
        return Picture("GIF", (width, height), "colour", [], (0, 0))
    colours = own_palette or palette or _BLACK
    depth = (len(colours) // 3).bit_length() - 2
    screen = struct.pack("<2H3B", frame_width, frame_height, _HAS_PALETTE | depth, 0, 0)
    frame = struct.pack("<B4HB", _IMAGE, 0, 0, frame_width, frame_height, flags & 0x40)
    pixels = memoryview(data)[position:]
    return Picture(
        "GIF",
        (width, height),
        "colour",
        [b"GIF89a", screen, colours, control, frame, pixels],
        (frame_width, frame_height),
        (left, top),
    )


def _palette(data: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """Return the palette that begins here, if the flags tell of one, and where it ends."""
    if not flags & _HAS_PALETTE:
        return b"", position
    end = position + (6 << (flags & _PALETTE_BITS))
    if end > len(data):
        raise IndexError("the palette is cut short")
    return data[position:end], end


def _skip_extensions(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the last graphic control extension before the first frame, and where that begins."""
    control = b""
    pieces = 0
    while data[position] == _EXTENSION:
        start, kind = position, data[position + 1]
        position += 2
        while data[position]:
            position += data[position] + 1
            pieces += 1
            if pieces > MAX_PIECES:
                raise too_many_pieces()
        position += 1
        pieces += 1
        if pieces > MAX_PIECES:
            raise too_many_pieces()
        if kind == _GRAPHIC_CONTROL:
            if position - start != 8:
                raise damaged("a graphic control block of the GIF has a wrong size")
            control = _without_disposal(data[start:position])
    if data[position] == _TRAILER:
        raise damaged("the GIF has no frame")
    if data[position] != _IMAGE:
        raise damaged("the GIF has an unknown block before its first frame")
    return control, position


def _without_disposal(control: bytes) -> bytes:
    """Keep the transparent colour alone: how the frame makes way for the next is of no use."""
    return control[:3] + bytes([control[3] & 1]) + control[4:]
