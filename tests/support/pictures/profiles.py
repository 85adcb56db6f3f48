"""ICC profiles of every build, each on a PNG of colours, greys or a JPEG of inks."""

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.images import (
    D50,
    DISPLAY_P3_PRIMARIES,
    GREY,
    SRGB_PRIMARIES,
    assembled_profile,
    grey_profile,
    noise,
    png,
    profile_xyz,
)
from tests.support.pictures import pngs
from tests.support.pictures.specimen import PHOTO, Specimen

_IDENTITY = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
_CENTRE = np.array((0, 128, 128))  # of a* and b*
_LINE = struct.pack(">2H", 0, 65535)
_MATRIX = {
    f"{name}XYZ".encode(): profile_xyz(*column)
    for name, column in zip("rgb", DISPLAY_P3_PRIMARIES.T, strict=True)
}
# Libraries interpolate tables differently, and browsers read the Lab of `mft2` as that of later
# versions: 0.4 % of lightness.
_BY_TABLE = 6
_CONVERTED = 2


def display(curve: bytes) -> bytes:
    """Return a profile of wide primaries with this curve."""
    curves = {f"{name}TRC".encode(): curve for name in "rgb"}
    return assembled_profile(b"mntr", b"RGB ", b"XYZ ", {**_MATRIX, **curves})


def with_pipeline(elements: int) -> bytes:
    """Return a profile of wide primaries whose `D2B1` is a pipeline of so many steps."""
    segment = b"parf" + struct.pack(">4x2H4f", 0, 0, 1.0001, 1.0, 0.0, 0.0)
    curve = b"curf" + struct.pack(">4xH2x", 1) + segment
    curves_at = 16 + 8 * elements
    head = b"cvst" + struct.pack(">4x2H", 3, 3)
    curves = head + struct.pack(">2I", len(head) + 24, len(curve)) * 3 + curve
    pipeline = b"mpet" + struct.pack(">4x2HI", 3, 3, elements)
    pipeline += struct.pack(">2I", curves_at, len(curves)) * elements + curves
    tags = {f"{name}TRC".encode(): para(0, 2.2) for name in "rgb"} | _MATRIX
    return assembled_profile(
        b"mntr", b"RGB ", b"XYZ ", {**tags, b"D2B0": pipeline, b"D2B1": pipeline}, b"\4\x30"
    )


def para(function: int, *parameters: float) -> bytes:
    fixed = (round(value * 65536) for value in parameters)
    return struct.pack(f">4s4x2H{len(parameters)}i", b"para", function, 0, *fixed)


def curv(points: int) -> bytes:
    values = np.linspace(0, 1, points) ** 2 * 65535
    return struct.pack(">4s4xI", b"curv", points) + _in_16_bits(values)


