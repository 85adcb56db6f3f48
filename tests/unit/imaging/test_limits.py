import json
import subprocess
import sys
import zlib

import pytest

from tests.support.fakes import make_image
from tests.support.images import chunk
from webhook.errors import ImageTooLarge
from webhook.imaging import decode

REFUSE_AND_MEASURE = """
import json, sys, time
from bench.machine import peak_rss_bytes
from webhook.errors import ImageTooLarge
from webhook.imaging import decode

data, seconds, before = sys.stdin.buffer.read(), [], peak_rss_bytes()
for _ in range(5):
    started = time.perf_counter()
    try:
        decode(data, max_pixels=50_000_000)
    except ImageTooLarge:
        seconds.append(time.perf_counter() - started)
print(json.dumps([min(seconds), peak_rss_bytes() - before]))
"""


def bomb() -> bytes:
    """Return 100 megapixels in 12 kB."""
    header = b"\x00\x00\x27\x10\x00\x00\x27\x10\x01\x00\x00\x00\x00"  # 10,000², 1 bit, grey
    rows = zlib.compress(bytes(10_000 * 1_251), 9)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_small_file_of_a_hundred_megapixels_is_refused_at_once() -> None:
    data = bomb()
    assert len(data) < 13_000
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=50_000_000)
    # In a process of its own, as a peak that was reached before would hide this one's.
    finished = subprocess.run(
        [sys.executable, "-c", REFUSE_AND_MEASURE], input=data, capture_output=True, check=True
    )
    seconds, grown_bytes = json.loads(finished.stdout)
    assert seconds < 0.05
    assert grown_bytes < 50 * 2**20


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_too_many_pixels_are_refused_by_the_header(file_format: str) -> None:
    data = make_image((100, 100), file_format)
    assert decode(data, max_pixels=10_000).rgba.shape == (100, 100, 4)
    with pytest.raises(ImageTooLarge, match="100 × 100"):
        decode(data, max_pixels=9_999)


def test_damaged_files_of_every_format_end_cleanly() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.mutants", "2000"], capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr.decode()
    report = json.loads(finished.stdout.splitlines()[-1])
    assert report["mutants"] == 2000
    assert 200 < report["decoded"] < 1800  # both ends are seen
    assert report["slowest_s"] < 5
    assert report["peak_bytes"] < 2**30
