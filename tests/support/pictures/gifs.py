"""GIF."""

import struct
from collections.abc import Iterator

from tests.support.pictures.specimen import Outcome, Specimen

COLOURS = bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0))
_STRIPES = [0, 1] * 32


def packed(indices: list[int], bits: int = 2) -> bytes:
    """Return pixels as GIF packs them, without gaining anything by it."""
    codes = []
    for number, index in enumerate(indices):
        codes += [1 << bits, index] if number % 2 == 0 else [index]
    bit_string = "".join(f"{code:0{bits + 1}b}"[::-1] for code in [*codes, (1 << bits) + 1])
    body = bytes(int(bit_string[at : at + 8][::-1], 2) for at in range(0, len(bit_string), 8))
    blocks = (body[at : at + 255] for at in range(0, len(body), 255))
    return bytes([bits]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def frame(
    left: int,
    top: int,
    width: int,
    height: int,
    indices: list[int] | None = None,
    *,
    control: bytes = b"",
    palette: bytes = b"",
    interlaced: bool = False,
    pixels: bytes | None = None,
    before: bytes = b"",
) -> bytes:
    """Return a frame, green by itself, behind its control block."""
    flags = (0x81 if palette else 0) | (0x40 if interlaced else 0)
    if pixels is None:
        pixels = packed([1] * (width * height) if indices is None else indices)
    block = b"!\xf9\4" + control + b"\0" if control else b""
    place = struct.pack("<4HB", left, top, width, height, flags)
    return block + before + b"," + place + palette + pixels


def gif(
    width: int,
    height: int,
    *frames: bytes,
    palette: bytes = COLOURS,
    head: bytes = b"GIF89a",
    background: int = 0,
) -> bytes:
    """Return a GIF."""
    flags = 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0
    screen = struct.pack("<2H3B", width, height, flags, background, 0)
    return head + screen + palette + b"".join(frames) + b";"


def specimens() -> Iterator[Specimen]:
    for name, data in {**_sound(), **_frames()}.items():
        yield Specimen(f"gif: {name}", data)
    for name, (data, outcome) in _damaged().items():
        yield Specimen(f"gif: {name}", data, outcome)


def _sound() -> dict[str, bytes]:
    clear_red, clear_nothing = b"\1\0\0\0", b"\0\0\0\0"
    striped = frame(0, 0, 8, 8, _STRIPES)
    quarters = [index for index in (0, 1, 2, 3) for _ in range(16)]
    return {
        "plain": gif(8, 8, frame(0, 0, 8, 8)),
        "87a": gif(8, 8, striped, head=b"GIF87a"),
        "interlaced": gif(8, 8, frame(0, 0, 8, 8, quarters, interlaced=True)),
        "own palette": gif(8, 8, frame(0, 0, 8, 8, quarters, palette=COLOURS[::-1])),
        "own palette alone": gif(8, 8, frame(0, 0, 8, 8, quarters, palette=COLOURS), palette=b""),
        "no palette": gif(8, 8, frame(0, 0, 8, 8, quarters), palette=b""),
        "palette too short": gif(8, 8, frame(0, 0, 8, 8, quarters), palette=COLOURS[:6]),
        "8 bits": gif(8, 8, frame(0, 0, 8, 8, pixels=packed([1] * 64, 8))),
        "clear colour": gif(8, 8, frame(0, 0, 8, 8, _STRIPES, control=clear_red)),
        "clear colour in 87a": gif(
            8, 8, frame(0, 0, 8, 8, _STRIPES, control=clear_red), head=b"GIF87a"
        ),
        "clear colour beyond the palette": gif(
            8, 8, frame(0, 0, 8, 8, _STRIPES, control=b"\1\0\0\x09")
        ),
        "two control blocks, none clear": gif(
            8, 8, b"!\xf9\4" + clear_red + b"\0", frame(0, 0, 8, 8, _STRIPES, control=clear_nothing)
        ),
        "two control blocks": gif(
            8,
            8,
            b"!\xf9\4" + clear_nothing + b"\0",
            frame(0, 0, 8, 8, _STRIPES, control=b"\1\0\0\1"),
        ),
        "control block, comment": gif(
            8, 8, frame(0, 0, 8, 8, _STRIPES, control=clear_red, before=b"!\xfe\3abc\0")
        ),
        "loop": gif(8, 8, b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", striped),
        "unknown extension": gif(8, 8, b"!\x42\2ab\0", striped),
        "empty extension": gif(8, 8, b"!\xfe\0", striped),
        "no terminator": gif(8, 8, striped)[:-2],
        "no trailer": gif(8, 8, striped)[:-1],
        "more pixels than told": gif(8, 8, frame(0, 0, 8, 8, _STRIPES * 2)),
        "junk behind the trailer": gif(8, 8, striped) + b"junk",
    }


def _frames() -> dict[str, bytes]:
    cases = {
        "frame within": gif(8, 8, frame(2, 2, 4, 4)),
        "frame within, background": gif(8, 8, frame(2, 2, 4, 4), background=3),
        "frame within, clear colour": gif(8, 8, frame(2, 2, 4, 4, [0, 1] * 8, control=b"\1\0\0\0")),
        "frame larger": gif(8, 8, frame(0, 0, 12, 10)),
        "frame wider": gif(8, 8, frame(0, 0, 12, 4)),
        "frame reaches beyond": gif(8, 8, frame(4, 4, 8, 8)),
        "frame outside": gif(8, 8, frame(20, 20, 4, 4)),
        "second frame larger": gif(8, 8, frame(0, 0, 8, 8), frame(0, 0, 16, 16)),
        "frame of 0 × 0": gif(8, 8, frame(0, 0, 0, 0, [])),
        "frame of 0 × 4": gif(8, 8, frame(2, 2, 0, 4, [])),
        "frame of 0 × 0 before another": gif(8, 8, frame(0, 0, 0, 0, []), frame(0, 0, 8, 8)),
        "canvas of 0 × 0": gif(0, 0, frame(0, 0, 8, 8)),
        "canvas of 0 × 0, frame apart": gif(0, 0, frame(2, 2, 8, 8)),
    }
    for disposal in range(8):
        control = bytes((disposal << 2, 10, 0, 0))
        animated = gif(8, 8, frame(2, 2, 4, 4, control=control), frame(0, 0, 8, 8, [0] * 64))
        cases[f"disposal {disposal}"] = animated
    return cases


def _damaged() -> dict[str, tuple[bytes, Outcome]]:
    whole = packed([1] * 64)
    pixels = {"3 bytes short": whole[:-3], "half": whole[: len(whole) // 2]}
    cases = {
        name: (gif(8, 8, frame(0, 0, 8, 8, pixels=body))[:-1], Outcome.REFUSED)
        for name, body in pixels.items()
    }
    return cases | {
        "fewer pixels than told": (gif(8, 8, frame(0, 0, 8, 8, [1] * 40)), Outcome.REFUSED),
        "no pixels": (gif(8, 8, frame(0, 0, 8, 8, pixels=b"\2\0")), Outcome.NEITHER),
        "codes of 13 bits": (
            gif(8, 8, frame(0, 0, 8, 8, pixels=b"\x0d" + whole[1:])),
            Outcome.NEITHER,
        ),
        "no frame": (gif(8, 8), Outcome.NEITHER),
        "nothing at all": (gif(0, 0, frame(0, 0, 0, 0, [])), Outcome.NEITHER),
        "junk before the frame": (gif(8, 8, b"x", frame(0, 0, 8, 8)), Outcome.NEITHER),
        "control block too short": (gif(8, 8, b"!\xf9\1\1\0", frame(0, 0, 8, 8)), Outcome.NEITHER),
        "control block too long": (
            gif(8, 8, b"!\xf9\5\1\0\0\0\0\0", frame(0, 0, 8, 8)),
            Outcome.NEITHER,
        ),
        "88a": (gif(8, 8, frame(0, 0, 8, 8), head=b"GIF88a"), Outcome.NEITHER),
        "header alone": (gif(8, 8)[:10], Outcome.NEITHER),
    }
