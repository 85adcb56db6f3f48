"""Files that are made of a cut-out: their sizes, their colours, and that no edge shines."""

import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from webhook.domain import Box
from webhook.imaging import SourceImage, decode, render_cutout
from webhook.imaging.premultiplied import premultiply, put_on, straighten
from webhook.imaging.renditions import (
    RenderedRendition,
    find_subject,
    pixels_to_grant,
    render_renditions,
)
from webhook.imaging.shrinking import shrink
from webhook.recipes import parse_renditions

RED, GREEN = (200, 30, 40), (20, 160, 90)


def disc(
    width: int = 200, height: int = 150, colour: tuple[int, int, int] = RED
) -> NDArray[np.uint8]:
    """A disc with a soft edge, 40 pixels in radius, around (60, 70): RGB 0 where it is clear."""
    y, x = np.mgrid[:height, :width]
    alpha = (np.clip(40.5 - np.hypot(x - 60, y - 70), 0, 1) * 255).round().astype(np.uint8)
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[:, :, :3] = colour
    rgba[:, :, 3] = alpha
    rgba[alpha == 0] = 0
    return rgba


def make(rgba: NDArray[np.uint8], text: str) -> list[RenderedRendition]:
    return list(render_renditions(rgba.copy(), parse_renditions(text)).files)


def opened(made: RenderedRendition) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.size == (made.width, made.height)
        return np.asarray(image)


def over(rgba: NDArray[np.uint8], background: int) -> NDArray[np.floating]:
    alpha = rgba[:, :, 3:] / 255
    return rgba[:, :, :3] * alpha + background * (1 - alpha)


# --- sizes and places -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("a.png", (200, 150)),
        ("a.png?max=100", (100, 75)),
        ("a.png?max=1000", (200, 150)),
        ("a.png?size=100x100", (100, 100)),
        ("a.png?size=300x400", (300, 400)),
        ("a.png?crop=subject", (81, 81)),
        ("a.png?crop=subject&margin=10px", (101, 101)),
        ("a.png?crop=subject&margin=10%", (97, 97)),
        ("a.png?crop=subject&margin=30px", (131, 141)),  # it ends at the border
        ("a.png?crop=subject&max=20", (20, 20)),
        ("a.png?channel=alpha&max=40", (40, 30)),
    ],
)
def test_the_size_follows_from_the_recipe(text: str, size: tuple[int, int]) -> None:
    (made,) = make(disc(), text)
    assert (made.width, made.height) == size
    assert opened(made).shape[1::-1] == size


def test_a_subject_is_what_is_half_opaque() -> None:
    assert find_subject(disc()) == Box(20, 30, 81, 81)
    assert render_renditions(disc(), ()).subject == Box(20, 30, 81, 81)


@pytest.mark.parametrize("specks", [0, 2])
def test_next_to_nothing_is_no_subject_and_not_cropped_to(specks: int) -> None:
    rgba = np.zeros((150, 200, 4), np.uint8)
    rgba[7, :specks] = 255
    made = render_renditions(rgba, parse_renditions("a.png?crop=subject"))
    assert made.subject is None
    assert (made.files[0].width, made.files[0].height) == (200, 150)


def test_a_canvas_has_the_picture_in_its_middle() -> None:
    (clear, white) = make(disc(), "a.png?size=100x200 b.png?size=100x200&background=ffffff")
    pixels = opened(clear)
    assert not pixels[:62].any()
    assert not pixels[137:].any()
    assert (opened(white)[:62] == 255).all()
    assert tuple(pixels[62 + 35, 30]) == (*RED, 255)


def test_files_come_in_the_order_of_the_recipes() -> None:
    names = [it.recipe.name for it in make(disc(), "b.png?max=9 a.png c.webp?max=9")]
    assert names == ["b.png", "a.png", "c.webp"]


# --- colours --------------------------------------------------------------------------------------


