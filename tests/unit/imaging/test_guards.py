import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.support.images import chunk, png
from webhook.errors import UnsupportedImage
from webhook.imaging import decode

MAX_PIXELS = 50_000_000
SCAN = b"\xff\xda"


def progressive_jpeg(side_px: int = 600) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side_px, side_px), 128).save(file, "JPEG", progressive=True)
    return file.getvalue()


def with_scans(data: bytes, count: int) -> bytes:
    """Repeat the last scan of a JPEG until it has `count`."""
    last = data.rfind(SCAN)
    return data[:last] + data[last:-2] * (count - data.count(SCAN) + 1) + data[-2:]


def seconds_to_refuse(data: bytes) -> float:
    started = time.perf_counter()
    with pytest.raises(UnsupportedImage):
        decode(data, MAX_PIXELS)
    return time.perf_counter() - started


def test_a_small_jpeg_of_endless_scans_is_refused_before_they_are_decoded() -> None:
    # 75 bytes a scan, 75 ms each: half an hour of a thread that no deadline can stop.
    data = with_scans(progressive_jpeg(7_000), 25_000)
    assert len(data) < 2_200_000
    assert seconds_to_refuse(data) < 1


def test_scans_are_counted_where_the_picture_is_and_nowhere_else() -> None:
    picture = progressive_jpeg()
    thumbnail = b"\xff\xe2" + (1_002).to_bytes(2, "big") + SCAN * 500
    film_behind_it = SCAN * 500
    data = picture[:2] + thumbnail + with_scans(picture[2:], 50) + film_behind_it
    assert decode(data, MAX_PIXELS).rgba.shape == (600, 600, 4)
    with pytest.raises(UnsupportedImage, match="scans"):
        decode(with_scans(picture, 51), MAX_PIXELS)


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
def test_a_file_in_millions_of_pieces_is_refused_at_once(make: Callable[[], bytes]) -> None:
    assert seconds_to_refuse(make()) < 1


def test_a_large_png_in_small_pieces_is_decoded() -> None:
    whole = png(np.zeros((4, 4, 3), np.uint8), 8, 2)
    comments = chunk(b"abCd", bytes(4_096)) * 12_000
    assert decode(whole[:33] + comments + whole[33:], MAX_PIXELS).rgba.shape == (4, 4, 4)
