"""Replicas on Ray Serve beside one process of uvicorn: `python -m bench scale [--rounds]`.

Everything is the real service but the device, one per replica, which sleeps 400 ms for each image:
slow enough that two cores can feed several. The engines take turns, each on a fresh stack.
"""

import argparse
import asyncio
import http.client
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench import load
from bench.machine import describe_machine
from bench.throughput import deliver, difference, new_images
from devstack.stack import Stack

DEVICE_S = 0.4  # for each image, one by one: batches would only make the runs' ends longer
IN_FLIGHT = 32
MEGAPIXELS = 2
PROBES = 200
ENGINES: tuple[int | None, ...] = (None, 1, 2, 4)  # replicas on Ray; None: uvicorn


@dataclass(frozen=True)
class Run:
    """What one engine did in one round."""

    images_per_s: float
    answer_ms: float
    cpu_s: dict[str, float]
    images: int


def measure(stack: Stack, devices: int, seconds: float, jpegs: Sequence[bytes]) -> Run:
    """Keep 32 deliveries in flight for about so long; then ask the idle service for its health."""
    asyncio.run(deliver(stack, new_images(stack, 4 * devices, jpegs), IN_FLIGHT))  # not counted
    image_ids = new_images(stack, round(seconds * devices / DEVICE_S), jpegs)
    cpu_before = load.cpu_seconds(stack)
    started = time.perf_counter()
    asyncio.run(deliver(stack, image_ids, IN_FLIGHT))
    wall_s = time.perf_counter() - started
    cpu_s = difference(cpu_before, load.cpu_seconds(stack))
    return Run(len(image_ids) / wall_s, measure_answer_ms(stack), cpu_s, len(image_ids))


def measure_answer_ms(stack: Stack) -> float:
    """Return the median of an answer that costs no work: what the engine itself takes."""
    connection = http.client.HTTPConnection(urlsplit(stack.webhook_url).netloc, timeout=10)
    seconds = []
    for _ in range(PROBES):
        started = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
    connection.close()
    return 1000 * statistics.median(seconds)


def name_of(replicas: int | None) -> str:
    """Say which engine it is."""
    return "uvicorn" if replicas is None else f"Ray, {replicas}"


def main() -> None:
    """Let the engines take turns; print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12, help="of each run")
    options = parser.parse_args()

    jpegs = load.photographs(MEGAPIXELS)
    where = describe_machine()
    print(
        f"{1000 * DEVICE_S:g} ms per image and device, pictures of {MEGAPIXELS} MP, {IN_FLIGHT} "
        f"deliveries in flight; on {where}"
    )
    runs: dict[int | None, list[Run]] = {replicas: [] for replicas in ENGINES}
    for _ in range(options.rounds):
        for replicas in ENGINES:
            with load.simulated_stack(0, DEVICE_S, replicas, MAX_BATCH_SIZE="1") as stack:
                run = measure(stack, replicas or 1, options.seconds, jpegs)
            runs[replicas].append(run)
            told = ", ".join(
                f"{name} {1000 * used_s / run.images:.0f}" for name, used_s in run.cpu_s.items()
            )
            print(
                f"{name_of(replicas):8} {run.images_per_s:5.2f} images/s, /healthz "
                f"{run.answer_ms:.1f} ms; processor ms per image: {told}",
                flush=True,
            )
    per_s = {key: statistics.median(run.images_per_s for run in runs[key]) for key in ENGINES}
    answer_ms = {key: statistics.median(run.answer_ms for run in runs[key]) for key in ENGINES}
    print("\nmedians:")
    for key in ENGINES:
        print(
            f"  {name_of(key):8} {per_s[key]:5.2f} images/s, {per_s[key] / per_s[None]:.2f} times "
            f"uvicorn; {per_s[key] * DEVICE_S / (key or 1):.1%} of the devices; "
            f"/healthz {answer_ms[key]:.1f} ms"
        )
    figures = {
        "bench": "scale",
        "uvicorn_images_per_s": round(per_s[None], 2),
        "images_per_s_by_replicas": {str(key): round(per_s[key], 2) for key in ENGINES if key},
        **{f"ratio_{key}_to_uvicorn": round(per_s[key] / per_s[None], 2) for key in ENGINES if key},
        "overhead_ms": round(answer_ms[1] - answer_ms[None], 1),
        "rounds": options.rounds,
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
