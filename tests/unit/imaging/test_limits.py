import pytest

from tests.support.fakes import make_image
from webhook.errors import ImageTooLarge
from webhook.imaging import decode


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_too_many_pixels_are_refused_by_the_header(file_format: str) -> None:
    data = make_image((100, 100), file_format)
    assert decode(data, max_pixels=10_000).rgba.shape == (100, 100, 4)
    with pytest.raises(ImageTooLarge, match="100 × 100"):
        decode(data, max_pixels=9_999)
