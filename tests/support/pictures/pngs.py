"""PNG and APNG."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SRGB_PRIMARIES,
    chunk,
    cmyk_profile_with_orange_cyan,
    grey_profile,
    noise,
    png,
    rgb_profile,
)
from tests.support.pictures.specimen import ALPHA, PHOTO, Outcome, Specimen, large_photo

_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_ADOBE_RGB = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
_WIDE = rgb_profile(DISPLAY_P3_PRIMARIES, 2.2)
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    PALETTE: (1, 2, 4, 8),
    RGB: (8, 16),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
_CHANNELS = {GREY: 1, PALETTE: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}
_NAMES = {GREY: "grey", PALETTE: "palette", RGB: "RGB", GREY_ALPHA: "grey and alpha", RGBA: "RGBA"}

PLAIN = png(PHOTO.astype(int), 8, RGB)
_GREYS = png(PHOTO[:, :, :1].astype(int), 8, GREY)
_COLOURS = bytes(range(7, 7 + 48 * 5, 5))
_FIELDS = (PHOTO[:, :, :1] >> 4).astype(int)
_INDEXED = png(_FIELDS, 4, PALETTE, palette=_COLOURS)


def insert(data: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """Put chunks before another one."""
    at = data.index(before) - 4
    return data[:at] + b"".join(chunks) + data[at:]


def broken(good: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return good[:-4] + bytes(byte ^ 0xFF for byte in good[-4:])


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def chromaticities(values: tuple[int, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def cicp(*values: int) -> bytes:
    return chunk(b"cICP", bytes(values))


def exif(orientation: int) -> bytes:
    """Return an EXIF block without the name before it."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return struct.pack(">4sIH", b"MM\0*", 8, 1) + entry + bytes(4)


def pixels_of(data: bytes) -> bytes:
    """Return the body of its only IDAT chunk."""
    at = data.index(b"IDAT")
    return data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")]


def with_pixels(data: bytes, body: bytes) -> bytes:
    """Replace its IDAT chunk and what follows."""
    return data[: data.index(b"IDAT") - 4] + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def specimens() -> Iterator[Specimen]:
    for kind in (
        _modes,
        _transparency,
        _colours,
        _high_range,
        _orientations,
        _ancillary_damage,
        _damage,
        _animations,
    ):
        for specimen in kind():
            yield Specimen(
                f"png: {specimen.name}", specimen.data, specimen.outcome, specimen.tolerance
            )


def _modes() -> Iterator[Specimen]:
    for colour_type, depths in _DEPTHS.items():
        for depth in depths:
            samples = noise((17, 23, _CHANNELS[colour_type]), 2**depth)
            palette = (
                noise((2**depth, 3)).astype(np.uint8).tobytes() if colour_type == PALETTE else b""
            )
            for interlaced in (False, True):
                data = png(samples, depth, colour_type, palette=palette, interlaced=interlaced)
                yield Specimen(f"{_NAMES[colour_type]} {depth} bit interlaced {interlaced}", data)


