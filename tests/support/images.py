"""Image files of every kind that cameras and programs write, made by the book: bit by bit."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG colour types
_ADAM7 = (  # first row and column, step down and across
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)

D50 = (0.9642, 1.0, 0.8249)
SRGB_PRIMARIES = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
DISPLAY_P3_PRIMARIES = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)


def noise(shape: tuple[int, ...], below: int = 256, seed: int = 7) -> NDArray[np.int64]:
    """Return the same random levels every time."""
    return np.random.default_rng(seed).integers(0, below, shape)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: NDArray[Any],
    depth: int,
    colour_type: int,
    *,
    palette: bytes = b"",
    transparency: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """Write samples (H, W, channels) as they are."""
    height, width = samples.shape[:2]
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [samples]
    raw = b"".join(_rows(part, depth) for part in passes if part.size)
    header = struct.pack(">2I5B", width, height, depth, colour_type, 0, 0, interlaced)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", palette) if palette else b"",
            chunk(b"tRNS", transparency) if transparency else b"",
            chunk(b"IDAT", zlib.compress(raw)),
            chunk(b"IEND", b""),
        )
    )


def _rows(samples: NDArray[Any], depth: int) -> bytes:
    flat = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = flat.astype(np.uint8)
    else:
        bits = flat[:, :, None] >> np.arange(depth - 1, -1, -1) & 1
        packed = np.packbits(bits.reshape(samples.shape[0], -1).astype(np.uint8), axis=1)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()  # filter type 0 before each row


def saved(array: NDArray[np.uint8], file_format: str, mode: str | None = None, **how: Any) -> bytes:
    """Write an array with Pillow."""
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, file_format, **how)
    return buffer.getvalue()


def gif_with_offset_frame() -> bytes:
    """Return 4 × 4 pixels whose first frame, red, covers the 2 × 2 in the middle alone."""
    frame = saved(np.full((2, 2, 3), (255, 0, 0), np.uint8), "GIF")
    descriptor = frame.index(b"\x2c\x00\x00\x00\x00\x02\x00\x02\x00")
    moved = struct.pack("<B4H", 0x2C, 1, 1, 2, 2)
    canvas = frame[:6] + struct.pack("<2H", 4, 4) + frame[10:descriptor]
    return canvas + moved + frame[descriptor + 9 :]


def rgb_profile(primaries: NDArray[np.float64], gamma: float) -> bytes:
    """Return an ICC profile of a display; the columns of `primaries` are XYZ under D50."""
    curve = b"curv" + struct.pack(">2IH", 0, 1, round(gamma * 256)) + b"\x00\x00"
    tags = {b"wtpt": _xyz(*D50)}
    for name, column in zip("rgb", primaries.T, strict=True):
        tags[f"{name}XYZ".encode()] = _xyz(*column)
        tags[f"{name}TRC".encode()] = curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of greys."""
    curve = b"curv" + struct.pack(">2IH", 0, 1, round(gamma * 256)) + b"\x00\x00"
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(*D50), b"kTRC": curve})


def cmyk_profile_with_orange_cyan() -> bytes:
    """Return an ICC profile of a press whose cyan ink is orange; the others are invisible."""
    white, orange = bytes((255, 128, 128)), bytes((168, 168, 198))  # L*a*b* in bytes
    corners = b"".join(orange if c else white for c in (0, 1) for _ in range(8))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + struct.pack(">I4B", 0, 4, 3, 2, 0) + matrix
    table += identity * 4 + corners + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(*D50), b"A2B0": table})


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in (x, y, z)))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    description = b"desc" + struct.pack(">2I", 0, 5) + b"test\x00" + bytes(79)
    tags = {b"desc": description, b"cprt": b"text" + bytes(5), **tags}
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        directory += name + struct.pack(">2I", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s24sI12s48s",
        *(start + len(body), b"", 0x02400000, kind, space, connection, bytes(12), b"acsp"),
        *(bytes(24), 0, _xyz(*D50)[8:], bytes(48)),
    )
    return header + directory + body


SCAN = b"\xff\xda"
"""Begins each scan of a JPEG."""


def progressive_jpeg(side_px: int = 600) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side_px, side_px), 128).save(file, "JPEG", progressive=True)
    return file.getvalue()


def with_scans(data: bytes, count: int) -> bytes:
    """Repeat the last scan of a JPEG until it has `count`."""
    last = data.rfind(SCAN)
    return data[:last] + data[last:-2] * (count - data.count(SCAN) + 1) + data[-2:]
