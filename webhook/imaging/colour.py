"""ICC profiles: what stands between a file's numbers and sRGB. A broken one is left aside."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from webhook.telemetry import log

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of ICC colour spaces
_PROBE_LEVELS = np.linspace(0, 255, 6).astype(np.uint8)
_INVISIBLE = 1  # of 255 levels: many a camera writes sRGB with a rounding of its own

_BROKEN = (ImageCms.PyCMSError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class SrgbConversion:
    """From the colours of one profile to sRGB; `mode` is Pillow's for its numbers."""

    mode: str
    transform: ImageCms.ImageCmsTransform

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3) in sRGB; the image's own alpha plays no part."""
        if image.mode != self.mode:
            image = image.convert(self.mode)
        return np.asarray(self.transform.apply(image))


def srgb_conversion(profile: bytes | None, image_mode: str) -> SrgbConversion | None:
    """Return what brings an image of Pillow's `image_mode` to sRGB, or None: it is as good as that.

    A profile that is broken or belongs to another kind of image is logged, and the numbers are
    taken for sRGB, as browsers do.
    """
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = _MODES.get(space)
        if mode is None or (mode == "CMYK") != (image_mode == "CMYK"):
            raise ValueError(f"its colour space is {space}, the image's mode is {image_mode}")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        conversion = SrgbConversion(mode, transform)
        return None if _changes_nothing(conversion) else conversion
    except _BROKEN as exc:
        log.warning("icc_profile_ignored", reason=str(exc), profile_bytes=len(profile))
        return None


def _changes_nothing(conversion: SrgbConversion) -> bool:
    """Tell whether it is sRGB under whatever name: then a JPEG may take the fast way."""
    if conversion.mode == "CMYK":
        return False
    colours = np.stack(np.meshgrid(_PROBE_LEVELS, _PROBE_LEVELS, _PROBE_LEVELS), axis=-1)
    probe = colours.reshape(1, -1, 3)
    if conversion.mode == "L":
        probe = np.repeat(probe[:, :, :1], 3, axis=2)
    converted = conversion.apply(Image.fromarray(np.ascontiguousarray(probe)))
    return bool(np.abs(converted.astype(np.int16) - probe).max() <= _INVISIBLE)
