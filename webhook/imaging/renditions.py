"""A cut-out's pixels to the files that are made of it. Which ones, the recipes tell."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webhook.domain import Box
from webhook.imaging.matte import OPAQUE
from webhook.imaging.png import assemble_png, encode_strip
from webhook.imaging.premultiplied import premultiply, put_on, straighten, word_of
from webhook.imaging.shrinking import shrink
from webhook.imaging.workers import CORES
from webhook.recipes import LARGEST_SIDE_PX, Format, RenditionRecipe

_PIXEL = TypeVar("_PIXEL", np.uint8, np.uint32)

_SUBJECT_ALPHA = 128
_LEAST_SUBJECT = 1e-4  # of the picture's area; less is a speck
_STRIP_BYTES = 2**21
_SMALL_PX = 2**18
# 176 levels of alpha, each within 1. With more than 192, libwebp codes alpha twice, to compare.
_WEBP_ALPHA_QUALITY = 90
_AVIF_SPEED = 8  # of 10; 6 takes three times as long for a tenth of the bytes

# Of a file, beside the picture and its PNG: the most that was measured, of noise.
_BYTES_PER_PIXEL: dict[Format, int] = {"PNG": 16, "JPEG": 6, "WEBP": 34, "AVIF": 36}
_GREY_PNG_BYTES_PER_PIXEL = 4
_GRANTED_BYTES_PER_PIXEL = 16
_PICTURE_BYTES_PER_PIXEL = 8  # itself, and its PNG at worst


@dataclass(frozen=True, slots=True)
class RenderedRendition:
    """One file.

    Attributes:
        recipe: What it was made by.
        data: The file.
        width: In pixels.
        height: In pixels.
    """

    recipe: RenditionRecipe
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Renditions:
    """What was made of one cut-out.

    Attributes:
        files: One for each recipe.
        subject: Where the subject is; None if next to nothing is opaque.
    """

    files: Sequence[RenderedRendition]
    subject: Box | None


def pixels_to_grant(recipes: Sequence[RenditionRecipe], pixels: int) -> int:
    """Return for how many pixels' memory a job must ask, whose picture has so many."""
    most = 0
    for recipe in recipes:
        largest = pixels
        if recipe.max_px is not None:
            largest = min(largest, recipe.max_px**2)
        if recipe.canvas is not None:
            largest = recipe.canvas[0] * recipe.canvas[1]
        is_grey_png = recipe.alpha_alone and recipe.format == "PNG"
        each = _GREY_PNG_BYTES_PER_PIXEL if is_grey_png else _BYTES_PER_PIXEL[recipe.format]
        most = max(most, largest * each)
    needed = _PICTURE_BYTES_PER_PIXEL * pixels + most
    return max(pixels, -(-needed // _GRANTED_BYTES_PER_PIXEL))


def render_renditions(
    rgba: NDArray[np.uint8], recipes: Sequence[RenditionRecipe], threads: int = CORES
) -> Renditions:
    """Make files of a cut-out.

    Args:
        rgba: uint8 (H, W, 4), contiguous, straight alpha, RGB 0 wherever alpha is 0. It is
            premultiplied in place, as a copy may cost 200 MB.
        recipes: What to make.
        threads: How many may work on it at once.
    """
    subject = find_subject(rgba)
    premultiply(rgba, threads)
    height, width = rgba.shape[:2]
    files: dict[str, RenderedRendition] = {}

    def scale(recipe: RenditionRecipe) -> tuple[Box, tuple[int, int]]:
        box = _part_shown(recipe, subject, width, height)
        return box, fitted_size(recipe, box.width, box.height)

    # Neighbours share what they shrink to; of two sizes at a time no more than one is held.
    for (box, size), group in groupby(sorted(recipes, key=scale), key=scale):
        small = shrink(rgba, box, size)
        for recipe in group:
            picture = _composed(small, recipe)
            data = _encoded(picture, recipe)
            files[recipe.name] = RenderedRendition(recipe, data, *picture.shape[1::-1])
    return Renditions([files[recipe.name] for recipe in recipes], subject)


def find_subject(rgba: NDArray[np.uint8]) -> Box | None:
    """Return the box of what is at least half opaque; None if that is next to nothing."""
    height, width = rgba.shape[:2]
    words = rgba.view(np.uint32)[:, :, 0]  # alpha is the highest byte
    columns = np.zeros(width, np.bool_)
    rows = np.zeros(height, np.bool_)
    count, rows_per_strip = 0, max(1, _STRIP_BYTES // (4 * width))
    for top in range(0, height, rows_per_strip):
        opaque = words[top : top + rows_per_strip] >= _SUBJECT_ALPHA << 24
        columns |= opaque.any(axis=0)
        rows[top : top + rows_per_strip] = opaque.any(axis=1)
        count += int(np.count_nonzero(opaque))
    if count < _LEAST_SUBJECT * width * height or not count:
        return None
    left, right = _ends(columns)
    upper, lower = _ends(rows)
    return Box(left, upper, right - left, lower - upper)


def fitted_size(recipe: RenditionRecipe, width: int, height: int) -> tuple[int, int]:
    """Return the size at which a picture is shown: never larger than it is."""
    longest = recipe.max_px or LARGEST_SIDE_PX
    most_wide, most_high = recipe.canvas or (longest, longest)
    scale = min(1, most_wide / width, most_high / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _ends(marked: NDArray[np.bool_]) -> tuple[int, int]:
    return int(marked.argmax()), marked.size - int(marked[::-1].argmax())


def _part_shown(recipe: RenditionRecipe, subject: Box | None, width: int, height: int) -> Box:
    """Return what of the picture is shown; a margin ends where the picture does."""
    if not recipe.crops or subject is None:
        return Box(0, 0, width, height)
    margin = recipe.margin
    if recipe.margin_unit == "%":
        margin = round(max(subject.width, subject.height) * margin / 100)
    left, top = max(0, subject.left - margin), max(0, subject.top - margin)
    right = min(width, subject.left + subject.width + margin)
    bottom = min(height, subject.top + subject.height + margin)
    return Box(left, top, right - left, bottom - top)


def _composed(small: NDArray[np.uint8], recipe: RenditionRecipe) -> NDArray[np.uint8]:
    """Return what the file shows: uint8 (H, W, 4), straight alpha; or grey (H, W, 1)."""
    if recipe.alpha_alone:
        return _on_canvas(small[:, :, 3].copy(), recipe, np.uint8(0))[:, :, None]
    picture = small.copy()
    if recipe.background is None:
        straighten(picture)
        empty = word_of((0, 0, 0, 0))
    else:
        put_on(picture, recipe.background)
        empty = word_of((*recipe.background, OPAQUE))
    words = _on_canvas(picture.view(np.uint32)[:, :, 0], recipe, empty)
    return words.view(np.uint8).reshape(*words.shape, 4)


def _on_canvas(picture: NDArray[_PIXEL], recipe: RenditionRecipe, empty: _PIXEL) -> NDArray[_PIXEL]:
    """Put a picture, a number for each pixel, into the middle of its canvas, if it has one."""
    if recipe.canvas is None:
        return picture
    canvas = np.full(recipe.canvas[::-1], empty)
    height, width = picture.shape
    left, top = (canvas.shape[1] - width) // 2, (canvas.shape[0] - height) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _encoded(picture: NDArray[np.uint8], recipe: RenditionRecipe) -> bytes:
    height, width, channels = picture.shape
    if recipe.format == "PNG":
        rows = max(1, _STRIP_BYTES // (channels * width))
        strips = [encode_strip(picture[top : top + rows]) for top in range(0, height, rows)]
        return assemble_png(width, height, strips, channels)
    mode = "L" if channels == 1 else "RGBA" if recipe.background is None else "RGBX"
    image = Image.frombuffer(mode, (width, height), picture, "raw", mode, 0, 1)
    file = io.BytesIO()
    image.save(file, recipe.format, **_options(recipe, width * height))
    return file.getvalue()


def _options(recipe: RenditionRecipe, pixels: int) -> dict[str, Any]:
    """Return how Pillow writes the file. Alpha stays within 1 of 255 in each format that has it."""
    match recipe.format:
        case "WEBP":
            # A large one by the quickest method: the next takes three times as long, for alpha.
            options = {"method": 2 if pixels <= _SMALL_PX else 0}
            if recipe.quality is None:
                return {**options, "lossless": True, "quality": 20}
            return {**options, "quality": recipe.quality, "alpha_quality": _WEBP_ALPHA_QUALITY}
        case "AVIF":
            return {
                "quality": recipe.quality,
                "speed": _AVIF_SPEED,
                "max_threads": 1,
                "codec": "aom",
                "advanced": {"alpha:cq-level": "0"},
            }
        case _:
            return {"quality": recipe.quality}
