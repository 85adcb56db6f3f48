"""Proof by construction: known subjects on known backgrounds, cut out, on black and on white."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage import data

from webhook.imaging import SourceImage, render_cutout

Colours = NDArray[np.float64]

SIZE = (600, 400)
MATTE_SIZE = 200
GREEN, WHITE = (0, 177, 64), (245, 245, 245)
PHOTOS = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}


def filled(name: str) -> Colours:
    if name in ("green", "white"):
        return np.full((SIZE[1], SIZE[0], 3), GREEN if name == "green" else WHITE, np.float64)
    return np.asarray(Image.fromarray(PHOTOS[name]).resize(SIZE), np.float64)


def hair() -> NDArray[np.float32]:
    """Return a disc with a soft and frayed edge."""
    y, x = np.mgrid[:MATTE_SIZE, :MATTE_SIZE] / MATTE_SIZE - 0.5
    fringe = 0.03 * np.sin(40 * np.arctan2(y, x))
    return np.asarray(np.clip((0.33 + fringe - np.hypot(x, y)) * 15 + 0.5, 0, 1), np.float32)


def bright_parts(name: str) -> NDArray[np.float32]:
    """Return a matte whose edges are the photograph's own, as those of a network are."""
    grey = Image.fromarray(PHOTOS[name]).convert("L").resize((MATTE_SIZE, MATTE_SIZE))
    smooth = np.asarray(grey.filter(ImageFilter.GaussianBlur(5)), np.float32)
    cut = Image.fromarray(((smooth > np.median(smooth)) * 255).astype(np.uint8))
    return np.asarray(cut.filter(ImageFilter.GaussianBlur(1.5)), np.float32) / np.float32(255)


def scenes() -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    names = list(PHOTOS)
    for i, subject in enumerate(names):
        for background in (names[i - 1], "green", "white"):
            yield subject, background, hair()
            yield subject, background, bright_parts(subject)


def edge_errors(subject: str, background: str, matte: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean error at the edge, on black and white: ours, and the naive cut-out's."""
    foreground = filled(subject)
    levels = Image.fromarray((matte * 255).round().astype(np.uint8))
    alpha = np.asarray(levels.resize(SIZE, Image.Resampling.BICUBIC))
    share = alpha[:, :, None] / 255
    scene = np.round(share * foreground + (1 - share) * filled(background)).astype(np.uint8)

    rgba = np.dstack((scene, np.full(scene.shape[:2], 255, np.uint8)))
    png = render_cutout(SourceImage(rgba, has_alpha=False), matte).png
    cutout = np.asarray(Image.open(io.BytesIO(png)))
    assert np.array_equal(cutout[:, :, 3], alpha)
    edge = (alpha > 0) & (alpha < 255)

    def error(colours: NDArray[np.uint8]) -> float:
        on = [
            np.abs(share * colours + (1 - share) * new - share * foreground - (1 - share) * new)
            for new in (0, 255)
        ]
        return float(np.mean([difference[edge] for difference in on]))

    return error(cutout[:, :, :3]), error(scene)


def test_edges_carry_the_subjects_colours() -> None:
    errors = [edge_errors(*scene) for scene in scenes()]
    ours, naive = np.array(errors).mean(axis=0)
    assert ours <= 0.3 * naive
    assert all(cleaned < plain for cleaned, plain in errors)


@pytest.mark.parametrize("background", ["green", "white"])
def test_before_a_plain_backdrop_little_of_it_is_left(background: str) -> None:
    ours, naive = edge_errors("coffee", background, hair())
    assert ours < 0.2 * naive


def test_hidden_colours_of_the_source_do_not_tint_the_edge() -> None:
    """A source that is itself a cut-out: what lies under its clear pixels is no background."""
    rgba = np.full((200, 300, 4), (40, 60, 200, 255), np.uint8)
    rgba[:, 150:] = 0
    matte = np.zeros((100, 100), np.float32)
    matte[:, :48] = 1
    matte[:, 48:50] = 0.5
    png = render_cutout(SourceImage(rgba, has_alpha=True), matte).png
    cutout = np.asarray(Image.open(io.BytesIO(png))).astype(int)
    seen = cutout[:, :, 3] > 0
    assert np.abs(cutout[seen][:, :3] - (40, 60, 200)).max() <= 2
