"""ICC profiles as bytes: cut down to what a picture needs, or built for colours that PNG names.

A profile is a program that the library runs: its tables are bounded here, and pipelines of
arbitrary length (`D2B0` and the like) never reach the library. Browsers do not run them either.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 4 * 2**20

_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_MAX_TAGS = 200
_MAX_CURVE_POINTS = 65_536
_CHANNELS = {b"RGB ": 3, b"GRAY": 1, b"CMYK": 4}
_MATRIX = tuple(f"{channel}XYZ".encode() for channel in "rgb")
_CURVES = tuple(f"{channel}TRC".encode() for channel in "rgb")
# Like browsers: the perceptual table before the colorimetric one, whatever the library prefers.
_TABLES = (b"A2B0", b"A2B1")
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}  # of `para`: its function's


def usable(profile: bytes) -> bytes:
    """Return a profile of the tags that are used, each of them checked.

    Raises:
        ValueError: it is broken, too large, or not of a picture.
    """
    if len(profile) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        raise ValueError("it is no ICC profile")
    size, version, space, connection, count = struct.unpack_from(">I4xB7x4s4s104xI", profile)
    if size > len(profile):
        raise ValueError("it is cut short")
    if version > 4 or connection not in (b"XYZ ", b"Lab ") or not _is_under_d50(profile):
        raise ValueError("its header is broken")
    if space not in _CHANNELS:
        space = b"RGB "  # browsers ask only whether it is of greys or inks
    kept = _needed(space, connection, _tags(profile[:size], count))
    for name, body in kept.items():
        _check(name, body, _CHANNELS[space])
    return _assembled(space, connection, kept, 4 if version == 4 else 2)


def _is_under_d50(profile: bytes) -> bool:
    illuminant = np.array(struct.unpack_from(">3i", profile, 68)) / 65_536
    return bool(np.abs(illuminant - _D50).max() < 0.01)


def _tags(profile: bytes, count: int) -> dict[bytes, bytes]:
    tags: dict[bytes, bytes] = {}
    if count > _MAX_TAGS or _HEADER_BYTES + 4 + count * _ENTRY_BYTES > len(profile):
        raise ValueError("it is cut short")
    for index in range(count):
        start = _HEADER_BYTES + 4 + index * _ENTRY_BYTES
        name, offset, length = struct.unpack_from(">4s2I", profile, start)
        if offset + length > len(profile):
            raise ValueError("it is cut short")
        if name in (*_TABLES, *_MATRIX, *_CURVES, b"kTRC"):
            tags.setdefault(name, profile[offset : offset + length])
    return tags


def _needed(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> dict[bytes, bytes]:
    for name in _TABLES:
        if name in tags:
            return {b"A2B0": tags[name]}
    names = {b"GRAY": (b"kTRC",), b"RGB ": (*_MATRIX, *_CURVES)}.get(space, (b"A2B0",))
    missing = [name.decode() for name in names if name not in tags]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if space == b"GRAY" and connection != b"XYZ ":
        raise ValueError("its greys are in Lab")
    return {name: tags[name] for name in names}


def _check(name: bytes, body: bytes, channels: int) -> None:
    kind = body[:4]
    try:
        if name == b"A2B0":
            _check_table(kind, body, channels)
        elif name in _MATRIX:
            if kind != b"XYZ " or len(body) < 20:
                raise ValueError(f"its {name.decode()} is no XYZ number")
        else:
            _curve_bytes(body)
    except (struct.error, IndexError) as exc:
        raise ValueError(f"its {name.decode()} is cut short") from exc


def _curve_bytes(body: bytes | memoryview) -> int:
    """Return the length of the curve that begins here, padded (ICC.1:2022, 10.6 and 10.18)."""
    kind = bytes(body[:4])
    if kind == b"curv":
        points: int = struct.unpack_from(">I", body, 8)[0]
        length = 12 + 2 * points
        if points > _MAX_CURVE_POINTS:
            raise ValueError("a curve has too many points")
    elif kind == b"para":
        (function,) = struct.unpack_from(">H", body, 8)
        if function not in _PARAMETERS:
            raise ValueError("a curve is of an unknown kind")
        length = 12 + 4 * _PARAMETERS[function]
        _check_function(function, struct.unpack_from(f">{_PARAMETERS[function]}i", body, 12))
    else:
        raise ValueError("a curve is of an unknown kind")
    if length > len(body):
        raise IndexError
    return length + -length % 4


def _check_function(function: int, fixed: tuple[int, ...]) -> None:
    """Refuse a curve that falls or has no value somewhere, as browsers do."""
    g, a, b, c, d = (*(value / 65_536 for value in fixed), 0, 0, 0, 0, 0)[:5]
    if function == 0:
        a = 1
    elif function in (1, 2):
        c, d = 0, -b / a if a else -1
    if min(g, a, c, d) < 0 or a * d + b < -1e-6:
        raise ValueError("a curve falls")


def _check_table(kind: bytes, body: bytes, channels: int) -> None:
    """Check a lookup table; each of its kinds has a fixed number of steps (10.10 to 10.12)."""
    inputs, outputs, grid = struct.unpack_from("3B", body, 8)
    if inputs != channels or outputs != 3:
        raise ValueError("its table is of another number of channels")
    if kind == b"mft1":
        needed = 48 + 256 * (inputs + outputs) + grid**inputs * outputs
    elif kind == b"mft2":
        before, behind = struct.unpack_from(">2H", body, 48)
        if not (2 <= before <= 4096 and 2 <= behind <= 4096):
            raise ValueError("its table is of an unusual size")
        needed = 52 + 2 * (before * inputs + behind * outputs + grid**inputs * outputs)
    elif kind == b"mAB ":
        _check_steps(body, inputs, outputs)
        return
    else:
        raise ValueError("its table is of an unknown kind")
    if needed > len(body) or grid < 1:
        raise IndexError


def _check_steps(body: bytes, inputs: int, outputs: int) -> None:
    offsets = struct.unpack_from(">5I", body, 12)
    b_curves, matrix, m_curves, table, a_curves = offsets
    for start, count in ((b_curves, outputs), (m_curves, outputs), (a_curves, inputs)):
        position = start
        for _ in range(count if start else 0):
            position += _curve_bytes(memoryview(body)[position:])
    if matrix and matrix + 48 > len(body):
        raise IndexError
    if table:
        grid = body[table : table + inputs]
        width = body[table + 16]
        samples = outputs
        for points in grid:
            samples *= points
        if table + 20 + samples * width > len(body) or width not in (1, 2) or 0 in grid:
            raise IndexError


def _assembled(
    space: bytes, connection: bytes, tags: dict[bytes, bytes], version: int = 4
) -> bytes:
    start = _HEADER_BYTES + 4 + len(tags) * _ENTRY_BYTES
    directory, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        directory += struct.pack(">4s2I", name, start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    # Whatever kind of device it is of: browsers don't ask for it.
    header = struct.pack(
        ">I4xB3x4s4s4s12x4s28x12s48x",
        *(start + len(bodies), version, b"mntr", space, connection, b"acsp", _xyz(_D50)[8:]),
    )
    return header + directory + bodies


# ── Profiles of colours that are named ────────────────────────────────────────────────────────────


class _Chromaticities(NamedTuple):
    """CIE x and y of white and of the primaries."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