def lab(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = xyz / np.array(D50)
    cubic = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    x, y, z = np.moveaxis(cubic, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def _grid(points: int, channels: int) -> list[NDArray[np.float64]]:
    return list(np.meshgrid(*[np.linspace(0, 1, points)] * channels, indexing="ij"))


def _wide_lab(points: int, gamma: float = 1.8) -> NDArray[np.float64]:
    return lab(np.stack(_grid(points, 3), axis=-1) ** gamma @ DISPLAY_P3_PRIMARIES.T)


def _press_lab(points: int, black: float) -> NDArray[np.float64]:
    c, m, y, k = _grid(points, 4)
    light = np.stack(
        (
            (1 - 0.95 * c) * (1 - 0.08 * m) * (1 - 0.02 * y),
            (1 - 0.25 * c) * (1 - 0.90 * m) * (1 - 0.05 * y),
            (1 - 0.10 * c) * (1 - 0.40 * m) * (1 - 0.92 * y),
        ),
        axis=-1,
    )
    return lab((black + (1 - black) * light * (1 - 0.93 * k)[..., None]) @ SRGB_PRIMARIES.T)


def _in_16_bits(values: NDArray[np.float64]) -> bytes:
    words: bytes = values.round().clip(0, 65535).astype(">u2").tobytes()
    return words


def press(points: int, black: float) -> bytes:
    """Return a profile of four inks on paper."""
    return assembled_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": mft2(_press_lab(points, black))})


def mft2(values: NDArray[np.float64]) -> bytes:
    """Return a table of 16 bits, of Lab as old versions write it."""
    points, channels = values.shape[0], values.ndim - 1
    scaled = (values + _CENTRE) * (652.80, 256, 256)
    head = struct.pack(">4s4x4B", b"mft2", channels, 3, points, 0) + _IDENTITY
    lines = struct.pack(">2H", 2, 2) + _LINE * channels
    return head + lines + _in_16_bits(scaled) + _LINE * 3


def mft1(values: NDArray[np.float64]) -> bytes:
    """Return a table of 8 bits."""
    points, channels = values.shape[0], values.ndim - 1
    scaled = (values + _CENTRE) * (2.55, 1, 1)
    head = struct.pack(">4s4x4B", b"mft1", channels, 3, points, 0) + _IDENTITY
    line = bytes(range(256))
    body: bytes = scaled.round().clip(0, 255).astype(np.uint8).tobytes()
    return head + line * channels + body + line * 3


def mab(values: NDArray[np.float64]) -> bytes:
    """Return a table as version 4 writes it, with curves before and behind it."""
    points, channels = values.shape[0], values.ndim - 1
    scaled = (values + _CENTRE) / (100, 255, 255) * 65535
    line = struct.pack(">4s4xI", b"curv", 0)
    table = bytes([points] * channels).ljust(16, b"\0") + b"\2\0\0\0"
    table += _in_16_bits(scaled)
    table += bytes(-len(table) % 4)
    b_curves, table_at = 32, 32 + 3 * len(line)
    offsets = (b_curves, 0, 0, table_at, table_at + len(table))
    head = struct.pack(">4s4x2B2x5I", b"mAB ", channels, 3, *offsets)
    return head + line * 3 + table + line * channels


def inks(profile: bytes) -> bytes:
    """Return a JPEG in four inks."""
    small = Image.fromarray(noise((8, 8, 4)).astype(np.uint8), "CMYK")
    buffer = io.BytesIO()
    how = {"quality": 98, "subsampling": 0, "icc_profile": profile}
    small.resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG", **how)
    return buffer.getvalue()


def specimens() -> Iterator[Specimen]:
    for name, profile in _displays().items():
        data = pngs.insert(pngs.PLAIN, pngs.iccp(profile))
        yield Specimen(f"profile: {name}", data, tolerance=_CONVERTED)
    for name, table in _tables().items():
        version = b"\4\x20" if b"mAB " in table.values() or name.startswith("mAB") else b"\2\x40"
        profile = assembled_profile(b"scnr", b"RGB ", b"Lab ", table, version)
        data = pngs.insert(pngs.PLAIN, pngs.iccp(profile))
        yield Specimen(f"profile: {name}", data, tolerance=_BY_TABLE)
    greys = png(PHOTO[:, :, :1].astype(int), 8, GREY)
    for gamma in (1.0, 1.8, 2.2, 3.0):
        data = pngs.insert(greys, pngs.iccp(grey_profile(gamma)))
        yield Specimen(f"profile: greys {gamma}", data, tolerance=_CONVERTED)
    in_lab = grey_profile(2.2).replace(b"XYZ ", b"Lab ", 1)
    yield Specimen("profile: greys in Lab", pngs.insert(greys, pngs.iccp(in_lab)))
    for points, black in ((2, 0.03), (9, 0.0), (9, 0.1), (13, 0.03)):
        for kind in (mft1, mft2):
            tags = {b"A2B0": kind(_press_lab(points, black))}
            profile = assembled_profile(b"prtr", b"CMYK", b"Lab ", tags)
            name = f"profile: inks {kind.__name__} {points} points, black {black}"
            yield Specimen(name, inks(profile), tolerance=_BY_TABLE)


def _displays() -> dict[str, bytes]:
    plain = display(para(0, 2.2))
    size = len(plain)
    gamma = struct.pack(">4s4xIH2x", b"curv", 1, round(2.2 * 256))
    cases = {
        "one gamma": display(gamma),
        "para 0": plain,
        "para 1": display(para(1, 2.2, 0.9, -0.1)),
        "para 1, no start": display(para(1, 2.2, 0.9, 0.1)),
        "para 2": display(para(2, 2.2, 0.9, -0.1, 0.05)),
        "para 2, no start": display(para(2, 2.2, 0.9, 0.1, 0.05)),
        "para 3": display(para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
        "para 3, falling": display(para(3, -1, 1, 0, 1, 0.04)),
        "para 4": display(para(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.01, 0.02)),
        "para 5": display(para(5, 1)),
        "junk behind it": plain + b"junk",
        "cut short": plain[:-4],
        "told too long": struct.pack(">I", size + 1) + plain[4:],
        "told too short": struct.pack(">I", size - 4) + plain[4:],
        "version 1": plain[:8] + b"\1\0" + plain[10:],
        "version 4": plain[:8] + b"\4\x20" + plain[10:],
        "version 5": plain[:8] + b"\5\0" + plain[10:],
        "into Luv": plain[:20] + b"Luv " + plain[24:],
        "into Lab": plain[:20] + b"Lab " + plain[24:],
        "of Lab": plain[:16] + b"Lab " + plain[20:],
        "no signature": plain.replace(b"acsp", b"abcd"),
        "another white": plain[:68] + bytes(12) + plain[80:],
        "no blue": plain.replace(b"bXYZ", b"abcd"),
        "no curve of blue": plain.replace(b"bTRC", b"abcd"),
        "no such matrix": plain.replace(b"XYZ \0\0\0\0", b"XYZZ\0\0\0\0"),
    }
    for points in (0, 2, 16, 256, 4096):
        cases[f"curve of {points} points"] = display(curv(points))
    for device in (b"scnr", b"prtr", b"spac", b"link", b"abst", b"nmcl", b"junk"):
        cases[f"of a {device.decode()}"] = plain[:12] + device + plain[16:]
    return cases


def _tables() -> dict[str, dict[bytes, bytes]]:
    table, other = mft2(_wide_lab(17)), mft2(_wide_lab(17, 2.2))
    curves = {f"{name}TRC".encode(): para(0, 2.2) for name in "rgb"}
    return {
        "mft1": {b"A2B0": mft1(_wide_lab(33))},
        "mft2 17 points": {b"A2B0": table},
        "mft2 33 points": {b"A2B0": mft2(_wide_lab(33))},
        "mAB": {b"A2B0": mab(_wide_lab(17))},
        "two intents": {b"A2B0": table, b"A2B1": other},
        "colorimetric alone": {b"A2B1": other},
        "saturation alone": {b"A2B2": other},
        "table and matrix": {b"A2B0": table, **_MATRIX, **curves},
        "broken table": {b"A2B0": table[:200]},
        "broken table and matrix": {b"A2B0": table[:200], **_MATRIX, **curves},
        "table of an unknown kind": {b"A2B0": b"abcd" + table[4:], **_MATRIX, **curves},
    }
