"""Image and matte to the finished PNG, strip by strip. Knows no file but the one it writes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webhook.imaging.decode import SourceImage
from webhook.imaging.edges import EdgeColours
from webhook.imaging.matte import CLEAR, OPAQUE, Matte
from webhook.imaging.png import EncodedStrip, assemble_png, encode_strip
from webhook.imaging.workers import CORES, map_strips

# A strip goes through all its steps while it is in the core's cache. Half of this is no faster, and
# twice as many hand-overs of the interpreter's lock under load.
_STRIP_BYTES = 2**21


@dataclass(frozen=True, slots=True)
class Cutout:
    """A finished cut-out.

    Attributes:
        png: RGBA, straight alpha, RGB 0 wherever alpha is 0; says sRGB, carries no metadata.
        width: In pixels, the source's.
        height: In pixels, the source's.
        coverage: share of opaque area, 0 to 1.
    """

    png: bytes
    width: int
    height: int
    coverage: float


def render_cutout(image: SourceImage, alpha: NDArray[np.float32], threads: int = CORES) -> Cutout:
    """Cut an image out along its matte.

    Args:
        image: The source; its own transparency multiplies the matte. Its pixels become the
            cut-out's in place, as a copy may cost 200 MB: it is of no use afterwards.
        alpha: float32 (h, w) in [0, 1], of any size.
        threads: How many may work on it at once.
    """
    height, width = image.rgba.shape[:2]
    matte = Matte(alpha, width, height)
    edge_colours = EdgeColours.estimate(image.rgba, matte.levels)
    rows_per_strip = max(1, _STRIP_BYTES // (4 * width))

    def render_strip(top: int) -> tuple[EncodedStrip, int]:
        strip = image.rgba[top : top + rows_per_strip]
        opaque_levels = _cut_out(strip, top, matte, edge_colours, image.has_alpha)
        return encode_strip(strip), opaque_levels

    rendered = map_strips(render_strip, range(0, height, rows_per_strip), threads)
    png = assemble_png(width, height, [strip for strip, _ in rendered])
    coverage = sum(levels for _, levels in rendered) / (OPAQUE * width * height)
    return Cutout(png, width, height, coverage)


def _cut_out(
    strip: NDArray[np.uint8], top: int, matte: Matte, edge_colours: EdgeColours, has_alpha: bool
) -> int:
    """Make the strip a part of the cut-out, in place; return the sum of its alpha."""
    words = strip.view(np.uint32)[:, :, 0]  # one per pixel
    own_alpha = strip[:, :, 3]
    alpha_sum = 0
    for left, right, alpha in matte.spans(top, top + strip.shape[0]):
        span, span_alpha = words[:, left:right], own_alpha[:, left:right]
        if isinstance(alpha, int):
            if alpha == CLEAR:
                span[:] = 0
            else:  # the source's own alpha stands, and its exact colours
                alpha_sum += int(span_alpha.sum()) if has_alpha else OPAQUE * span.size
            continue
        final = _product(alpha, span_alpha) if has_alpha else alpha
        edge_colours.clean(words, alpha, left, top)
        span_alpha[:] = final
        span *= final != 0
        alpha_sum += int(final.sum(dtype=np.uint32))
    return alpha_sum


def _product(alpha: NDArray[np.uint8], own: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # 65,535 levels hold the product exactly; + 127 rounds to the nearest.
    return ((alpha.astype(np.uint16) * own + 127) // 255).astype(np.uint8)
