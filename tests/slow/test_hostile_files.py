"""Files made to cost more than they are worth: large ones, many of them, and what they cost."""

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.images import SCAN, chunk, png, progressive_jpeg, with_scans
from webhook.errors import ImageTooLarge, UnsupportedImage
from webhook.imaging import decode

MAX_PIXELS = 50_000_000

REFUSE_AND_MEASURE = """
import json, sys, time
from bench.machine import peak_rss_bytes
from webhook.errors import ImageTooLarge
from webhook.imaging import decode

data, cpu_s, before = sys.stdin.buffer.read(), [], peak_rss_bytes()
for _ in range(5):
    started = time.process_time()
    try:
        decode(data, max_pixels=50_000_000)
    except ImageTooLarge:
        cpu_s.append(time.process_time() - started)
print(json.dumps([min(cpu_s), peak_rss_bytes() - before]))
"""


def bomb() -> bytes:
    """Return 100 megapixels in 12 kB."""
    header = b"\x00\x00\x27\x10\x00\x00\x27\x10\x01\x00\x00\x00\x00"  # 10,000², 1 bit, grey
    rows = zlib.compress(bytes(10_000 * 1_251), 9)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_small_file_of_a_hundred_megapixels_costs_next_to_nothing() -> None:
    data = bomb()
    assert len(data) < 13_000
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=50_000_000)
    # In a process of its own, as a peak that was reached before would hide this one's.
    finished = subprocess.run(
        [sys.executable, "-c", REFUSE_AND_MEASURE], input=data, capture_output=True, check=True
    )
    cpu_s, grown_bytes = json.loads(finished.stdout)
    assert cpu_s < 0.05
    assert grown_bytes < 50 * 2**20


def cpu_seconds_to_refuse(data: bytes) -> float:
    """Decode what is refused; return what it cost: CPU time, which other work does not lengthen."""
    started = time.thread_time()
    with pytest.raises(UnsupportedImage):
        decode(data, MAX_PIXELS)
    return time.thread_time() - started


def test_a_small_jpeg_of_endless_scans_is_refused_before_they_are_decoded() -> None:
    # 75 bytes a scan, 75 ms each: half an hour of a thread that no deadline can stop.
    data = with_scans(progressive_jpeg(7_000), 25_000)
    assert len(data) < 2_200_000
    assert cpu_seconds_to_refuse(data) < 1


def runs_of_markers() -> bytes:
    picture = with_scans(progressive_jpeg(), 30)
    return picture[:-2] + b"\xff\xfe\0\2" * 500_000 + SCAN * 60


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(np.zeros((4, 4, 3), np.uint8), 8, 2)[:33] + chunk(b"abCd", b"") * 1_000_000,
        lambda: b"\xff\xd8" + b"\xff" * 20_000_000,
        lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 5_000_000,
        runs_of_markers,
    ],
    ids=["png-chunks", "jpeg-padding", "jpeg-comments", "jpeg-markers-between-scans"],
)
def test_a_file_in_millions_of_pieces_is_refused_before_they_are_put_together(
    make: Callable[[], bytes],
) -> None:
    assert cpu_seconds_to_refuse(make()) < 1


def test_damaged_files_of_every_format_end_cleanly() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.mutants", "2000"], capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr.decode()
    report = json.loads(finished.stdout.splitlines()[-1])
    assert report["mutants"] == 2000
    assert 200 < report["decoded"] < 1800  # both ends are seen
    assert report["slowest_cpu_s"] < 5
    assert report["peak_bytes"] < 2**30
