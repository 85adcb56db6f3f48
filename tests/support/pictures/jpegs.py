"""JPEG."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from PIL import Image

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    SRGB_PRIMARIES,
    cmyk_profile_with_orange_cyan,
    grey_profile,
    rgb_profile,
    saved,
)
from tests.support.pictures.pngs import exif
from tests.support.pictures.specimen import PHOTO, Outcome, Specimen, large_photo

PLAIN = saved(PHOTO, "JPEG", quality=92)
_WIDE = rgb_profile(DISPLAY_P3_PRIMARIES, 2.2)
_FRAME, _SCAN = PLAIN.index(b"\xff\xc0"), PLAIN.index(b"\xff\xda")
_BEHIND_FRAME = _FRAME + 2 + int.from_bytes(PLAIN[_FRAME + 2 : _FRAME + 4], "big")
_NO_JFIF = PLAIN[:2] + PLAIN[20:]
_ADOBE = b"Adobe\0\x64\0\0\0\0"


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def insert(*segments: bytes, data: bytes = PLAIN, at: int = 2) -> bytes:
    """Put segments into a JPEG, by itself behind its first marker."""
    return data[:at] + b"".join(segments) + data[at:]


def exif_segment(orientation: int) -> bytes:
    return segment(0xE1, b"Exif\0\0" + exif(orientation))


def profile_segment(piece: bytes, number: int = 1, count: int = 1) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + piece)


def inks(**how: Any) -> bytes:
    """Return a CMYK JPEG as Adobe's programs write it."""
    buffer = io.BytesIO()
    Image.fromarray(_inks(), "CMYK").save(buffer, "JPEG", quality=95, **how)
    return buffer.getvalue()


def _inks() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.ascontiguousarray(np.dstack((PHOTO, PHOTO[::-1, ::-1, 0])))


def specimens() -> Iterator[Specimen]:
    for kind in (_modes, _kinds_of_colours, _orientations, _profiles, _oddities, _ends):
        for specimen in kind():
            yield Specimen(
                f"jpeg: {specimen.name}", specimen.data, specimen.outcome, specimen.tolerance
            )


def _modes() -> Iterator[Specimen]:
    photo = large_photo(45, 61)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        for progressive in (False, True):
            data = saved(
                photo, "JPEG", quality=80, subsampling=subsampling, progressive=progressive
            )
            yield Specimen(f"{subsampling} progressive {progressive}", data)
    ways: dict[str, dict[str, Any]] = {
        "quality 5": {"quality": 5},
        "quality 100": {"quality": 100},
        "restarts": {"restart_marker_blocks": 2},
        "optimised": {"optimize": True},
    }
    for name, how in ways.items():
        yield Specimen(name, saved(photo, "JPEG", **how))
    for subsampling in ("440", "411"):
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(photo), 80, "RGB", subsampling)
        yield Specimen(f"turbo {subsampling}", data)
    for progressive in (False, True):
        yield Specimen(
            f"grey progressive {progressive}", saved(photo, "JPEG", "L", progressive=progressive)
        )
    for width, height in ((1, 1), (7, 9), (8, 8), (16, 16), (17, 1), (1, 33)):
        yield Specimen(
            f"{width} × {height}", saved(np.ascontiguousarray(photo[:height, :width]), "JPEG")
        )


def _kinds_of_colours() -> Iterator[Specimen]:
    yield Specimen("CMYK", inks())
    yield Specimen("CMYK without Adobe's segment", inks().replace(b"Adobe", b"Adobx"))
    ycck = simplejpeg.encode_jpeg(255 - _inks(), 95, "CMYK", "444")
    yield Specimen("YCCK", ycck)
    yield Specimen("YCCK without Adobe's segment", ycck.replace(b"Adobe", b"Adobx"))
    yield Specimen("no JFIF", _NO_JFIF)
    for name, body in {
        "RGB": _ADOBE + b"\0",
        "YCbCr": _ADOBE + b"\1",
        "short": _ADOBE,
        "long": _ADOBE + b"\0abc",
    }.items():
        yield Specimen(f"Adobe's segment, {name}", insert(segment(0xEE, body), data=_NO_JFIF))
    yield Specimen("JFIF and Adobe's segment", insert(segment(0xEE, _ADOBE + b"\0"), at=20))
    short = segment(0xE0, b"JFIF\0\1\1\0\0\1\0")
    yield Specimen(
        "short JFIF and Adobe's segment",
        insert(short, segment(0xEE, _ADOBE + b"\0"), data=_NO_JFIF),
    )
    for names in (b"RGB", b"\0\1\2", b"\7\x08\x09"):
        yield Specimen(f"channels {names!r}", _named(_NO_JFIF, names))
        yield Specimen(f"channels {names!r} with JFIF", _named(PLAIN, names))