def test_a_png_of_full_size_is_the_cutout_to_within_rounding() -> None:
    rgba = disc()
    pixels = opened(make(rgba, "a.png")[0])
    assert np.array_equal(pixels[:, :, 3], rgba[:, :, 3])
    whole = np.isin(rgba[:, :, 3], (0, 255))
    assert np.array_equal(pixels[whole], rgba[whole])
    for background in (0, 255):
        assert np.abs(over(pixels, background) - over(rgba, background)).max() < 1


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(200, 150, (67, 50)), (200, 150, (199, 149)), (4000, 150, (400, 15)), (200, 150, (7, 5))],
    ids=str,
)
def test_no_fringe_of_one_colour_whatever_is_behind(
    width: int, height: int, size: tuple[int, int]
) -> None:
    """A subject of one colour has this colour everywhere, at any size, to within rounding."""
    rgba = disc(width, height)
    premultiply(rgba)
    small = shrink(rgba, Box(0, 0, width, height), size).copy()
    alpha = small[:, :, 3].astype(float)
    straighten(small)
    assert (alpha > 0).any()
    error = np.abs(small[:, :, :3].astype(float) - RED)
    assert (error * alpha[:, :, None] / 255).max() <= 2


def test_between_two_colours_at_an_edge_are_only_their_mixtures() -> None:
    """Red and green side by side, each with its edge to clear: nothing brighter, nothing darker."""
    rgba = disc(colour=RED)
    green = disc(colour=GREEN)
    rgba[:, 60:] = green[:, 60:]
    for size in ((90, 68), (33, 25)):
        premultiplied = rgba.copy()
        premultiply(premultiplied)
        small = shrink(premultiplied, Box(0, 0, 200, 150), size).copy()
        edge = (small[:, :, 3] > 40) & (small[:, :, 3] < 255)
        straighten(small)
        colours = small[edge][:, :3].astype(float)
        assert edge.any()
        assert (colours.min(axis=0) >= np.minimum(RED, GREEN) - 4).all()
        assert (colours.max(axis=0) <= np.maximum(RED, GREEN) + 4).all()


def test_inside_of_the_subject_it_is_as_sharp_as_bicubic() -> None:
    rng = np.random.default_rng(3)
    rgba = np.full((90, 120, 4), 255, np.uint8)
    rgba[:, :, :3] = rng.integers(0, 256, (90, 120, 3))
    small = shrink(rgba, Box(0, 0, 120, 90), (50, 40))
    usual = np.asarray(Image.fromarray(rgba[:, :, :3]).resize((50, 40), Image.Resampling.BICUBIC))
    assert np.abs(small[:, :, :3].astype(int) - usual).max() <= 2


def test_a_large_picture_is_shrunk_in_bands_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = disc()
    premultiply(rgba)
    box, size = Box(11, 5, 150, 120), (75, 61)
    at_once = shrink(rgba, box, size).astype(int)
    monkeypatch.setattr("webhook.imaging.shrinking._SPARE_BYTES_PER_PIXEL", 0)
    whole = shrink(rgba, box, size).astype(int)
    monkeypatch.setattr("webhook.imaging.shrinking._BAND_PX", 300)
    assert np.abs(shrink(rgba, box, size).astype(int) - whole).max() <= 1
    assert np.abs(at_once - whole).mean() < 1


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 30)], ids=str)
def test_behind_the_subject_is_the_background(background: tuple[int, int, int]) -> None:
    rgba = disc()
    premultiplied = rgba.copy()
    premultiply(premultiplied)
    put_on(premultiplied, background)
    alpha = rgba[:, :, 3:] / 255
    exact = rgba[:, :, :3] * alpha + np.array(background) * (1 - alpha)
    assert np.abs(premultiplied[:, :, :3] - exact).max() <= 1
    assert (premultiplied[:, :, 3] == 255).all()


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.webp", "a.webp?quality=lossless", "a.avif", "a.avif?quality=5"]
)
@pytest.mark.parametrize("size", ["", "max=90", "size=70x90", "crop=subject&max=30"])
def test_alpha_is_that_of_the_png(name: str, size: str) -> None:
    both = [re.sub(r"\w+\.\w+", other, name) for other in (name.split("?")[0], "b.png")]
    lossy = both[0] + ("&" if "?" in both[0] else "?") + size if size else both[0]
    png = f"b.png?{size}" if size else "b.png"
    this, plain = (opened(made).astype(int) for made in make(disc(), f"{lossy} {png}"))
    assert np.abs(this[:, :, 3] - plain[:, :, 3]).max() <= 2
    if "lossless" in name:
        seen = plain[:, :, 3] > 0
        assert np.array_equal(this[seen], plain[seen])


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.jpeg", "a.avif"])
def test_a_mask_is_grey_in_each_format(name: str) -> None:
    (made,) = make(disc(), f"{name}?channel=alpha&max=100")
    (rgba,) = make(disc(), "b.png?max=100")
    with Image.open(io.BytesIO(made.data)) as image:
        grey = np.asarray(image.convert("L")).astype(int)
    error = np.abs(grey - opened(rgba)[:, :, 3])
    assert error.mean() <= (0 if name == "a.png" else 1)


