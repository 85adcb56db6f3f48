"""ICC profiles: what stands between a file's numbers and sRGB. A broken one is left aside."""

import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from webhook.imaging import profiles
from webhook.imaging.containers.picture import Colours

# Of ICC's colour spaces: Pillow's mode, and the pictures whose profile it can be.
_SPACES: dict[str, tuple[str, tuple[Colours, ...]]] = {
    "RGB": ("RGB", ("colour", "grey")),
    "GRAY": ("L", ("grey",)),
    "CMYK": ("CMYK", ("inks",)),
}
_PROBE_LEVELS = np.linspace(0, 255, 6).astype(np.uint8)
_LEVELS = np.arange(256, dtype=np.uint8)
_INVISIBLE = 1  # of 255 levels: many a camera writes sRGB with a rounding of its own

_BROKEN = (ImageCms.PyCMSError, OSError, TypeError, ValueError)


class SrgbConversion(Protocol):
    """From the colours of one profile to sRGB."""

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3) in sRGB; the image's own alpha plays no part."""


@dataclass(frozen=True, slots=True)
class _OfColours:
    """By Little CMS, pixel by pixel; `mode` is Pillow's for its numbers."""

    mode: str
    transform: ImageCms.ImageCmsTransform

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        if self.mode == "CMYK":
            image = _without_black(image)
        elif image.mode != self.mode:
            image = image.convert(self.mode)
        converted: NDArray[np.uint8] = np.array(self.transform.apply(image))
        return converted


@dataclass(frozen=True, slots=True)
class _OfGreys:
    """By a table, uint8 (256, 3): Little CMS is exact for greys only where it may take its time."""

    table: NDArray[np.uint8]

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        if image.mode != "L":
            image = image.convert("L")
        converted: NDArray[np.uint8] = self.table[np.asarray(image)]
        return converted


@dataclass(frozen=True, slots=True)
class IgnoredProfile:
    """A profile that was left aside: why, and how large it is."""

    reason: str
    profile_bytes: int


def _without_black(inks: Image.Image) -> Image.Image:
    """Spread black over the other inks, as Chromium does before it asks the profile."""
    cyan, magenta, yellow = ImageOps.invert(inks.convert("RGB")).split()
    return Image.merge("CMYK", (cyan, magenta, yellow, Image.new("L", inks.size)))


def srgb_conversion(
    profile: bytes | None, colours: Colours, spare: bytes | None = None
) -> tuple[SrgbConversion | None, IgnoredProfile | None]:
    """Return what brings a picture to sRGB, or None: it is as good as that.

    Of a profile that is broken or belongs to another kind of image the second value tells. In place
    of a broken one `spare` counts; else the numbers are taken for sRGB, as browsers do.
    """
    if not profile:
        return None, None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profiles.usable(profile)))
    except _BROKEN as exc:
        conversion, _ = srgb_conversion(spare, colours)
        return conversion, IgnoredProfile(str(exc), len(profile))
    try:
        return _conversion(source, colours), None
    except _BROKEN as exc:
        return None, IgnoredProfile(str(exc), len(profile))


def _conversion(source: ImageCms.ImageCmsProfile, colours: Colours) -> SrgbConversion | None:
    space = source.profile.xcolor_space.strip()
    mode, fitting = _SPACES[space]
    if colours not in fitting:
        raise ValueError(f"its colour space is {space}, which does not fit a picture in {colours}")
    # As browsers do: relative colorimetric, and black is not made blacker than the profile says.
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE,
    )
    conversion: SrgbConversion = _OfColours(mode, transform)
    if mode == "L":
        conversion = _OfGreys(conversion.apply(Image.fromarray(_LEVELS[None]))[0])
    return None if mode != "CMYK" and _changes_nothing(conversion) else conversion


def _changes_nothing(conversion: SrgbConversion) -> bool:
    """Tell whether it is sRGB under whatever name: then a JPEG may take the fast way."""
    colours = np.stack(np.meshgrid(_PROBE_LEVELS, _PROBE_LEVELS, _PROBE_LEVELS), axis=-1)
    probe = colours.reshape(1, -1, 3)
    if isinstance(conversion, _OfGreys):
        probe = np.repeat(_LEVELS[None, :, None], 3, axis=2)
    converted = conversion.apply(Image.fromarray(np.ascontiguousarray(probe)))
    return bool(np.abs(converted.astype(np.int16) - probe).max() <= _INVISIBLE)
