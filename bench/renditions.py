"""Measure renditions: `python -m bench renditions [--seconds] [--rounds]`.

Each rendition of the documentation's setting beside Pillow's way from the PNG, and libvips' where
pyvips is installed; and the whole service, with and without these renditions, on one simulated
device. Both sides take turns, so that a change in the machine's load meets both.
"""

import argparse
import asyncio
import importlib
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from PIL import Image

from bench import load
from bench.image_path import fixed_matte, photograph
from bench.machine import describe_machine
from bench.throughput import deliver, new_images
from devstack.stack import Stack
from webhook.imaging import decode, render_cutout
from webhook.imaging.renditions import find_subject, render_renditions
from webhook.recipes import RenditionRecipe, parse_renditions

SETTING = (
    "web.webp?max=1600 shop.jpg?background=ffffff&crop=subject&margin=5%&size=2000x2000 "
    "thumb.webp?max=320&crop=subject mask.png?channel=alpha"
)
MEGAPIXELS = 12.0
DEVICE_S = 0.02  # for an image: a device that is not what is waited for
IN_FLIGHT = 8

_OPENING = "of Pillow's: the PNG"


def by_pillow(image: Image.Image, recipe: RenditionRecipe) -> bytes:
    """Make a rendition as one does with Pillow, at its defaults but for the quality."""
    if recipe.alpha_alone:
        image = image.getchannel("A")
    if recipe.crops and (box := image.getbbox()) is not None:
        image = image.crop(box)
    size = recipe.canvas or (recipe.max_px or image.width, recipe.max_px or image.height)
    small = image.copy()
    small.thumbnail(size, Image.Resampling.LANCZOS)
    if recipe.background is not None:
        sheet = Image.new("RGB", recipe.canvas or small.size, recipe.background)
        place = ((sheet.width - small.width) // 2, (sheet.height - small.height) // 2)
        sheet.paste(small, place, small)
        small = sheet
    file = io.BytesIO()
    quality = {} if recipe.quality is None else {"quality": recipe.quality}
    small.save(file, recipe.format, **quality)
    return file.getvalue()


def by_libvips(png: bytes, recipe: RenditionRecipe, vips: Any) -> bytes:
    """Make a rendition as one does with pyvips; its readers and resizes are one pipeline."""
    image = vips.Image.new_from_buffer(png, "")
    if recipe.alpha_alone:
        image = image[3]
    if recipe.crops:
        image = image.crop(*image[3].find_trim(background=[0], threshold=127))
    wide, high = recipe.canvas or (recipe.max_px or image.width, recipe.max_px or image.height)
    if (scale := min(1, wide / image.width, high / image.height)) < 1:
        image = image.premultiply().resize(scale).unpremultiply().cast("uchar")
    if recipe.background is not None:
        image = image.flatten(background=list(recipe.background))
        image = image.gravity("centre", wide, high, extend="background", background=[255, 255, 255])
    options = {} if recipe.quality is None else {"Q": recipe.quality}
    return bytes(image.write_to_buffer(f".{recipe.format.lower()}", **options))


def timed(step: Callable[[], Any]) -> float:
    """Return the processor seconds of a step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def measure_each(rounds: int) -> dict[str, dict[str, float]]:
    """Return processor milliseconds, medians, by what is made and by whose way."""
    jpeg, told = photograph(MEGAPIXELS)
    print(told)
    image = decode(jpeg, max_pixels=10**9)
    png = render_cutout(image, fixed_matte(), 1).png
    cutout = image.rgba
    recipes = parse_renditions(SETTING)
    vips = None
    with suppress(ImportError):
        vips = importlib.import_module("pyvips")
        vips.cache_set_max(0)
    opened = Image.open(io.BytesIO(png))
    opened.load()
    seconds: dict[str, dict[str, list[float]]] = {}

    def note(what: str, way: str, took: float) -> None:
        seconds.setdefault(what, {}).setdefault(way, []).append(took)

    def take_turns(what: str, chosen: Sequence[RenditionRecipe]) -> None:
        for_us = cutout.copy()
        note(what, "ours", timed(lambda: render_renditions(for_us, chosen, 1)))
        note(what, "Pillow", timed(lambda: [by_pillow(opened, it) for it in chosen]))
        if vips is not None:
            note(what, "libvips", timed(lambda: [by_libvips(png, it, vips) for it in chosen]))

    for _ in range(rounds):
        for recipe in recipes:
            take_turns(recipe.name, [recipe])
        take_turns("all", recipes)
        note(_OPENING, "Pillow", timed(lambda: Image.open(io.BytesIO(png)).load()))
        note("of ours: the subject", "ours", timed(lambda: find_subject(cutout)))
    return {
        what: {way: round(1000 * statistics.median(took), 1) for way, took in ways.items()}
        for what, ways in seconds.items()
    }


def images_per_s(stack: Stack, seconds: float, jpegs: list[bytes]) -> float:
    """Return how many deliveries are answered in a second, for about so long."""
    count, took = IN_FLIGHT, 0.0
    while True:
        image_ids = new_images(stack, count, jpegs)
        started = time.perf_counter()
        asyncio.run(deliver(stack, image_ids, IN_FLIGHT))
        took = time.perf_counter() - started
        if took > seconds / 2:
            return count / took
        count = max(2 * count, round(count * seconds / took))


def measure_service(seconds: float, rounds: int) -> dict[str, list[float]]:
    """Return images per second without and with renditions, in turn."""
    jpegs = load.photographs(MEGAPIXELS)
    with (
        load.simulated_stack(0, DEVICE_S) as without,
        load.simulated_stack(0, DEVICE_S, RENDITIONS=SETTING) as with_four,
    ):
        stacks = {"without": without, "with four renditions": with_four}
        for stack in stacks.values():
            asyncio.run(deliver(stack, new_images(stack, IN_FLIGHT, jpegs), IN_FLIGHT))
        per_s: dict[str, list[float]] = {name: [] for name in stacks}
        for _ in range(rounds):
            for name, stack in stacks.items():
                per_s[name].append(images_per_s(stack, seconds, jpegs))
    return per_s


def print_table(ms: dict[str, dict[str, float]]) -> None:
    """Print milliseconds for people."""
    ways = list(ms["all"])
    print(f"\n{'processor ms':24}" + "".join(f"{way:>9}" for way in ways))
    for what, by_way in ms.items():
        print(f"{what:24}" + "".join(f"{by_way.get(way, 0) or '-':>9}" for way in ways))


def main() -> None:
    """Measure each rendition, then the service."""
    parser = argparse.ArgumentParser(prog="python -m bench renditions", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="of each run of the service")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement")
    options = parser.parse_args()

    where = describe_machine()
    ms = measure_each(options.rounds)
    print_table(ms)
    of_pillow = ms["all"]["Pillow"] + ms[_OPENING]["Pillow"]
    per_s = measure_service(options.seconds, min(options.rounds, 3))
    without, with_four = (statistics.median(rates) for rates in per_s.values())
    told = "; ".join(f"{name}: {', '.join(f'{it:.2f}' for it in r)}" for name, r in per_s.items())
    print(f"\nimages per second, {MEGAPIXELS:g} megapixels, in turn: {told}")
    figures = {
        "bench": "renditions",
        "megapixels": MEGAPIXELS,
        "renditions": SETTING,
        "ratio_to_pillow": round(of_pillow / ms["all"]["ours"], 2),
        "throughput_with_four": round(with_four / without, 3),
        "images_per_s_without": round(without, 2),
        "images_per_s_with_four": round(with_four, 2),
        "processor_ms": ms,
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
