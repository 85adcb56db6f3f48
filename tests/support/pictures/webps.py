"""WEBP."""

import struct
from collections.abc import Iterator

import numpy as np

from tests.support.images import DISPLAY_P3_PRIMARIES, grey_profile, rgb_profile, saved
from tests.support.pictures.pngs import exif
from tests.support.pictures.specimen import ALPHA, PHOTO, Outcome, Specimen

_ANIMATION, _XMP, _EXIF, _ALPHA, _PROFILE = 0x02, 0x04, 0x08, 0x10, 0x20
_WIDE = rgb_profile(DISPLAY_P3_PRIMARIES, 2.2)
LOSSLESS = saved(PHOTO, "WEBP", lossless=True)
_LOSSY = saved(PHOTO, "WEBP", quality=90)
_SOFT = saved(np.dstack((PHOTO, ALPHA)), "WEBP", quality=90)
_PICTURE = LOSSLESS[12:]


def part(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def riff(*parts: bytes) -> bytes:
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def header(flags: int, width: int = 40, height: int = 32) -> bytes:
    return part(b"VP8X", struct.pack("<I", flags) + _uint24(width - 1) + _uint24(height - 1))


def _uint24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _frame(
    picture: bytes, left: int = 0, top: int = 0, width: int = 40, height: int = 32, flags: int = 0
) -> bytes:
    place = b"".join(_uint24(value) for value in (left // 2, top // 2, width - 1, height - 1, 100))
    return part(b"ANMF", place + bytes([flags]) + picture)


def specimens() -> Iterator[Specimen]:
    for kind in (_sound, _animations, _damaged):
        for specimen in kind():
            yield Specimen(
                f"webp: {specimen.name}", specimen.data, specimen.outcome, specimen.tolerance
            )


def _sound() -> Iterator[Specimen]:
    rgba = np.dstack((PHOTO, ALPHA))
    opaque = {
        "lossless": LOSSLESS,
        "lossy": _LOSSY,
        "lossy, poor": saved(PHOTO, "WEBP", quality=5),
        "lossless with alpha": saved(rgba, "WEBP", lossless=True),
        "lossless with alpha and hidden colours": saved(rgba, "WEBP", lossless=True, exact=True),
        "lossy with alpha": _SOFT,
        "lossy with alpha of few levels": saved(rgba, "WEBP", quality=50, alpha_quality=10),
        "lossy with alpha that is not told": _SOFT[:20] + b"\0" + _SOFT[21:],
        "EXIF 6": saved(PHOTO, "WEBP", lossless=True, exif=exif(6)),
        "EXIF 6 with the name of JPEG's": saved(
            PHOTO, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6)
        ),
        "EXIF 6 before the picture": riff(header(_EXIF), part(b"EXIF", exif(6)), _PICTURE),
        "XMP": riff(header(_XMP), _PICTURE, part(b"XMP ", b"<x/>" * 50)),
        "unknown part": riff(header(_ALPHA), part(b"abcd", b"x"), _PICTURE),
        "junk behind the end": LOSSLESS + b"junk" * 10,
    }
    for name, data in opaque.items():
        # libwebp multiplies alpha in for Chromium, and rounds twice.
        yield Specimen(name, data, tolerance=2 if "alpha" in name else 1)
    converted = {
        "profile": saved(PHOTO, "WEBP", lossless=True, icc_profile=_WIDE),
        "profile, lossy with alpha": saved(rgba, "WEBP", quality=90, icc_profile=_WIDE),
        "profile of greys": saved(PHOTO, "WEBP", lossless=True, icc_profile=grey_profile(1.0)),
        "profile that is not told": riff(header(_ALPHA), part(b"ICCP", _WIDE), _PICTURE),
        "profile behind the picture": riff(
            header(_ALPHA | _PROFILE), _PICTURE, part(b"ICCP", _WIDE)
        ),
        "profile of junk": riff(header(_PROFILE), part(b"ICCP", b"junk" * 50), _PICTURE),
    }
    for name, data in converted.items():
        yield Specimen(name, data, tolerance=2)
    untold = riff(header(0), saved(rgba, "WEBP", lossless=True)[12:])
    # Chromium multiplies such an alpha in twice.
    yield Specimen("lossless with alpha that is not told", untold, Outcome.OTHERWISE)


def _animations() -> Iterator[Specimen]:
    begin = part(b"ANIM", bytes((0, 0, 255, 255, 0, 0)))
    small = saved(np.full((8, 8, 3), 200, np.uint8), "WEBP", lossless=True)[12:]
    later = _frame(saved(PHOTO[::-1], "WEBP", lossless=True)[12:])
    soft = _SOFT[30:]
    sound = {
        "two frames": riff(header(_ANIMATION), begin, _frame(_PICTURE), later),
        "first frame small": riff(header(_ANIMATION), begin, _frame(small, 10, 4, 8, 8), later),
        "first frame small, alpha told": riff(
            header(_ANIMATION | _ALPHA), begin, _frame(small, 10, 4, 8, 8), later
        ),
        "first frame lossy": riff(header(_ANIMATION), begin, _frame(_LOSSY[12:]), later),
        "first frame lossy with alpha": riff(
            header(_ANIMATION | _ALPHA), begin, _frame(soft), later
        ),
        "EXIF 6": riff(header(_ANIMATION | _EXIF), begin, _frame(_PICTURE), part(b"EXIF", exif(6))),
        "frame of another size": riff(header(_ANIMATION), begin, _frame(small, 0, 0, 9, 9)),
        "profile": riff(
            header(_ANIMATION | _PROFILE), part(b"ICCP", _WIDE), begin, _frame(_PICTURE)
        ),
        **{
            f"flags {flags}": riff(
                header(_ANIMATION | _ALPHA), begin, _frame(small, 10, 4, 8, 8, flags), later
            )
            for flags in range(4)
        },
    }
    for name, data in sound.items():
        yield Specimen(f"animation, {name}", data, tolerance=2 if "alpha" in name else 1)
    damaged = {
        "frame beyond the canvas": riff(header(_ANIMATION), begin, _frame(small, 36, 4, 8, 8)),
        "first frame broken": riff(
            header(_ANIMATION), begin, _frame(small[:20], 10, 4, 8, 8), later
        ),
        "second frame cut short": riff(header(_ANIMATION), begin, _frame(_PICTURE), later)[:-20],
        "no ANIM": riff(header(_ANIMATION), _frame(_PICTURE)),
        "no frames": riff(header(_ANIMATION), begin),
        "told, yet still": riff(header(_ANIMATION), begin, _PICTURE),
        "not told": riff(header(0), begin, _frame(_PICTURE)),
    }
    for name, data in damaged.items():
        yield Specimen(f"animation, {name}", data, Outcome.NEITHER)


def _damaged() -> Iterator[Specimen]:
    damaged = {
        "ends 2 bytes early": LOSSLESS[:-2],
        "half": LOSSLESS[: len(LOSSLESS) // 2],
        "lossy, ends 2 bytes early": _LOSSY[:-2],
        "lossy, half": _LOSSY[: len(_LOSSY) // 2],
        "header alone": LOSSLESS[:12],
        "told too short": LOSSLESS[:4] + struct.pack("<I", 20) + LOSSLESS[8:],
        "told too long": LOSSLESS[:4] + struct.pack("<I", len(LOSSLESS) + 100) + LOSSLESS[8:],
        "canvas larger than the picture": riff(header(_ALPHA, 50, 40), _PICTURE),
        "unknown part first": riff(part(b"abcd", b"x"), _PICTURE),
        "broken pixels": riff(_PICTURE[:30] + bytes(len(_PICTURE) - 30)),
    }
    for name, data in damaged.items():
        yield Specimen(name, data, Outcome.NEITHER)