def _named(data: bytes, names: bytes) -> bytes:
    changed = bytearray(data)
    frame, scan = data.index(b"\xff\xc0") + 10, data.index(b"\xff\xda") + 5
    changed[frame : frame + 9 : 3], changed[scan : scan + 6 : 2] = names, names
    return bytes(changed)


def _orientations() -> Iterator[Specimen]:
    for orientation in range(10):
        yield Specimen(f"EXIF {orientation}", insert(exif_segment(orientation)))
    little = struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    as_long = struct.pack(">4sIHHHIII", b"MM\0*", 8, 1, 0x0112, 4, 1, 6, 0)
    two = struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, 0x0112, 3, 2, 6, 0, 0)
    broken = b"MM\0*\xff\xff\xff\xff"
    named = b"Exif\0\0"
    cases = {
        "EXIF of Intel": (segment(0xE1, named + little),),
        "EXIF, a long": (segment(0xE1, named + as_long),),
        "EXIF, two values": (segment(0xE1, named + two),),
        "EXIF 3, then 6": (exif_segment(3), exif_segment(6)),
        "EXIF broken, then 6": (segment(0xE1, named + broken), exif_segment(6)),
        "EXIF 9, then 6": (exif_segment(9), exif_segment(6)),
        "EXIF, another pad byte": (segment(0xE1, b"Exif\0\xff" + exif(6)),),
        "EXIF in two pieces": (
            segment(0xE1, named + exif(6)[:12]),
            segment(0xE1, named + exif(6)[12:]),
        ),
        "EXIF empty": (segment(0xE1, named),),
        "EXIF, entries cut": (segment(0xE1, named + exif(6)[:14]),),
        "XMP 6": (
            segment(
                0xE1, b"http://ns.adobe.com/xap/1.0/\0<x><tiff:Orientation>6</tiff:Orientation></x>"
            ),
        ),
    }
    for name, segments in cases.items():
        yield Specimen(name, insert(*segments))
    yield Specimen("EXIF behind the frame", insert(exif_segment(6), at=_BEHIND_FRAME))
    yield Specimen("EXIF 6, grey", insert(exif_segment(6), data=saved(PHOTO, "JPEG", "L")))
    yield Specimen("EXIF 8, CMYK", insert(exif_segment(8), data=inks()))
    yield Specimen(
        "EXIF 5, wide colours", insert(exif_segment(5), profile_segment(_WIDE)), tolerance=2
    )


def _profiles() -> Iterator[Specimen]:
    first, second = _WIDE[:200], _WIDE[200:]
    other = rgb_profile(SRGB_PRIMARIES, 1.0)
    cases = {
        "whole": (profile_segment(_WIDE),),
        "in two": (profile_segment(first, 1, 2), profile_segment(second, 2, 2)),
        "in two, swapped": (profile_segment(second, 2, 2), profile_segment(first, 1, 2)),
        "in two, one missing": (profile_segment(first, 1, 2),),
        "twice": (profile_segment(_WIDE), profile_segment(_WIDE)),
        "and another": (profile_segment(_WIDE), profile_segment(other)),
        "told to be in three": (profile_segment(first, 1, 2), profile_segment(second, 2, 3)),
        "number 0": (profile_segment(_WIDE, 0, 1),),
        "of 0": (profile_segment(_WIDE, 1, 0),),
        "of greys": (profile_segment(grey_profile(1.0)),),
        "of inks": (profile_segment(cmyk_profile_with_orange_cyan()),),
        "broken": (profile_segment(b"junk" * 50),),
        "empty": (profile_segment(b""),),
        "with a short segment": (segment(0xE2, b"ICC_PROFILE\0"),),
    }
    for name, segments in cases.items():
        yield Specimen(f"profile {name}", insert(*segments), tolerance=2)
    yield Specimen(
        "profile behind the frame", insert(profile_segment(_WIDE), at=_BEHIND_FRAME), tolerance=2
    )
    yield Specimen("profile behind the scan", insert(profile_segment(_WIDE), at=len(PLAIN) - 2))
    grey = saved(PHOTO, "JPEG", "L")
    yield Specimen(
        "grey, profile of greys", insert(profile_segment(grey_profile(1.0)), data=grey), tolerance=2
    )
    yield Specimen(
        "grey, profile of colours", insert(profile_segment(_WIDE), data=grey), tolerance=2
    )
    yield Specimen("inks, profile of colours", inks(icc_profile=_WIDE), tolerance=2)


