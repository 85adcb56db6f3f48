import numpy as np
import pytest

from tests.support.images import SCAN, chunk, png, progressive_jpeg, with_scans
from webhook.errors import UnsupportedImage
from webhook.imaging import decode

MAX_PIXELS = 50_000_000


def test_scans_are_counted_where_the_picture_is_and_nowhere_else() -> None:
    picture = progressive_jpeg()
    thumbnail = b"\xff\xe2" + (1_002).to_bytes(2, "big") + SCAN * 500
    film_behind_it = SCAN * 500
    data = picture[:2] + thumbnail + with_scans(picture[2:], 50) + film_behind_it
    assert decode(data, MAX_PIXELS).rgba.shape == (600, 600, 4)
    with pytest.raises(UnsupportedImage, match="scans"):
        decode(with_scans(picture, 51), MAX_PIXELS)


def test_a_large_png_in_small_pieces_is_decoded() -> None:
    whole = png(np.zeros((4, 4, 3), np.uint8), 8, 2)
    comments = chunk(b"abCd", bytes(4_096)) * 12_000
    assert decode(whole[:33] + comments + whole[33:], MAX_PIXELS).rgba.shape == (4, 4, 4)