@pytest.mark.parametrize(
    ("name", "file_format"),
    [
        ("a.png", "PNG"),
        ("a.webp", "WEBP"),
        ("a.jpg", "JPEG"),
        ("a.jpeg", "JPEG"),
        ("a.avif", "AVIF"),
    ],
)
def test_a_background_leaves_no_alpha(name: str, file_format: str) -> None:
    (made,) = make(disc(), f"{name}?background=ffffff")
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.format == file_format
        pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[:, :, 3] == 255).all()
    assert pixels[149, 199].min() > 250


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (1, 40_000), (40_000, 1), (2, 20_000)])
@pytest.mark.parametrize(
    "text", ["a.webp", "a.jpg?max=7", "a.png?size=9x9", "a.avif?channel=alpha"]
)
def test_any_shape_fits(shape: tuple[int, int], text: str) -> None:
    rgba = np.full((*shape, 4), 255, np.uint8)
    (made,) = make(rgba, text)
    pixels = opened(made)
    assert max(pixels.shape[:2]) <= 16_383


def test_the_cutout_is_the_same_with_and_without_renditions() -> None:
    rng = np.random.default_rng(5)
    image = SourceImage(rng.integers(0, 256, (60, 80, 4)).astype(np.uint8), True)
    alpha = rng.random((20, 20), np.float32)
    again = SourceImage(image.rgba.copy(), True)
    assert render_cutout(image, alpha).png == render_cutout(again, alpha).png


def test_what_is_made_of_the_pixels_is_made_of_the_png_too() -> None:
    """Later, from the cut-out in S3, come the same bytes as at once."""
    rng = np.random.default_rng(6)
    rgba = np.full((90, 120, 4), 255, np.uint8)
    rgba[:, :, :3] = rng.integers(0, 256, (90, 120, 3))
    alpha = np.zeros((32, 32), np.float32)
    alpha[5:25, 4:20] = 0.9
    alpha[10:20, 8:16] = 1
    image = SourceImage(rgba, False)
    cutout = render_cutout(image, alpha)
    recipes = parse_renditions(
        "a.webp?max=50 b.png?crop=subject c.jpg?size=40x40 d.png?channel=alpha"
    )
    at_once = render_renditions(image.rgba, recipes)
    later = render_renditions(decode(cutout.png, 10**6).rgba, recipes)
    assert at_once == later


def test_a_job_asks_for_the_memory_of_its_largest_file() -> None:
    assert pixels_to_grant((), 1000) == 1000
    small, full = (parse_renditions(text) for text in ("a.avif?max=10", "a.avif"))
    assert pixels_to_grant(small, 10**6) == 10**6
    assert pixels_to_grant(full, 10**6) > 2 * 10**6
    canvas = parse_renditions("a.png?size=5000x5000")
    assert pixels_to_grant(canvas, 1) > 20 * 10**6
