"""Measures what a picture costs in a process of its own: `python -m tests.support.memory`.

A test writes the file to its stdin. Its only line is a JSON object. Here an earlier picture cannot
hide the peak of this one, and a picture that costs too much ends this process, not the tests.
"""

import json
import resource
import subprocess
import sys
import time
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


def measure(data: bytes) -> Cost:
    """Return what a picture costs; fails with the stderr of the process."""
    command = [sys.executable, "-m", __name__]
    finished = subprocess.run(command, input=data, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    return Cost(**json.loads(finished.stdout))


def main() -> None:
    """Measure the picture on stdin."""
    from webhook.tuning import tune_process

    tune_process()  # as the service is
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))

    import numpy as np

    from bench.image_path import SIZE_ALONE
    from bench.machine import peak_rss_bytes
    from tests.support.fakes import make_image
    from webhook.imaging import decode, probe, render_cutout
    from webhook.segmentation.segmenter import shrink

    # It has soft edges everywhere: the dearest of all.
    matte = np.random.default_rng(0).random((MATTE_PX, MATTE_PX), np.float32)

    def cut_out(data: bytes) -> int:
        pixels = probe(data, max_pixels=10**9)
        image = decode(data, max_pixels=10**9)
        shrink(image.rgba, SIZE_ALONE)
        render_cutout(image, matte, THREADS)
        return pixels

    data = sys.stdin.buffer.read()
    for file_format in ("JPEG", "PNG", "GIF", "WEBP"):  # what is loaded once is no picture's cost
        cut_out(make_image((100, 100), file_format))
    started, before = time.process_time(), peak_rss_bytes()
    pixels = cut_out(data)
    cost: dict[str, Any] = {
        "pixels": pixels,
        "grown_bytes": peak_rss_bytes() - before,
        "cpu_s": time.process_time() - started,
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
