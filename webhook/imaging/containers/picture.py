"""What the readers of all formats return, and the words for what is wrong with a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from webhook.errors import UnsupportedImage
from webhook.imaging.hdr import HdrColours

MAX_PIECES = 50_000
"""Segments, chunks or blocks that are walked through: an honest file of 64 MB has 16,000 at most,
each of them takes a microsecond of the interpreter."""

MAX_PROFILE_BYTES = 4 * 2**20
"""Of an ICC profile. Those of presses have 0.5 to 3 MB; a larger one is left aside."""


Colours = Literal["grey", "colour", "inks"]
"""What the numbers of a picture stand for: one, three or four of them a pixel, alpha apart."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file's first picture.

    Attributes:
        format: As Pillow names it.
        size: Width and height of the canvas, as stored.
        colours: What its numbers stand for.
        parts: The clean file, in pieces: what the pixels need and nothing else.
        frame_size: Width and height of what the clean file holds; (0, 0) if nothing is to be drawn.
        frame_at: Where on the canvas it stands; the rest is clear.
        orientation: EXIF's, 1 to 8.
        profile: ICC profile; at most MAX_PROFILE_BYTES + 1 of it.
        spare_profile: What counts in its place if `profile` is broken.
        hdr: What counts in place of any profile: its numbers are light of a high dynamic range.
        is_clean: Whether the file itself may be decoded in place of `parts`, without a copy.
        is_complete: Whether the file has an end. Only a JPEG may lack it.
        block_rows: Of a JPEG: how many rows are coded together.
    """

    format: str
    size: tuple[int, int]
    colours: Colours
    parts: Sequence[bytes | memoryview]
    frame_size: tuple[int, int]
    frame_at: tuple[int, int] = (0, 0)
    orientation: int = 1
    profile: bytes | None = None
    spare_profile: bytes | None = None
    hdr: HdrColours | None = None
    is_clean: bool = False
    is_complete: bool = True
    block_rows: int = 1

    def clean_file(self) -> bytes:
        """Put the clean file together."""
        return b"".join(self.parts)


def damaged(detail: str) -> UnsupportedImage:
    """Return the error of a file that is cut short or broken; `detail` is a clause about it."""
    return UnsupportedImage(f"The image file is damaged or incomplete: {detail}.")


def too_many_pieces() -> UnsupportedImage:
    """Return the error of a file that is made to keep its reader busy."""
    return damaged(f"it consists of more than {MAX_PIECES:,} pieces")
