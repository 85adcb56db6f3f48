"""Damaged files, and files of kinds that are not served."""

import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from itertools import pairwise

import numpy as np

from tests.support.images import noise, saved
from tests.support.mutants import mutate, seeds


@cache
def _good_files() -> list[bytes]:
    return seeds()


def _mutant(seed: int) -> bytes:
    dice = random.Random(seed)
    return mutate(dice.choice(_good_files()), dice)


def _spliced(seed: int) -> bytes:
    """Begin as one format and go on as another."""
    dice = random.Random(seed)
    one, another = dice.sample(_good_files(), 2)
    return one[: dice.randrange(8, len(one))] + another[dice.randrange(len(another)) :]


def _iso(brand: bytes) -> Callable[[int], bytes]:
    def make(seed: int) -> bytes:
        kind = struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand
        return kind + random.Random(seed).randbytes(4_000)

    return make


@cache
def _photo(file_format: str) -> bytes:
    return saved(noise((64, 64, 3)).astype(np.uint8), file_format)


def _whole(file_format: str) -> Callable[[int], bytes]:
    return lambda seed: _photo(file_format) + str(seed).encode()


def _page(seed: int) -> bytes:
    return f"<!DOCTYPE html><title>{seed}</title><script>alert({seed})</script>".encode() * 1_000


def _drawing(seed: int) -> bytes:
    """An SVG that grows a thousand million times."""
    names = "abcdefghi"
    entities = "".join(
        f'<!ENTITY {name} "{f"&{former};" * 10}">' for former, name in pairwise(names)
    )
    text = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "{seed}">{entities}]>'
    return f'{text}<svg xmlns="http://www.w3.org/2000/svg"><text>&i;</text></svg>'.encode()


def _archive(seed: int) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{seed}.txt", bytes(10_000_000))
    return file.getvalue()


def _random(seed: int) -> bytes:
    return random.Random(seed).randbytes(100_000)


def _zeros(seed: int) -> bytes:
    return bytes(2_000_000 + seed)


def _short(seed: int) -> bytes:
    starts = (b"", b"\0", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF")
    return starts[seed % len(starts)]


def _packed(seed: int) -> bytes:
    return b"\x1f\x8b\x08" + zlib.compress(bytes(1_000_000 + seed))


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "mutant": _mutant,
    "another-mutant": lambda seed: _mutant(-1 - seed),
    "spliced": _spliced,
    "heic": _iso(b"heic"),
    "avif": _iso(b"avif"),
    "tiff": _whole("TIFF"),
    "bmp": _whole("BMP"),
    "icon": _whole("ICO"),
    "html": _page,
    "svg": _drawing,
    "zip": _archive,
    "gzip": _packed,
    "random": _random,
    "zeros": _zeros,
    "short": _short,
}
