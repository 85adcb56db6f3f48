"""What a file's structure tells, found in one walk, before any library sees the file.

Each format has a module that reads only what a browser uses, and hands on a clean file: the parts
that make up the pixels, and nothing else. Metadata that is broken or hostile costs nothing here.
"""

from webhook.errors import UnsupportedImage
from webhook.imaging.containers import gif, jpeg, png, webp
from webhook.imaging.containers.picture import Picture
from webhook.imaging.containers.signatures import refusal

__all__ = ["Picture", "read_picture"]

_READERS = (
    (jpeg.is_jpeg, jpeg.read_jpeg),
    (png.is_png, png.read_png),
    (gif.is_gif, gif.read_gif),
    (webp.is_webp, webp.read_webp),
)


def read_picture(data: bytes) -> Picture:
    """Walk through a file of one of the IMAGE_FORMATS, told by its content. No pixel is decoded.

    Raises:
        UnsupportedImage: it is none of these, or damaged.
    """
    for is_of_this_format, read in _READERS:
        if is_of_this_format(data):
            return read(data)
    raise UnsupportedImage(refusal(data))
