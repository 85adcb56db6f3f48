"""Metadata that is dear to read: what JPEG, PNG and WEBP carry alike."""

import random
import struct
from functools import cache


def s15f16(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + s15f16(x) + s15f16(y) + s15f16(z)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return (
        b"mluc\0\0\0\0"
        + struct.pack(">II", 1, 12)
        + b"enUS"
        + struct.pack(">II", len(data), 28)
        + data
    )


def _pipeline(elements: int) -> bytes:
    """Return an `mpet` tag of so many elements, all in the same few bytes: curves, matrix, ..."""
    one = struct.pack(">4f", 1.0001, 1.0, 0.0, 0.0)
    curve = b"curf\0\0\0\0\0\1\0\0" + b"parf\0\0\0\0\0\0\0\0" + one
    head = b"cvst\0\0\0\0" + struct.pack(">HH", 3, 3)
    curves = head + struct.pack(">II", len(head) + 24, len(curve)) * 3 + curve
    identity = struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    matrix = b"matf\0\0\0\0" + struct.pack(">HH", 3, 3) + identity
    start = 16 + 8 * elements
    both = struct.pack(">4I", start, len(curves), start + len(curves), len(matrix))
    table = both * (elements // 2)
    return b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, elements) + table + curves + matrix


@cache
def _profile(elements: int) -> bytes:
    gamma = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + s15f16(2.2)
    tags = {
        b"cprt": _text("x"),
        b"wtpt": _xyz(0.9642, 1, 0.8249),
        b"rXYZ": _xyz(0.4360, 0.2225, 0.0139),
        b"gXYZ": _xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": _xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma),
        b"D2B1": _pipeline(elements),
    }
    offset = 128 + 4 + 12 * (len(tags) + 1)
    directory, body = struct.pack(">I", len(tags) + 1), b""
    for name, tag in tags.items():
        entry = struct.pack(">II", offset + len(body), len(tag))
        directory += name + entry
        body += tag + bytes(-len(tag) % 4)
    directory += b"D2B0" + entry  # the same pipeline for another intent
    size = 128 + len(directory) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s24sI", 2024, 1, 1, 0, 0, 0, b"acsp", b"", 1)
    header += s15f16(0.9642) + s15f16(1) + s15f16(0.8249)
    return header.ljust(128, b"\0") + directory + body


def icc_pipeline(seed: int) -> bytes:
    """Return an ICC profile that Little CMS evaluates in thousands of steps for each colour."""
    return _profile(500 * random.Random(seed).randrange(4, 16))


@cache
def _shares(entries: int, share_bytes: int) -> bytes:
    table = b"".join(struct.pack("<2H2I", 0x8000 + i, 7, share_bytes, 8) for i in range(entries))
    start = 8 + share_bytes
    directory = struct.pack("<H", entries) + table + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + bytes(share_bytes) + directory


def exif_shares(seed: int, total_bytes: int = 64_000) -> bytes:
    """Return EXIF of many entries, each of which holds the same half of all bytes."""
    entries = random.Random(seed).randrange(total_bytes // 48, total_bytes // 24)
    return _shares(min(entries, 30_000), total_bytes // 2 - 100)