def _transparency() -> Iterator[Specimen]:
    for depth in _DEPTHS[GREY]:
        samples = noise((17, 23, 1), 2**depth)
        clear = struct.pack(">H", samples[3, 3, 0])
        for interlaced in (False, True):
            data = png(samples, depth, GREY, transparency=clear, interlaced=interlaced)
            yield Specimen(f"clear grey {depth} bit interlaced {interlaced}", data)
    for depth in _DEPTHS[PALETTE]:
        colours = noise((2**depth, 3)).astype(np.uint8).tobytes()
        for name, alphas in (("one clear", b"\xff\0"), ("soft", b"\0\x80"), ("first", b"\0")):
            data = png(
                noise((17, 23, 1), 2**depth), depth, PALETTE, palette=colours, transparency=alphas
            )
            yield Specimen(f"palette {depth} bit {name}", data)
    samples = noise((17, 23, 3), 4)
    yield Specimen(
        "clear colour", png(samples, 8, RGB, transparency=struct.pack(">3H", *samples[3, 3]))
    )
    deep = samples * 0x1111
    yield Specimen(
        "clear colour 16 bit", png(deep, 16, RGB, transparency=struct.pack(">3H", *deep[3, 3]))
    )
    dark = np.where(PHOTO < 60, 0, PHOTO).astype(int)
    yield Specimen(
        "clear grey's upper byte is ignored", png(dark[:, :, :1], 8, GREY, transparency=b"\1\0")
    )
    yield Specimen(
        "clear colour's upper bytes are ignored", png(dark, 8, RGB, transparency=b"\1\0" * 3)
    )
    yield Specimen(
        "clear grey beyond 4 bits", png(dark[:, :, :1] >> 4, 4, GREY, transparency=b"\0\x10")
    )
    rgba = np.dstack((PHOTO, ALPHA)).astype(int)
    yield Specimen("alpha channel with tRNS", insert(png(rgba, 8, RGBA), chunk(b"tRNS", bytes(6))))
    yield Specimen(
        "tRNS too long for its palette",
        png(_FIELDS, 4, PALETTE, palette=_COLOURS[:24], transparency=b"\x64" * 10),
    )
    yield Specimen(
        "tRNS before the palette", insert(_INDEXED, chunk(b"tRNS", b"\0"), before=b"PLTE")
    )
    yield Specimen(
        "tRNS twice", insert(_INDEXED, chunk(b"tRNS", b"\0\x80"), chunk(b"tRNS", b"\x80\0"))
    )
    yield Specimen(
        "palette too short for its pixels", png(_FIELDS, 4, PALETTE, palette=_COLOURS[:24])
    )
    yield Specimen("palette of 15 and 2/3 colours", png(_FIELDS, 4, PALETTE, palette=_COLOURS[:47]))
    yield Specimen(
        "palette longer than its bits", png(_FIELDS, 4, PALETTE, palette=_COLOURS + b"abc")
    )
    yield Specimen(
        "palette beside greys", png(PHOTO[:, :, :1].astype(int), 8, GREY, palette=bytes(48))
    )
    yield Specimen("no palette", png(_FIELDS, 4, PALETTE), Outcome.NEITHER)
    yield Specimen("palette of 300", png(_FIELDS, 4, PALETTE, palette=bytes(900)), Outcome.NEITHER)
    yield Specimen("palette twice", insert(_INDEXED, chunk(b"PLTE", _COLOURS)), Outcome.NEITHER)


# Two libraries round differently, and steep curves near black double what they do.
_CONVERTED = 2


