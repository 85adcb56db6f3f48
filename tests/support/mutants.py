"""Decodes thousands of damaged files in a process: `python -m tests.support.mutants COUNT`.

A test starts it: a crash, a hang or a memory bomb ends this process, not the tests. Its last line
is a JSON object.
"""

import io
import json
import random
import resource
import signal
import sys
import time
import warnings

import numpy as np
from PIL import Image

from bench.machine import peak_rss_bytes
from tests.support.images import (
    DISPLAY_P3_PRIMARIES,
    GREY,
    PALETTE,
    RGBA,
    cmyk_profile_with_orange_cyan,
    gif_with_offset_frame,
    noise,
    png,
    rgb_profile,
    saved,
)
from webhook.errors import ImageRejected
from webhook.imaging import decode

MAX_PIXELS = 50_000_000
MEMORY_LIMIT_BYTES = 2**30
LONGEST_S = 5
LIES = (
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00"),
    # 7,000 × 7,000 is just allowed: as PNG, JPEG and GIF write it.
    *(b"\x00\x00\x1b\x58\x00\x00\x1b\x58", b"\x1b\x58\x1b\x58", b"\x58\x1b\x58\x1b"),
)


def seeds() -> list[bytes]:
    """Return good files of every format."""
    photo = noise((48, 64, 3)).astype(np.uint8)
    with_alpha = noise((48, 64, 4)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = rgb_profile(DISPLAY_P3_PRIMARIES, 2.2)
    cmyk, animation = io.BytesIO(), [Image.fromarray(photo), Image.fromarray(photo[::-1])]
    Image.fromarray(photo).convert("CMYK").save(
        cmyk, "JPEG", icc_profile=cmyk_profile_with_orange_cyan()
    )
    animated = []
    for file_format in ("PNG", "GIF", "WEBP"):
        buffer = io.BytesIO()
        animation[0].save(buffer, file_format, save_all=True, append_images=animation[1:])
        animated.append(buffer.getvalue())
    palette = noise((16, 3)).astype(np.uint8).tobytes()
    return [
        saved(photo, "JPEG", exif=exif),
        saved(photo, "JPEG", progressive=True, icc_profile=wide),
        saved(photo, "JPEG", "L"),
        cmyk.getvalue(),
        saved(photo, "PNG", icc_profile=wide, exif=exif),
        png(noise((20, 30, 1), 65536), 16, GREY, transparency=b"\x00\x07", interlaced=True),
        png(noise((20, 30, 1), 16), 4, PALETTE, palette=palette, transparency=b"\x00\x80"),
        png(noise((20, 30, 4), 65536), 16, RGBA),
        saved(photo, "GIF"),
        gif_with_offset_frame(),
        saved(photo, "WEBP", exif=exif, icc_profile=wide),
        saved(with_alpha, "WEBP", lossless=True),
        *animated,
    ]


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Return the file with flipped bits, cut short, with a lie in its header, or spliced."""
    changed = bytearray(data)
    match dice.randrange(5):
        case 0:
            for _ in range(dice.choice((1, 1, 3, 20))):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        case 1:
            del changed[dice.randrange(len(changed)) :]
        case 2:  # sizes and lengths stand near the start
            start, lie = dice.randrange(min(64, len(changed) - 8)), dice.choice(LIES)
            changed[start : start + len(lie)] = lie
        case 3:
            start = dice.randrange(len(changed))
            del changed[start : start + dice.randrange(1, 40)]
        case _:
            start = dice.randrange(len(changed))
            changed[start:start] = changed[dice.randrange(len(changed)) :][:200]
    return bytes(changed)


def main(count: int) -> None:
    """Decode `count` mutants and report."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever library it is in
    dice, files = random.Random(20), seeds()
    decoded, slowest_cpu_s = 0, 0.0
    for index in range(count):
        data = mutate(files[index % len(files)], dice)
        signal.alarm(LONGEST_S)
        started = time.process_time()
        try:
            image = decode(data, MAX_PIXELS)
            height, width, channels = image.rgba.shape
            assert channels == 4
            assert 1 <= height * width <= MAX_PIXELS
            decoded += 1
        except ImageRejected:
            pass
        except BaseException:
            print(f"mutant {index} of seed file {index % len(files)}", file=sys.stderr)
            raise
        slowest_cpu_s = max(slowest_cpu_s, time.process_time() - started)
    signal.alarm(0)
    peak_bytes = peak_rss_bytes()
    print(
        json.dumps(
            {
                "mutants": count,
                "decoded": decoded,
                "slowest_cpu_s": round(slowest_cpu_s, 3),
                "peak_bytes": peak_bytes,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
