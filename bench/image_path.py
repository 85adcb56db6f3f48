"""Measure a picture's way on the processor: `python -m bench image_path [--megapixels] [--rounds]`.

Ours against the ancestor's, JPEG bytes to PNG bytes, the network left out: both get the same fixed
matte. They run in turn, so that a change in the machine's load meets both.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.machine import describe_machine
from webhook.domain import ModelIdentity
from webhook.imaging import decode, render_cutout
from webhook.segmentation.device import choose_device
from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD, predict, shrink
from webhook.segmentation.weights import LoadedModel, load_model

NETWORK_PX = 1024
ANCESTOR, OURS = "ancestor", "ours"
CPU = choose_device("cpu")
SIZE_ALONE = LoadedModel(ModelIdentity("none", "", ""), torch.nn.Identity(), NETWORK_PX, CPU)
_WALLPAPERS = sorted(Path("/usr/share/backgrounds/mate/nature").glob("*.jpg"))
_SAMPLES = (
    *(("skimage", f"data/{name}") for name in ("astronaut.png", "coffee.png", "chelsea.png")),
    *(("sklearn", f"datasets/images/{name}") for name in ("flower.jpg", "china.jpg")),
)


@dataclass
class Run:
    """One picture's way: wall and processor seconds by stage, and the PNG."""

    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    png: bytes = b""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what is done inside to the stage `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_s[name] = time.perf_counter() - wall
        self.cpu_s[name] = time.process_time() - cpu


Stage = Callable[[str], AbstractContextManager[None]]


def ancestor(jpeg: bytes, matte: NDArray[np.float32], stage: Stage, threads: int) -> bytes:
    """Go the usual way, as the model's card does: Pillow throughout, at its defaults."""
    torch.set_num_threads(threads)
    with stage("decode"):
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    with stage("prepare"):
        resized = image.resize((NETWORK_PX, NETWORK_PX), Image.Resampling.BILINEAR)
        normalise(torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None])
    with stage("compose"):
        mask = Image.fromarray((matte * 255).round().astype(np.uint8))
        image.putalpha(mask.resize(image.size, Image.Resampling.BICUBIC))
    with stage("encode"):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
    return buffer.getvalue()


def ours(jpeg: bytes, matte: NDArray[np.float32], stage: Stage, threads: int) -> bytes:
    """Go the service's way, with edge clean-up."""
    torch.set_num_threads(threads)
    with stage("decode"):
        image = decode(jpeg, max_pixels=10**9)
    with stage("prepare"):
        normalise(shrink(image.rgba, SIZE_ALONE))
    with stage("render"):
        cutout = render_cutout(image, matte, threads)
    return cutout.png


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Do what either way does, though the service may do it on the GPU."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (pixels.float() / 255 - mean) / std


def measure(
    jpeg: bytes, matte: NDArray[np.float32], threads: int, rounds: int
) -> dict[str, list[Run]]:
    """Run both in turn, `rounds` times after one that isn't counted."""
    runs: dict[str, list[Run]] = {ANCESTOR: [], OURS: []}
    for number in range(rounds + 1):
        for name, way in ((ANCESTOR, ancestor), (OURS, ours)):
            run = Run()
            run.png = way(jpeg, matte, run.stage, threads)
            if number > 0:
                runs[name].append(run)
    return runs


def photograph(megapixels: float) -> tuple[bytes, str]:
    """Return a JPEG of photographs side by side, 4:3, with a sensor's grain; and what it is."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    if _WALLPAPERS:
        pictures = [Image.open(path).convert("RGB") for path in _WALLPAPERS]
        told = "photographs of Debian's mate-backgrounds at native detail"
    else:
        pictures = [Image.open(_installed(*place)).convert("RGB") for place in _SAMPLES]
        pictures = [p.resize((4 * p.width, 4 * p.height)) for p in pictures]
        told = "sample photographs of scikit-image and scikit-learn, enlarged fourfold"
    mosaic = Image.new("RGB", (width, height))
    left, top, index = 0, 0, 0
    while top < height:
        picture = pictures[index % len(pictures)]
        mosaic.paste(picture, (left, top))
        left, index = left + picture.width, index + 1
        if left >= width:
            left, top = 0, top + min(p.height for p in pictures)
    grain = np.random.default_rng(0).normal(0, 1.5, (height, width, 3)).astype(np.float32)
    noisy = (np.asarray(mosaic) + grain).round().clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=92)
    size_mb = len(buffer.getvalue()) / 1e6
    return buffer.getvalue(), f"{width} x {height}, JPEG of {size_mb:.1f} MB: a mosaic of {told}"


def fixed_matte() -> NDArray[np.float32]:
    """Return the embedded model's matte of scikit-image's coffee, at the default model's size."""
    loaded = load_model("embedded", CPU)
    photo = np.array(Image.open(_installed("skimage", "data/coffee.png")).convert("RGB"))
    alpha = predict(shrink(photo, loaded), loaded)[0]
    matte = Image.fromarray(alpha).resize((NETWORK_PX, NETWORK_PX), Image.Resampling.BICUBIC)
    return np.asarray(matte).clip(0, 1)


def _installed(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing: install requirements/dev.txt")
    return Path(spec.origin).parent / name


def median_ms(runs: list[Run], clock: str, stage: str | None = None) -> float:
    """Return the median of `clock` ("wall_s" or "cpu_s") over the runs, of a stage or of all."""
    by_stage: list[dict[str, float]] = [getattr(run, clock) for run in runs]
    return 1000 * statistics.median(
        sum(seconds.values()) if stage is None else seconds[stage] for seconds in by_stage
    )


def print_table(results: dict[int, dict[str, list[Run]]]) -> None:
    """Print the medians for people."""
    print(f"\n{'':24}{'wall ms':>9}{'CPU ms':>9}{'PNG MB':>9}")
    for threads, by_way in results.items():
        for way, runs in by_way.items():
            for stage in (None, *runs[0].wall_s):
                title = f"    {stage}" if stage else f"{way}, {threads} thread{'s' * (threads > 1)}"
                size = "" if stage else f"{len(runs[0].png) / 1e6:9.2f}"
                wall, cpu = (median_ms(runs, clock, stage) for clock in ("wall_s", "cpu_s"))
                print(f"{title:24}{wall:9.0f}{cpu:9.0f}{size}")


def main() -> None:
    """Compare both ways with one and with two threads."""
    parser = argparse.ArgumentParser(prog="python -m bench image_path", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of each way")
    options = parser.parse_args()

    jpeg, told = photograph(options.megapixels)
    matte = fixed_matte()
    soft = float(((matte > 1 / 255) & (matte < 254 / 255)).mean())
    where = describe_machine()
    print(f"{told}; a matte with {soft:.1%} soft edge; on {where}")
    results = {threads: measure(jpeg, matte, threads, options.rounds) for threads in (1, 2)}
    print_table(results)

    def ratio(threads: int, clock: str) -> float:
        by_way = results[threads]
        return round(median_ms(by_way[ANCESTOR], clock) / median_ms(by_way[OURS], clock), 2)

    png = results[1][OURS][0].png
    by_default = io.BytesIO()
    Image.open(io.BytesIO(png)).save(by_default, "PNG")
    figures = {
        "bench": "image_path",
        "megapixels": options.megapixels,
        "ratio": ratio(1, "wall_s"),
        "ratio_cpu": ratio(1, "cpu_s"),
        "ratio_two_threads": ratio(2, "wall_s"),
        "one_thread_ms": {
            way: {stage: round(median_ms(runs, "wall_s", stage), 1) for stage in runs[0].wall_s}
            for way, runs in results[1].items()
        },
        "size_ratio": round(len(png) / len(results[1][ANCESTOR][0].png), 3),
        "size_ratio_of_same_pixels": round(len(png) / len(by_default.getvalue()), 3),
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
