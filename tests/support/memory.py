"""Measures what pictures cost, each in a process of its own: `python -m tests.support.memory`.

A test writes files to its stdin, each after a line with its size and the renditions that are to be
made; of each it prints a line of JSON.
What is imported is imported once; for each picture it forks. So an earlier picture cannot hide the
peak of the next one, and one that costs too much ends its own process only.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MEMORY_LIMIT_BYTES = 8 * 2**30
MATTE_PX = 1024
THREADS = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What a picture costs on its way from the file to the PNG, without the network.

    Attributes:
        pixels: Of the picture.
        grown_bytes: How much the resident memory grew at its peak; the file itself is not counted.
        cpu_s: Processor seconds of all threads.
    """

    pixels: int
    grown_bytes: int
    cpu_s: float


@contextmanager
def measuring() -> Iterator[Callable[..., Cost]]:
    """Give what tells the cost of a picture; it fails where the process of the picture does."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def measure(data: bytes, renditions: str = "") -> Cost:
            to.write(b"%d %s\n%s" % (len(data), renditions.encode(), data))
            to.flush()
            told = json.loads(back.readline())
            assert told is not None, "its process has ended; stderr tells why"
            return Cost(**told)

        yield measure
        to.close()


def main() -> None:
    """Measure the pictures on stdin."""
    from webhook.tuning import tune_process

    tune_process()  # as the service is
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))

    import numpy as np

    from bench.image_path import SIZE_ALONE
    from bench.machine import peak_rss_bytes
    from tests.support.fakes import make_image
    from webhook.imaging import decode, probe, render_cutout
    from webhook.imaging.renditions import render_renditions
    from webhook.recipes import parse_renditions
    from webhook.segmentation.segmenter import shrink

    # It has soft edges everywhere: the dearest of all.
    matte = np.random.default_rng(0).random((MATTE_PX, MATTE_PX), np.float32)

    def cut_out(data: bytes, renditions: str = "") -> int:
        pixels = probe(data, max_pixels=10**9)
        image = decode(data, max_pixels=10**9)
        shrink(image.rgba, SIZE_ALONE)
        png = render_cutout(image, matte, THREADS).png
        if renditions:
            render_renditions(image.rgba, parse_renditions(renditions), THREADS)
        del png  # it is held until it is stored
        return pixels

    def measure(data: bytes, renditions: str) -> dict[str, Any]:
        for file_format in ("JPEG", "PNG", "GIF", "WEBP"):  # what is loaded once is no picture's
            cut_out(make_image((100, 100), file_format))
        started, before = time.process_time(), peak_rss_bytes()
        pixels = cut_out(data, renditions)
        return {
            "pixels": pixels,
            "grown_bytes": peak_rss_bytes() - before,
            "cpu_s": time.process_time() - started,
        }

    while line := sys.stdin.buffer.readline():
        size, _, renditions = line.decode().strip().partition(" ")
        data = sys.stdin.buffer.read(int(size))
        if (child := os.fork()) == 0:
            print(json.dumps(measure(data, renditions)), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            print(json.dumps(None), flush=True)


if __name__ == "__main__":
    main()
