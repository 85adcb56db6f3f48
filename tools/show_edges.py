"""Draws docs/images/flower-edges.jpg: the same cut-out with and without edge clean-up.

Run as `python -m tools.show_edges`. The photograph is scikit-learn's sample flower.jpg; the matte
is the embedded model's.
"""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from webhook.imaging import decode, render_cutout
from webhook.segmentation.device import choose_device
from webhook.segmentation.segmenter import predict, shrink
from webhook.segmentation.weights import load_model

PICTURE = Path(__file__).parent.parent / "docs/images/flower-edges.jpg"
DETAIL = (370, 75, 530, 195)
SCALE = 3


def main() -> None:
    """Cut the flower out both ways and put it over black and over white."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    data = (Path(package.origin).parent / "datasets/images/flower.jpg").read_bytes()
    image = decode(data, max_pixels=10**6)
    model = load_model("embedded", choose_device("cpu"))
    (alpha,) = predict(shrink(image.rgba, model), model)
    naive = naive_cutout(image.rgba, alpha)
    ours = Image.open(io.BytesIO(render_cutout(image, alpha).png))

    tiles = [
        tile(cutout, backdrop, label)
        for backdrop in ("black", "white")
        for cutout, label in ((naive, "matte only"), (ours, "edges cleaned"))
    ]
    width, height = tiles[0].size
    sheet = Image.new("RGB", (2 * width, 2 * height))
    for index, drawn in enumerate(tiles):
        sheet.paste(drawn, (index % 2 * width, index // 2 * height))
    sheet.save(PICTURE, quality=88)


def naive_cutout(rgba: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Image.Image:
    """Return the source's colours under the enlarged matte."""
    cutout = Image.fromarray(rgba).copy()
    matte = Image.fromarray((alpha * 255).round().astype(np.uint8))
    cutout.putalpha(matte.resize(cutout.size, Image.Resampling.BICUBIC))
    return cutout


def tile(cutout: Image.Image, backdrop: str, label: str) -> Image.Image:
    """Draw the whole cut-out, and beside it a part of its edge enlarged."""
    scene = Image.new("RGBA", cutout.size, backdrop)
    scene.alpha_composite(cutout)
    width, height = ((DETAIL[2] - DETAIL[0]) * SCALE, (DETAIL[3] - DETAIL[1]) * SCALE)
    drawn = Image.new("RGB", (width, height + 160), backdrop)
    drawn.paste(scene.resize((240, 160), Image.Resampling.LANCZOS), (0, 0))
    drawn.paste(scene.crop(DETAIL).resize((width, height), Image.Resampling.BICUBIC), (0, 160))
    ImageDraw.Draw(drawn).text((260, 70), label, fill="grey", font_size=20)
    return drawn


if __name__ == "__main__":
    main()
