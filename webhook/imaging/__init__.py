"""Pixels: bytes to an upright image, image and matte to a cut-out, cut-out to PNG bytes."""

from webhook.imaging.codec import SourceImage, decode, encode_png
from webhook.imaging.compose import Cutout, compose

__all__ = ["Cutout", "SourceImage", "compose", "decode", "encode_png"]