def _oddities() -> Iterator[Specimen]:
    for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE):
        for told in (0, 1, 2, 3):
            odd = bytes((0xFF, marker)) + struct.pack(">H", told) + b"J" * max(0, told - 2)
            yield Specimen(f"segment {marker:X} of length {told}", insert(odd))
    for body in (
        b"JFIF\0",
        b"JFIF\0\1",
        b"JFXX\0",
        b"Exif\0",
        b"ICC_PROFILE\0\1",
        b"MPF\0",
        b"FPXR\0",
        b"Photoshop 3.0\x008BIM\4\4\xff",
    ):
        marker = {b"J": 0xE0, b"E": 0xE1, b"P": 0xED}.get(body[:1], 0xE2)
        yield Specimen(f"segment {body!r}", insert(segment(marker, body)))
    yield Specimen("fill bytes", insert(b"\xff" * 100))
    yield Specimen("junk before the scan", insert(b"\0\0", at=_SCAN))
    yield Specimen("junk behind the end", PLAIN + b"junk" * 50)
    yield Specimen("another picture behind the end", PLAIN + PLAIN)
    yield Specimen("unknown marker before the end", insert(b"\xff\x1e\0\4ab", at=len(PLAIN) - 2))
    yield Specimen("second scan before the end", insert(PLAIN[_SCAN:-2], at=len(PLAIN) - 2))
    yield Specimen("a thumbnail in EXIF", insert(segment(0xE1, b"Exif\0\0" + exif(6) + PLAIN)))
    extended = PLAIN.replace(b"\xff\xc0", b"\xff\xc1")
    yield Specimen("extended sequential", extended)
    yield Specimen("junk at the start", insert(b"\0\0junk"), Outcome.NEITHER)
    yield Specimen("segment longer than the file", insert(b"\xff\xe1\xff\xff"), Outcome.NEITHER)
    yield Specimen("lossless", PLAIN.replace(b"\xff\xc0", b"\xff\xc3"), Outcome.NEITHER)
    twelve = bytearray(extended)
    twelve[_FRAME + 4] = 12
    yield Specimen("12 bit", bytes(twelve), Outcome.NEITHER)
    yield Specimen("two frames", insert(PLAIN[_FRAME:_BEHIND_FRAME], at=_FRAME), Outcome.NEITHER)
    yield Specimen("no frame", PLAIN[:_FRAME] + PLAIN[_BEHIND_FRAME:], Outcome.NEITHER)
    flat = PLAIN[: _FRAME + 5] + bytes(2) + PLAIN[_FRAME + 7 :]
    yield Specimen("no rows", flat, Outcome.NEITHER)


def _ends() -> Iterator[Specimen]:
    kinds: dict[str, dict[str, Any]] = {
        "sequential": {},
        "grey": {"mode": "L"},
        "progressive": {"progressive": True},
    }
    for name, how in kinds.items():
        photo = saved(large_photo(), "JPEG", quality=90, **how)
        for cut in (1, 2, 3, 10, 20):
            # Chromium leaves the rows clear of which the last blocks hold a part; libjpeg shows
            # them, and where nothing is left to show it is grey.
            is_whole = cut <= 2 and name != "progressive"
            outcome = Outcome.SAME if is_whole else Outcome.OTHERWISE
            yield Specimen(f"{name}, ends {cut} bytes early", photo[:-cut], outcome)
        yield Specimen(f"{name}, half", photo[: len(photo) // 2], Outcome.REFUSED)
    sequential = saved(large_photo(), "JPEG", quality=90)
    yield Specimen("half, with an end", sequential[: len(sequential) // 2] + b"\xff\xd9")
    yield Specimen("ends before the scan", PLAIN[:_SCAN], Outcome.NEITHER)
    yield Specimen("ends behind the signature", PLAIN[:20], Outcome.NEITHER)
