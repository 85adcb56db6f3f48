"""Scenes whose subject, background and matte are known, for `python -m bench edges`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Rgb = NDArray[np.uint8]

WIDTH, HEIGHT = 1632, 1224  # 2 megapixels
MATTE_PX = 1024


@dataclass(frozen=True)
class Scene:
    """A known subject before a known background.

    Attributes:
        kind: What the scene's matte is like, a name of `MATTES`.
        name: The kind, the surfaces and the seed.
        foreground: uint8 (H, W, 3).
        background: uint8 (H, W, 3).
        matte: float32 (MATTE_PX, MATTE_PX) in [0, 1], as from a network.
    """

    kind: str
    name: str
    foreground: Rgb
    background: Rgb
    matte: Floats


def scenes(seeds: int) -> Iterator[Scene]:
    """Yield every kind of matte with every pair of surfaces, `seeds` times."""
    for seed in range(seeds):
        for number, (kind, draw) in enumerate(MATTES.items()):
            for index, (subject, behind) in enumerate(PAIRS):
                rng = np.random.default_rng([seed, number, index])
                yield Scene(
                    kind,
                    f"{kind}, {subject} before {behind}, seed {seed}",
                    SURFACES[subject](rng),
                    SURFACES[behind](rng),
                    draw(rng),
                )


def plain(rng: np.random.Generator) -> Rgb:
    """Draw cloth or a wall: one colour, softly lit."""
    light = 12 * octaves(rng, HEIGHT, WIDTH, 4, roughness=0.3)[:, :, None]
    return grained(rng, colour(rng) + light)


def textured(rng: np.random.Generator) -> Rgb:
    """Draw what a photograph looks like from afar: all sizes of detail, in colours."""
    surface = np.broadcast_to(colour(rng), (HEIGHT, WIDTH, 3))
    for _ in range(2):
        tint = rng.normal(1, 0.5, 3).astype(np.float32)
        surface = surface + 25 * octaves(rng, HEIGHT, WIDTH, 8, roughness=0.5)[:, :, None] * tint
    return grained(rng, surface)


def two_coloured(rng: np.random.Generator) -> Rgb:
    """Draw two plain colours that meet at a sharp and wavy border."""
    side = (octaves(rng, HEIGHT, WIDTH, 3, roughness=0.4)[:, :, None] > 0).astype(np.float32)
    return grained(rng, colour(rng) * side + colour(rng) * (1 - side))


def gradient(rng: np.random.Generator) -> Rgb:
    """Draw one colour that turns into another from corner to corner."""
    y, x = grid(HEIGHT, WIDTH)
    share = ((x + y) / 2)[:, :, None]
    return grained(rng, colour(rng) * share + colour(rng) * (1 - share))


def edge(rng: np.random.Generator) -> Floats:
    """Draw a disc with a frayed edge, some pixels wide."""
    y, x = grid(MATTE_PX, MATTE_PX)
    y, x = y - 0.5, x - 0.5
    fringe = 0.02 * np.sin(rng.integers(20, 60) * np.arctan2(y, x))
    return clipped((0.33 + fringe - np.hypot(x, y)) * rng.uniform(60, 120) + 0.5)


def veil(rng: np.random.Generator, width_px: int) -> Floats:
    """Draw a disc that fades over `width_px` of the picture, with folds."""
    y, x = grid(MATTE_PX, MATTE_PX)
    distance = 0.32 - np.hypot((x - 0.5) * WIDTH / HEIGHT, y - 0.5)
    folds = 0.08 * octaves(rng, MATTE_PX, MATTE_PX, 5, roughness=0.5)
    ramp = distance * HEIGHT / width_px + 0.5
    return clipped(ramp + folds * (np.abs(ramp - 0.5) < 0.5))


def pane(rng: np.random.Generator) -> Floats:
    """Draw an opaque body with a large pane, 0.2 to 0.8 throughout, beside it."""
    y, x = grid(MATTE_PX, MATTE_PX)
    inside = (np.abs(x - 0.6) < 0.3) & (np.abs(y - 0.5) < 0.35)
    body = np.hypot(x - 0.25, y - 0.5) < 0.2
    return clipped(np.where(body, 1, np.where(inside, see_through(rng), 0)))


def smoke(rng: np.random.Generator) -> Floats:
    """Draw no opaque subject at all: 0.2 to 0.8 all over, but for a clear frame."""
    y, x = grid(MATTE_PX, MATTE_PX)
    inside = np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) < 0.42
    return clipped(np.where(inside, see_through(rng), 0))


def motion(rng: np.random.Generator) -> Floats:
    """Draw discs smeared sideways by up to a fifth of the picture."""
    y, x = grid(MATTE_PX, MATTE_PX)
    length = rng.uniform(0.08, 0.2)
    alpha = np.zeros((MATTE_PX, MATTE_PX), np.float32)
    for _ in range(3):
        centre, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.25)
        half = np.sqrt(np.maximum(radius**2 - (y - centre[1]) ** 2, 0))
        # How much of the way from x - length / 2 to x + length / 2 the disc covers.
        ends = np.minimum(x - centre[0] + length / 2, half)
        starts = np.maximum(x - centre[0] - length / 2, -half)
        alpha = np.maximum(alpha, (ends - starts) / length)
    return clipped(alpha)


def see_through(rng: np.random.Generator) -> Floats:
    """Return alpha that wanders between 0.2 and 0.8."""
    wander: Floats = 0.5 + 0.15 * octaves(rng, MATTE_PX, MATTE_PX, 5, 0.5)
    return wander.clip(0.2, 0.8)


def octaves(
    rng: np.random.Generator, height: int, width: int, count: int, roughness: float
) -> Floats:
    """Return noise of mean 0 and spread 1: each octave half as coarse, `roughness` as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(count):
        cells = 3 * 2**octave
        noise = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        enlarged = noise.resize((width, height), Image.Resampling.BICUBIC)
        total += np.float32(roughness**octave) * np.asarray(enlarged)
    total -= total.mean()
    total /= total.std()
    return total


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Return the middles of all pixels, 0 to 1: y (H, 1) and x (1, W)."""
    y, x = np.ogrid[:height, :width]
    return ((y + 0.5) / height).astype(np.float32), ((x + 0.5) / width).astype(np.float32)


def colour(rng: np.random.Generator) -> Floats:
    """Return some colour that leaves room for texture."""
    return rng.uniform(40, 215, 3).astype(np.float32)


def grained(rng: np.random.Generator, surface: NDArray[np.floating]) -> Rgb:
    """Add a sensor's grain, and round."""
    return (surface + rng.normal(0, 1.5, surface.shape)).round().clip(0, 255).astype(np.uint8)


def clipped(alpha: NDArray[np.floating]) -> Floats:
    """Return alpha as a matte has it."""
    return alpha.clip(0, 1).astype(np.float32)


SURFACES: dict[str, Callable[[np.random.Generator], Rgb]] = {
    surface.__name__: surface for surface in (plain, textured, two_coloured, gradient)
}
PAIRS = (
    ("plain", "plain"),
    ("plain", "textured"),
    ("plain", "two_coloured"),
    ("textured", "plain"),
    ("textured", "textured"),
    ("textured", "two_coloured"),
    ("gradient", "textured"),
    ("two_coloured", "gradient"),
)
MATTES: dict[str, Callable[[np.random.Generator], Floats]] = {
    "edge": edge,
    "veil of 50 px": lambda rng: veil(rng, 50),
    "veil of 100 px": lambda rng: veil(rng, 100),
    "veil of 200 px": lambda rng: veil(rng, 200),
    "veil of 400 px": lambda rng: veil(rng, 400),
    "pane": pane,
    "smoke": smoke,
    "motion": motion,
}