def _colours() -> Iterator[Specimen]:
    for value in (
        0,
        1,
        20_000,
        33_333,
        43_150,
        43_250,
        45_455,
        47_700,
        47_750,
        50_000,
        100_000,
        10**6,
        2**31,
    ):
        yield Specimen(f"gAMA {value}", insert(PLAIN, gamma(value)), tolerance=_CONVERTED)
    sound = (
        ("cHRM alone", chromaticities(_ADOBE_RGB)),
        ("gAMA usual, cHRM of sRGB", gamma(45_455) + chromaticities(_SRGB)),
        ("gAMA usual, cHRM of Adobe RGB", gamma(45_455) + chromaticities(_ADOBE_RGB)),
        ("gAMA, cHRM of zeros", gamma(100_000) + chromaticities((0,) * 8)),
        ("sRGB before gAMA", chunk(b"sRGB", b"\0") + gamma(100_000)),
        ("gAMA twice", gamma(100_000) + gamma(45_455)),
        ("iCCP", iccp(_WIDE)),
        ("iCCP twice", iccp(_WIDE) + iccp(rgb_profile(SRGB_PRIMARIES, 1.0))),
        ("iCCP of junk, gAMA", iccp(b"junk" * 50) + gamma(100_000)),
        ("iCCP of junk, sRGB, gAMA", iccp(b"junk" * 50) + chunk(b"sRGB", b"\0") + gamma(100_000)),
        ("iCCP of junk, iCCP", iccp(b"junk" * 50) + iccp(_WIDE)),
        ("sRGB, iCCP", chunk(b"sRGB", b"\0") + iccp(_WIDE)),
        ("iCCP, cICP of sRGB", iccp(_WIDE) + cicp(1, 13, 0, 1)),
        ("iCCP of greys on colours", iccp(grey_profile(1.0))),
        ("iCCP of greys on colours, gAMA", iccp(grey_profile(1.0)) + gamma(100_000)),
        ("iCCP of inks on colours", iccp(cmyk_profile_with_orange_cyan())),
        ("iCCP by an unknown method", chunk(b"iCCP", b"x\0\1" + zlib.compress(_WIDE))),
        (
            "iCCP with a wrong checksum inside",
            chunk(b"iCCP", b"x\0\0" + zlib.compress(_WIDE)[:-4] + b"abcd"),
        ),
        ("iCCP cut short inside", chunk(b"iCCP", b"x\0\0" + zlib.compress(_WIDE)[:-40])),
        ("iCCP without a name", chunk(b"iCCP", b"\0\0" + zlib.compress(_WIDE))),
        ("iCCP with a long name", chunk(b"iCCP", b"x" * 100 + b"\0\0" + zlib.compress(_WIDE))),
        ("cICP unknown, gAMA", cicp(1, 3, 0, 1) + gamma(100_000)),
        ("cICP of limited range", cicp(12, 13, 0, 0)),
        ("cICP too long", chunk(b"cICP", bytes((12, 13, 0, 1, 0)))),
    )
    for name, chunks in sound:
        yield Specimen(name, insert(PLAIN, chunks), tolerance=_CONVERTED)
    yield Specimen("gAMA behind the pixels", insert(PLAIN, gamma(100_000), before=b"IEND"))
    for primaries in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22):
        yield Specimen(
            f"cICP primaries {primaries}",
            insert(PLAIN, cicp(primaries, 13, 0, 1)),
            tolerance=_CONVERTED,
        )
    for transfer in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 17):
        yield Specimen(
            f"cICP transfer {transfer}",
            insert(PLAIN, cicp(1, transfer, 0, 1)),
            tolerance=_CONVERTED,
        )
    yield Specimen("cICP in YCbCr", insert(PLAIN, cicp(12, 13, 1, 1)), Outcome.SERVED)
    of_greys = (
        ("gAMA", gamma(100_000)),
        ("cICP", cicp(1, 8, 0, 1)),
        ("iCCP of greys", iccp(grey_profile(1.0))),
        ("iCCP of colours", iccp(_WIDE)),
        ("iCCP of greys 2.2", iccp(grey_profile(2.2))),
    )
    for name, chunks in of_greys:
        yield Specimen(f"greys with {name}", insert(_GREYS, chunks), tolerance=_CONVERTED)
        deep = png(PHOTO[:, :, :1].astype(int) * 257, 16, GREY)
        yield Specimen(f"greys of 16 bit with {name}", insert(deep, chunks), tolerance=_CONVERTED)
        soft = png(np.dstack((PHOTO[:, :, :1], ALPHA)).astype(int), 8, GREY_ALPHA)
        yield Specimen(f"greys and alpha with {name}", insert(soft, chunks), tolerance=_CONVERTED)
    for name, chunks in (
        ("gAMA", gamma(100_000)),
        ("iCCP", iccp(_WIDE)),
        ("iCCP of greys", iccp(grey_profile(1.0))),
    ):
        yield Specimen(
            f"palette with {name}", insert(_INDEXED, chunks, before=b"PLTE"), tolerance=_CONVERTED
        )
        yield Specimen(f"palette, then {name}", insert(_INDEXED, chunks), tolerance=_CONVERTED)
        soft = png(np.dstack((PHOTO, ALPHA)).astype(int), 8, RGBA)
        yield Specimen(f"alpha with {name}", insert(soft, chunks), tolerance=_CONVERTED)