_D65, _C, _E, _DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
_D50 = np.array((0.9642, 1.0, 0.8249))
_SRGB = _Chromaticities(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_SMPTE_170M = _Chromaticities(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
# ITU-T H.273, table 2.
_PRIMARIES = {
    1: _SRGB,
    4: _Chromaticities(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: _Chromaticities(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: _SMPTE_170M,
    7: _SMPTE_170M,
    8: _Chromaticities(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: _Chromaticities(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: _Chromaticities(_E, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: _Chromaticities(_DCI, *_P3),
    12: _Chromaticities(_D65, *_P3),
    22: _Chromaticities(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
# ITU-T H.273, table 3, as `para` writes it: the function's number, then its parameters. The curve
# of television (1, 6, 11, 14, 15) is that of its screens, BT.1886: so browsers show it.
_TELEVISION = (0, 2.4)
_TRANSFERS = {
    **dict.fromkeys((1, 6, 11, 14, 15), _TELEVISION),
    4: (0, 2.2),
    5: (0, 2.8),
    7: (3, 1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 0.25, 0.0912),
    8: (0, 1.0),
    13: (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    17: (1, 2.6, (52.37 / 48) ** (1 / 2.6), 0.0),
}
_BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)
_USUAL_GAMMA, _THRESHOLD = 1 / 2.2, 0.05
_STEEPEST = 30_000.0  # of what a profile's number can tell


def of_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of a `cICP` chunk's RGB; None for what isn't converted."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    return _display(_PRIMARIES[primaries], _TRANSFERS[transfer])


def xyz_columns(primaries: int) -> NDArray[np.float64]:
    """Return the XYZ under D50 of ITU-T H.273's primaries, a column each."""
    columns = _columns(_PRIMARIES[primaries])
    assert columns is not None
    return columns


def is_known(primaries: int) -> bool:
    """Tell whether these are among ITU-T H.273's primaries."""
    return primaries in _PRIMARIES


def of_gamma(gamma_100000: int, chromaticities_100000: bytes) -> bytes | None:
    """Return the profile of a `gAMA` chunk, and of a `cHRM` chunk's body if there is one.

    Returns None for what isn't converted. Like browsers it takes a usual gamma by itself for sRGB.
    """
    if not gamma_100000:
        return None
    gamma = gamma_100000 / 100_000
    curve = (0, min(1 / gamma, _STEEPEST))
    if not chromaticities_100000:
        is_usual = abs(gamma / _USUAL_GAMMA - 1) <= _THRESHOLD
        return None if is_usual else _display(_SRGB, curve)
    numbers = [value / 100_000 for value in struct.unpack(">8I", chromaticities_100000)]
    if max(numbers) > 1 or not numbers[1]:
        return None
    points = _Chromaticities(*zip(numbers[::2], numbers[1::2], strict=True))
    return _display(points, curve)


def _display(points: _Chromaticities, curve: tuple[float, ...]) -> bytes | None:
    columns = _columns(points)
    if columns is None:
        return None
    function, *parameters = curve
    para = struct.pack(
        f">4s4x2H{len(parameters)}i", b"para", int(function), 0, *map(_fixed, parameters)
    )
    tags = {}
    for matrix_name, curve_name, column in zip(_MATRIX, _CURVES, columns.T, strict=True):
        tags[matrix_name] = _xyz(column)
        tags[curve_name] = para
    return _assembled(b"RGB ", b"XYZ ", tags)


def _columns(points: _Chromaticities) -> NDArray[np.float64] | None:
    """Return the primaries' XYZ under D50, a column each; None if they span no colours."""
    xyz = np.array([(x, y, 1 - x - y) for x, y in points[1:]]).T
    white = np.array((points.white[0], points.white[1], 1 - sum(points.white))) / points.white[1]
    try:
        columns = xyz * np.linalg.solve(xyz, white)
        cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        adapted = np.linalg.inv(_BRADFORD) @ (cones[:, None] * _BRADFORD) @ columns
    except np.linalg.LinAlgError:
        return None
    return adapted if np.abs(adapted).max() < 100 else None


def _xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *map(_fixed, values))


def _fixed(value: float) -> int:
    return round(value * 65_536)
