"""Measure the edge clean-up beside pymatting's: `make bench-edges`, or `python -m bench edges`.

Subject, background and matte of each scene are known, so the error is too. Both estimate colours of
the same picture in turn, on one thread, so that a change in the machine's load meets both.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatting import estimate_foreground_ml

from bench.edge_scenes import HEIGHT, WIDTH, Rgb, Scene, scenes
from bench.machine import describe_machine
from webhook.imaging.edges import EdgeColours
from webhook.imaging.matte import Matte

NARROW = "edge"  # the kind whose soft band is a few pixels wide; all others are soft areas
PLAIN, OURS, PYMATTING = "matte only", "ours", "pymatting"
STRIP_ROWS = 320  # as many as fit in the 2 MB of the service's strips


@dataclass(frozen=True)
class Result:
    """What one way made of one scene.

    Attributes:
        colour_error: Mean difference to the subject's colours in grey levels, weighted by alpha.
        composite_error: Mean difference of the soft pixels on a new background, in grey levels.
        cpu_ms: Processor time.
    """

    colour_error: float
    composite_error: float
    cpu_ms: float


def measure(scene: Scene) -> dict[str, Result]:
    """Blend the scene and have each way find the subject's colours."""
    matte = Matte(scene.matte, WIDTH, HEIGHT)
    alpha = full_size(matte)
    share = alpha[:, :, None] / np.float32(255)
    blended = share * scene.foreground + (1 - share) * scene.background
    picture = blended.round().astype(np.uint8)
    rgba = np.dstack((picture, np.full(alpha.shape, 255, np.uint8)))
    floats, float_alpha = picture / 255.0, alpha / 255.0

    def ours() -> Rgb:
        return cleaned(rgba, matte, alpha)

    def pymatting() -> Rgb:
        foreground = estimate_foreground_ml(floats, float_alpha)
        return np.asarray((foreground * 255).round().astype(np.uint8))

    ways: dict[str, Callable[[], Rgb]] = {
        PLAIN: lambda: picture,
        OURS: ours,
        PYMATTING: pymatting,
    }
    results = {}
    for name, way in ways.items():
        started = time.process_time()
        colours = way()
        cpu_ms = 1000 * (time.process_time() - started)
        results[name] = Result(*errors(colours, scene, alpha), cpu_ms)
    return results


def full_size(matte: Matte) -> NDArray[np.uint8]:
    """Return the matte as the service enlarges it."""
    alpha = np.empty((HEIGHT, WIDTH), np.uint8)
    for left, right, span in matte.spans(0, HEIGHT):
        alpha[:, left:right] = span
    return alpha


def cleaned(rgba: NDArray[np.uint8], matte: Matte, alpha: NDArray[np.uint8]) -> Rgb:
    """Clean the edges strip by strip, in place."""
    colours = EdgeColours.estimate(rgba, matte.levels)
    words = rgba.view(np.uint32)[:, :, 0]
    for top in range(0, HEIGHT, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        colours.clean(words[rows], alpha[rows], left=0, top=top)
    return rgba[:, :, :3]


def errors(colours: Rgb, scene: Scene, alpha: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the error of the colours, and that of a composite on green."""
    soft = (alpha > 0) & (alpha < 255)
    share = alpha[soft][:, None] / np.float32(255)
    found, true = (rgb[soft].astype(np.float32) for rgb in (colours, scene.foreground))
    behind = (1 - share) * np.array((0, 177, 64), np.float32)
    difference = np.abs((share * found + behind).round() - (share * true + behind).round())
    weighted = (share * np.abs(found - true)).sum() / (3 * share.sum())
    return float(weighted), float(difference.mean())


def summary(results: list[dict[str, Result]], field: str) -> dict[str, tuple[float, float]]:
    """Return each way's mean of one field over the scenes, and its worst."""
    by_way = {way: [getattr(result[way], field) for result in results] for way in results[0]}
    return {way: (statistics.fmean(values), max(values)) for way, values in by_way.items()}


def main() -> None:
    """Compare in every scene; print a table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench edges", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=2, help="how often each kind of scene is drawn"
    )
    options = parser.parse_args()

    where = describe_machine()
    print(f"{WIDTH} x {HEIGHT}, an exact matte of 1024 x 1024, on {where}")
    by_kind: dict[str, list[dict[str, Result]]] = defaultdict(list)
    for scene in scenes(options.seeds):
        results = measure(scene)
        by_kind[scene.kind].append(results)
        told = ", ".join(f"{way} {result.colour_error:.2f}" for way, result in results.items())
        print(f"{scene.name}: {told}", flush=True)

    soft = [result for kind, found in by_kind.items() if kind != NARROW for result in found]
    print(f"\n{'error of the colours, mean (worst)':36}" + "".join(f"{w:>18}" for w in soft[0]))
    for title, found in (*by_kind.items(), ("all soft areas", soft)):
        row = summary(found, "colour_error").values()
        print(f"{title:36}" + "".join(f"{mean:9.2f} ({worst:6.2f})" for mean, worst in row))

    cpu_ms = {
        way: statistics.median(result[way].cpu_ms for result in soft) for way in (OURS, PYMATTING)
    }
    colours, composites = (summary(soft, f"{what}_error") for what in ("colour", "composite"))
    narrow = summary(by_kind[NARROW], "colour_error")
    figures = {
        "bench": "edges",
        "scenes": sum(map(len, by_kind.values())),
        "ratio": round(colours[OURS][0] / colours[PYMATTING][0], 3),
        "ratio_worst": round(colours[OURS][1] / colours[PYMATTING][1], 3),
        "ratio_composite": round(composites[OURS][0] / composites[PYMATTING][0], 3),
        "ratio_composite_worst": round(composites[OURS][1] / composites[PYMATTING][1], 3),
        "narrow_edges_of_matte_only": round(narrow[OURS][0] / narrow[PLAIN][0], 3),
        "narrow_edges_of_matte_only_by_pymatting": round(
            narrow[PYMATTING][0] / narrow[PLAIN][0], 3
        ),
        "soft_areas_cpu_ms": round(cpu_ms[OURS], 1),
        "soft_areas_cpu_ms_of_pymatting": round(cpu_ms[PYMATTING], 1),
        "colour_error": {
            kind: {way: round(mean, 2) for way, (mean, _) in summary(found, "colour_error").items()}
            for kind, found in by_kind.items()
        },
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