# Libraries draw the curve from white to peak differently, and 8 bits of such light are coarse.
_BRIGHT = 9


def _light(peak_nits: int) -> bytes:
    return chunk(b"cLLI", struct.pack(">2I", peak_nits * 10_000, peak_nits * 1_000))


def _screen(peak_nits: int) -> bytes:
    return chunk(b"mDCV", struct.pack(">8H2I", *[10_000] * 8, peak_nits * 10_000, 1))


def _high_range() -> Iterator[Specimen]:
    plain = png(large_photo().astype(int), 8, RGB)
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        for primaries in (1, 9, 12):
            data = insert(plain, cicp(primaries, transfer, 0, 1))
            yield Specimen(f"{name} with primaries {primaries}", data, tolerance=_BRIGHT)
        peaks = {
            "4,000 nits": _light(4_000),
            "400 nits": _light(400),
            "0 nits": _light(0),
            "a screen of 4,000 nits": _screen(4_000),
            "600 nits, a screen of 4,000": _light(600) + _screen(4_000),
        }
        for what, chunks in peaks.items():
            data = insert(plain, cicp(9, transfer, 0, 1), chunks)
            yield Specimen(f"{name}, {what}", data, tolerance=_BRIGHT)
    dark = png(large_photo().astype(int) // 2, 8, RGB)
    data = insert(dark, cicp(9, 16, 0, 1), _light(100))
    yield Specimen("PQ, 100 nits", data, tolerance=_BRIGHT)
    alpha = png(np.dstack((PHOTO, ALPHA)).astype(int), 8, RGBA)
    yield Specimen("PQ with alpha", insert(alpha, cicp(9, 16, 0, 1)), tolerance=_BRIGHT)
    deep = png(large_photo().astype(int) * 257, 16, RGB)
    yield Specimen("PQ of 16 bit", insert(deep, cicp(9, 16, 0, 1)), tolerance=_BRIGHT)
    grey = png(PHOTO[:, :, :1].astype(int), 8, GREY)
    yield Specimen("PQ of greys", insert(grey, cicp(9, 16, 0, 1)), tolerance=_BRIGHT)


def _orientations() -> Iterator[Specimen]:
    for orientation in range(10):
        yield Specimen(f"eXIf {orientation}", insert(PLAIN, chunk(b"eXIf", exif(orientation))))
    yield Specimen("eXIf behind the pixels", insert(PLAIN, chunk(b"eXIf", exif(6)), before=b"IEND"))
    yield Specimen(
        "eXIf with the name of JPEG's", insert(PLAIN, chunk(b"eXIf", b"Exif\0\0" + exif(6)))
    )
    as_text = b"\nexif\n  26\n" + exif(6).hex().encode()
    yield Specimen(
        "EXIF as text", insert(PLAIN, chunk(b"tEXt", b"Raw profile type exif\0" + as_text))
    )
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    yield Specimen("XMP", insert(PLAIN, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))


def _ancillary_damage() -> Iterator[Specimen]:
    wrong = {
        "tEXt": chunk(b"tEXt", b"a\0b"),
        "gAMA": gamma(100_000),
        "cHRM": gamma(45_455) + chromaticities(_ADOBE_RGB),
        "sRGB": gamma(100_000) + chunk(b"sRGB", b"\0"),
        "iCCP": iccp(_WIDE),
        "cICP": cicp(12, 13, 0, 1),
        "eXIf": chunk(b"eXIf", exif(6)),
        "acTL": chunk(b"acTL", struct.pack(">2I", 1, 0)),
        "pHYs": chunk(b"pHYs", bytes(9)),
        "tIME": chunk(b"tIME", bytes(7)),
    }
    for name, chunks in wrong.items():
        yield Specimen(
            f"{name} with a wrong checksum", insert(PLAIN, broken(chunks)), tolerance=_CONVERTED
        )
    for name in (
        "tRNS",
        "gAMA",
        "cHRM",
        "sRGB",
        "iCCP",
        "cICP",
        "eXIf",
        "pHYs",
        "bKGD",
        "sBIT",
        "hIST",
        "tIME",
        "zTXt",
        "iTXt",
    ):
        yield Specimen(f"{name} empty", insert(PLAIN, chunk(name.encode(), b"")))
        yield Specimen(f"{name} of 3 bytes", insert(PLAIN, chunk(name.encode(), b"\0\1\2")))
    yield Specimen("gAMA too long", insert(PLAIN, chunk(b"gAMA", struct.pack(">IB", 100_000, 0))))
    yield Specimen(
        "tRNS of the palette with a wrong checksum", insert(_INDEXED, broken(chunk(b"tRNS", b"\0")))
    )
    yield Specimen("unknown ancillary chunk", insert(PLAIN, chunk(b"abCd", b"x" * 99)))
    yield Specimen("chunk with a digit in its name", insert(PLAIN, chunk(b"a1Cd", b"")))


def _damage() -> Iterator[Specimen]:
    body, at = pixels_of(PLAIN), PLAIN.index(b"IDAT")
    end = at + 4 + len(body)
    yield Specimen("pixels with a wrong checksum", PLAIN[:end] + b"abcd" + PLAIN[end + 4 :])
    yield Specimen("wrong checksum inside of the pixels", with_pixels(PLAIN, body[:-4] + b"abcd"))
    yield Specimen("no checksum inside of the pixels", with_pixels(PLAIN, body[:-4]))
    yield Specimen("no end", PLAIN[:-12])
    yield Specimen("ends with the pixels", PLAIN[:end])
    yield Specimen("ends within the pixels' checksum", PLAIN[: end - 2])
    yield Specimen("end with a wrong checksum", PLAIN[:-4] + b"abcd")
    yield Specimen("junk behind the end", PLAIN + b"junk" * 100)
    yield Specimen(
        "more pixels than it has rows",
        with_pixels(PLAIN, zlib.compress(zlib.decompress(body) + bytes(1000))),
    )
    pieces = b"".join(chunk(b"IDAT", body[start : start + 7]) for start in range(0, len(body), 7))
    yield Specimen(
        "pixels in small pieces, some empty",
        PLAIN[: at - 4] + chunk(b"IDAT", b"") + pieces + chunk(b"IEND", b""),
    )
    yield Specimen("ends 10 bytes early", PLAIN[: end - 10], Outcome.REFUSED)
    yield Specimen("half", PLAIN[: at + 4 + len(body) // 2], Outcome.REFUSED)
    fewer = zlib.compress(zlib.decompress(body)[: 121 * 20])
    yield Specimen(
        "fewer rows than told, in a sound stream", with_pixels(PLAIN, fewer), Outcome.REFUSED
    )
    black = png(np.zeros((9, 9, 3), int), 8, RGB)
    fewer = zlib.compress(bytes(28 * 5))
    yield Specimen("fewer black rows than told", with_pixels(black, fewer), Outcome.REFUSED)
    yield Specimen("half, with an end", with_pixels(PLAIN, body[: len(body) // 2]), Outcome.NEITHER)
    split = chunk(b"IDAT", body[:99]) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", body[99:])
    yield Specimen(
        "pixels interrupted", PLAIN[: at - 4] + split + chunk(b"IEND", b""), Outcome.NEITHER
    )
    yield Specimen("no deflate", with_pixels(PLAIN, b"\x18\0" + body[2:]), Outcome.NEITHER)
    yield Specimen(
        "header with a wrong checksum", PLAIN[:29] + b"abcd" + PLAIN[33:], Outcome.NEITHER
    )
    palette = chunk(b"PLTE", _COLOURS)
    yield Specimen(
        "palette with a wrong checksum", _INDEXED.replace(palette, broken(palette)), Outcome.NEITHER
    )
    yield Specimen("unknown critical chunk", insert(PLAIN, chunk(b"ABCD", b"")), Outcome.NEITHER)
    yield Specimen(
        "of an iPhone app", PLAIN[:8] + chunk(b"CgBI", bytes(4)) + PLAIN[8:], Outcome.NEITHER
    )
    yield Specimen(
        "chunk longer than the file",
        insert(PLAIN, struct.pack(">I4s", 10**6, b"tEXt")),
        Outcome.NEITHER,
    )
    yield Specimen("no pixels", PLAIN[: at - 4] + chunk(b"IEND", b""), Outcome.NEITHER)


def _solid(colour: tuple[int, int, int], width: int = 40, height: int = 32) -> bytes:
    return png(np.full((height, width, 3), colour), 8, RGB)


def _control(
    sequence: int, width: int = 40, height: int = 32, left: int = 0, top: int = 0, blend: int = 0
) -> bytes:
    return chunk(
        b"fcTL", struct.pack(">5I2H2B", sequence, width, height, left, top, 1, 10, 0, blend)
    )


def _data(sequence: int, body: bytes) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", sequence) + body)


def _animation(before: bytes, *behind: bytes) -> bytes:
    red = insert(_solid((255, 0, 0)), before)
    return red[:-12] + b"".join(behind) + red[-12:]


def _animations() -> Iterator[Specimen]:
    begin, one = chunk(b"acTL", struct.pack(">2I", 2, 0)), chunk(b"acTL", struct.pack(">2I", 1, 0))
    blue, small = pixels_of(_solid((0, 0, 255))), pixels_of(_solid((0, 0, 255), 8, 8))
    good = (_control(0), _data(1, blue))
    sound = {
        "default picture is the first frame": _animation(
            begin + _control(0), _control(1), _data(2, blue)
        ),
        "default picture hidden": _animation(one, *good),
        "default picture hidden, two frames": _animation(
            begin, *good, _control(2), _data(3, small)
        ),
        "fewer frames than told": _animation(begin, *good),
        "first frame small": _animation(one, _control(0, 8, 8, 10, 4), _data(1, small)),
        "first frame small, blended": _animation(one, _control(0, 8, 8, 10, 4, 1), _data(1, small)),
        "first frame in two pieces": _animation(
            one, _control(0, 8, 8, 10, 4), _data(1, small[:9]), _data(2, small[9:])
        ),
        "no frames told": _animation(chunk(b"acTL", bytes(8)), *good),
        "told behind the pixels": _animation(b"", one, *good),
        "not told": _animation(b"", *good),
        "told with a wrong checksum": _animation(broken(one), *good),
        "hidden, with gAMA": insert(_animation(one, *good), gamma(100_000), before=b"acTL"),
        "hidden, with eXIf": insert(
            _animation(one, _control(0, 8, 8, 10, 4), _data(1, small)),
            chunk(b"eXIf", exif(6)),
            before=b"acTL",
        ),
    }
    for name, data in sound.items():
        yield Specimen(f"animation, {name}", data, tolerance=_CONVERTED)
    damaged = {
        "frame beyond the canvas": _animation(one, _control(0, 8, 8, 36, 4), _data(1, small)),
        "frame without size": _animation(one, _control(0, 0, 0), _data(1, blue)),
        "wrong sequence": _animation(one, _control(3), _data(7, blue)),
        "no frame": _animation(one),
        "frame without pixels": _animation(one, _control(0)),
        "broken pixels": _animation(one, _control(0), _data(1, b"junk" * 10)),
        "half of the pixels": _animation(one, _control(0), _data(1, blue[:20])),
        "control with a wrong checksum": _animation(one, broken(_control(0)), _data(1, blue)),
        "cut within the first frame": _animation(one, *good)[:-40],
    }
    for name, data in damaged.items():
        yield Specimen(f"animation, {name}", data, Outcome.NEITHER)
