"""What a specimen is, and the photograph that most of them show."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from PIL import Image


class Outcome(Enum):
    """What a browser and the decoder make of a file."""

    SAME = "both show it, and it looks the same"
    NEITHER = "the browser shows nothing, the decoder refuses"
    REFUSED = "the browser shows a part, the decoder refuses: a cut-out of a part is of no use"
    SERVED = "the browser shows nothing, the decoder shows all that is there"
    OTHERWISE = "both show it, differently"


@dataclass(frozen=True, slots=True)
class Specimen:
    """A file, and what is to become of it.

    Attributes:
        name: What is special about it.
        data: The file.
        outcome: In a browser and in the decoder.
        tolerance: How many of 255 levels the two may differ, alpha multiplied in.
    """

    name: str
    data: bytes
    outcome: Outcome = Outcome.SAME
    tolerance: int = 1


_ramp = np.asarray(Image.linear_gradient("L").resize((40, 32)))
PHOTO = np.ascontiguousarray(np.dstack((_ramp, _ramp[::-1], _ramp[:, ::-1])))
"""uint8 (32, 40, 3): smooth, with saturated corners and no symmetry."""

ALPHA = np.ascontiguousarray(_ramp[:, ::-1].copy())
ALPHA[:6], ALPHA[-6:] = 0, 255


def large_photo(
    height: int = 96, width: int = 160
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return uint8 (H, W, 3) with detail in each block of a JPEG."""
    dice = np.random.default_rng(1)
    small = dice.integers(0, 255, (height // 2, width // 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
