"""Pixels: bytes to an upright image, image and matte to the PNG of the cut-out."""

from webhook.imaging.colour import IgnoredProfile
from webhook.imaging.decode import SourceImage, decode, probe
from webhook.imaging.png import encode_png
from webhook.imaging.render import Cutout, render_cutout

__all__ = [
    "Cutout",
    "IgnoredProfile",
    "SourceImage",
    "decode",
    "encode_png",
    "probe",
    "render_cutout",
]
