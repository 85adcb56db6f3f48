"""Draws docs/images/renditions.jpg and docs/images/renditions-hair.png.

Run as `python -m tools.show_renditions`. The photograph is scikit-image's sample chelsea.png, the
matte the embedded model's. The hair is drawn: so its true colour is known.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from devstack.samples import sample_photos
from webhook.imaging import decode, render_cutout
from webhook.imaging.renditions import render_renditions
from webhook.recipes import parse_renditions
from webhook.segmentation.device import choose_device
from webhook.segmentation.segmenter import predict, shrink
from webhook.segmentation.weights import load_model

DOCS = Path(__file__).parent.parent / "docs/images"
SIX = (
    "web.webp?max=400 "
    "shop.jpg?background=ffffff&crop=subject&margin=5%&size=400x400 "
    "thumb.webp?max=160&crop=subject "
    "mask.png?channel=alpha&max=400 "
    "card.avif?background=f2c14e&size=400x300 "
    "icon.png?crop=subject&margin=10%&size=128x128"
)
TILE = (420, 430)
HAIR_PX, SMALL_PX, ENLARGED = 2400, 320, 4
HAIR = (196, 142, 74)
LOCK = (90, 20, 190, 110)  # of the small picture


def main() -> None:
    """Draw both pictures."""
    draw_six()
    draw_hair()


def draw_six() -> None:
    """Show one photograph and its six renditions; what is clear is chequered."""
    data = next(path for path in sample_photos() if path.name == "chelsea.png").read_bytes()
    image = decode(data, max_pixels=10**6)
    source = Image.fromarray(image.rgba).convert("RGB")
    model = load_model("embedded", choose_device("cpu"))
    (alpha,) = predict(shrink(image.rgba, model), model)
    render_cutout(image, alpha)
    made = render_renditions(image.rgba, parse_renditions(SIX))

    sheet = Image.new("RGB", (4 * TILE[0], 2 * TILE[1]), "white")
    tiles = [("the photograph", source.resize((400, 400 * source.height // source.width)))]
    for rendered in made.files:
        told = f"{rendered.recipe.name}  {rendered.width} x {rendered.height}"
        tiles.append((f"{told}  {len(rendered.data):,} bytes", _opened(rendered.data)))
    for index, (told, picture) in enumerate(tiles):
        left, top = index % 4 * TILE[0] + 10, index // 4 * TILE[1]
        ImageDraw.Draw(sheet).text((left, top + 4), told, fill="black", font_size=16)
        sheet.paste(picture, (left, top + 28))
    sheet.save(DOCS / "renditions.jpg", quality=88)


def draw_hair() -> None:
    """Show a lock of hair at a seventh of its size, ours beside each band resized by itself."""
    cutout = lock_of_hair()
    (ours,) = render_renditions(cutout.copy(), parse_renditions(f"a.png?max={SMALL_PX}")).files
    straight = Image.fromarray(cutout)
    size = (SMALL_PX, SMALL_PX)
    bands = [band.resize(size, Image.Resampling.LANCZOS) for band in straight.split()]
    ways = {
        "RENDITIONS, max=320": Image.open(io.BytesIO(ours.data)),
        "Pillow, band by band": Image.merge("RGBA", bands),
    }
    part = (LOCK[2] - LOCK[0]) * ENLARGED, (LOCK[3] - LOCK[1]) * ENLARGED
    sheet = Image.new("RGB", (2 * (SMALL_PX + part[0]), 2 * part[1]), "grey")
    for column, (told, small) in enumerate(ways.items()):
        for row, backdrop in enumerate(("black", "white")):
            scene = Image.new("RGBA", size, backdrop)
            scene.alpha_composite(small)
            tile = Image.new("RGB", (SMALL_PX + part[0], part[1]), backdrop)
            tile.paste(scene.convert("RGB"), (0, 20))
            near = scene.convert("RGB").crop(LOCK).resize(part, Image.Resampling.NEAREST)
            tile.paste(near, (SMALL_PX, 0))
            ImageDraw.Draw(tile).text((8, 4), told, fill="grey", font_size=16)
            sheet.paste(tile, (column * tile.width, row * tile.height))
    sheet.save(DOCS / "renditions-hair.png", optimize=True)


def lock_of_hair() -> NDArray[np.uint8]:
    """Return a head of hair of one colour as a cut-out: RGB 0 wherever alpha is 0."""
    rng = np.random.default_rng(7)
    double = 2 * HAIR_PX  # drawn twice as large, so that the strands have soft edges
    alpha = Image.new("L", (double, double))
    draw = ImageDraw.Draw(alpha)
    middle = np.array([double / 2, double * 0.62])
    draw.ellipse([*(middle - double * 0.26), *(middle + double * 0.26)], fill=255)
    for angle in rng.uniform(-2.9, -0.25, 900):
        way = np.array([np.cos(angle), np.sin(angle)])
        bend = np.array([-way[1], way[0]]) * rng.normal(0, 0.05)
        along = np.linspace(0.2, 0.27 + 0.2 * rng.random(), 40)[:, None]
        strand = middle + double * (way * along + bend * (along - 0.2) ** 2 * 40)
        draw.line([tuple(point) for point in strand], fill=255, width=int(rng.integers(5, 16)))
    soft = np.asarray(alpha.resize((HAIR_PX, HAIR_PX), Image.Resampling.BOX))
    rgba = np.zeros((HAIR_PX, HAIR_PX, 4), np.uint8)
    rgba[soft > 0] = (*HAIR, 255)
    rgba[:, :, 3] = soft
    return rgba


def _opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    y, x = np.mgrid[: picture.height, : picture.width]
    squares = np.where((x // 8 + y // 8) % 2, 255, 214).astype(np.uint8)
    chequered = Image.fromarray(squares).convert("RGBA")
    chequered.alpha_composite(picture)
    return chequered.convert("RGB")


if __name__ == "__main__":
    main()
