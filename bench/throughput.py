"""Measure the whole service: `python -m bench throughput [--seconds]`.

Deliveries over HTTP, 32 at once, to the real service with real S3, PostgreSQL and the GraphQL
stand-in; only the device is simulated. The ancestor's way goes over the same device and pictures.
"""

import argparse
import asyncio
import http.client
import io
import json
import statistics
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import torch
from PIL import Image

from bench import load
from bench.machine import describe_machine
from bench.simulated_service import NETWORK_PX, SleepingNetwork, simulated_model
from devstack.stack import Stack
from tests.support.bodies import event_body
from webhook.domain import RemovalResult, RowState
from webhook.hasura.client import ROLE
from webhook.hasura.documents import load_documents
from webhook.hasura.protocol import SECRET_HEADER
from webhook.hasura.values import values_of_result, values_of_row
from webhook.http.app import EVENT_PATH
from webhook.segmentation.segmenter import IMAGE_MEAN, IMAGE_STD, predict
from webhook.settings import DOCUMENTS

IN_FLIGHT = 32
MEGAPIXELS = 2
HEALTH_INTERVAL_S = 0.05
IDLE_IMAGES = 40
IDLE_PAUSE_S = 0.1  # as long as the engine waits between write-backs of single deliveries
S3_AND_IMAGE_STAGES = ("find", "check", "fetch", "probe", "decode", "shrink", "render", "store")


@dataclass(frozen=True)
class Profile:
    """How long the simulated device takes."""

    name: str
    batch_s: float
    image_s: float
    max_batch_size: int = 8

    @property
    def ideal_per_s(self) -> float:
        """Images per second of a device that never waits, in the largest batches."""
        return 1 / (self.batch_s / self.max_batch_size + self.image_s)


FLAT = Profile("flat", batch_s=0, image_s=0.12)
BATCHED = Profile("batched", batch_s=0.1, image_s=0.04)


@dataclass
class Storm:
    """What a run of deliveries showed."""

    profile: Profile
    images: int
    wall_s: float = 0
    images_per_s: float = 0
    latencies_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    peak_rss_mb: float = 0

    @property
    def efficiency(self) -> float:
        """Share of what the device could have done at best."""
        return self.images_per_s / self.profile.ideal_per_s


class HealthProbe(threading.Thread):
    """Asks /healthz all the while, over one connection."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._host = urlsplit(url).netloc
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until told to stop."""
        connection = http.client.HTTPConnection(self._host, timeout=10)
        while not self._over.wait(HEALTH_INTERVAL_S):
            started = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - started)
        connection.close()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._over.set()
        self.join()


def new_images(stack: Stack, count: int, jpegs: Sequence[bytes]) -> list[str]:
    """Make rows with their sources; nothing is delivered by itself."""
    image_ids = [str(uuid.uuid4()) for _ in range(count)]
    load.upload(stack, image_ids, jpegs)
    load.insert_rows(stack, image_ids, quietly=True)
    return image_ids


async def deliver(
    stack: Stack, image_ids: Sequence[str], in_flight: int
) -> list[tuple[float, float]]:
    """Post a delivery for each image; return when each was posted and answered, by the clock."""
    headers = {SECRET_HEADER: stack.webhook_secret}
    times: list[tuple[float, float]] = []
    todo = iter(image_ids)
    async with httpx2.AsyncClient(
        base_url=stack.webhook_url, headers=headers, timeout=120
    ) as client:

        async def work() -> None:
            for image_id in todo:
                started = time.perf_counter()
                answer = await client.post(EVENT_PATH, json=event_body(image_id))
                times.append((started, time.perf_counter()))
                if answer.json().get("status") != "done":
                    raise SystemExit(f"a delivery failed: {answer.status_code} {answer.text}")

        await asyncio.gather(*(work() for _ in range(in_flight)))
    return times


def deliver_one_by_one(stack: Stack, image_ids: Sequence[str]) -> list[float]:
    """Return the seconds until each answer, by the plainest client: its own time counts as ours."""
    connection = http.client.HTTPConnection(urlsplit(stack.webhook_url).netloc, timeout=120)
    headers = {SECRET_HEADER: stack.webhook_secret}
    seconds = []
    for image_id in image_ids:
        body = json.dumps(event_body(image_id))
        started = time.perf_counter()
        connection.request("POST", EVENT_PATH, body, headers)
        answer = connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
        if json.loads(answer).get("status") != "done":
            raise SystemExit(f"a delivery failed: {answer!r}")
    connection.close()
    return seconds


def measure_storm(stack: Stack, profile: Profile, seconds: float, jpegs: Sequence[bytes]) -> Storm:
    """Keep 32 deliveries in flight for about so long."""
    asyncio.run(deliver(stack, new_images(stack, 2 * IN_FLIGHT, jpegs), IN_FLIGHT))  # not counted
    count = max(IN_FLIGHT, round(seconds * profile.ideal_per_s))
    image_ids = new_images(stack, count, jpegs)
    storm = Storm(profile, count)
    metrics_before, cpu_before = load.metrics(stack), load.cpu_seconds(stack)
    probe = HealthProbe(stack.webhook_url)
    probe.start()
    started = time.perf_counter()
    times = asyncio.run(deliver(stack, image_ids, IN_FLIGHT))
    storm.wall_s = time.perf_counter() - started
    probe.stop()
    storm.latencies_s = [answered - posted for posted, answered in times]
    storm.images_per_s = full_load_per_s(times)
    storm.health_s = probe.seconds
    storm.cpu_s = difference(cpu_before, load.cpu_seconds(stack))
    storm.metrics = difference(metrics_before, load.metrics(stack))
    storm.peak_rss_mb = load.peak_rss_mb(stack)
    return storm


def full_load_per_s(times: Sequence[tuple[float, float]]) -> float:
    """Return answers per second while all places were taken: neither at first nor at the end."""
    answers = sorted(answered for _, answered in times)
    begin, end = answers[IN_FLIGHT - 1], max(posted for posted, _ in times)
    return sum(begin < answered <= end for answered in answers) / (end - begin)


def difference(before: Any, after: Any) -> dict[str, float]:
    """Return what was added, name by name."""
    return {name: value - before.get(name, 0) for name, value in after.items()}


def measure_added_ms(stack: Stack, profile: Profile, jpegs: Sequence[bytes]) -> dict[str, float]:
    """Return medians of an idle service: the answer's, what of it is ours, and the engine's."""
    image_ids = new_images(stack, IDLE_IMAGES, jpegs)
    walls_s = deliver_one_by_one(stack, image_ids)
    lines = [json.loads(line) for line in stack.service.log.read_text().splitlines()]
    told = {line["image_id"]: line for line in lines if line["event"] == "removal_finished"}
    device_ms = measure_device_ms(profile)
    ours_and_engine_ms = []
    for image_id, wall_s in zip(image_ids, walls_s, strict=True):
        elsewhere_ms = sum(told[image_id][f"{name}_ms"] for name in S3_AND_IMAGE_STAGES)
        ours_and_engine_ms.append(1000 * wall_s - elsewhere_ms - device_ms)
    engine_ms = measure_engine_ms(stack, image_ids)
    with_engine_ms = statistics.median(ours_and_engine_ms)
    return {
        "answer": 1000 * statistics.median(walls_s),
        "device": device_ms,
        "added": with_engine_ms - engine_ms,
        "engine": engine_ms,
        "added with the engine": with_engine_ms,
    }


def measure_device_ms(profile: Profile) -> float:
    """Return the median of what the device's thread does with one image, without the service."""
    model = simulated_model(load.DEFAULT_MODEL, profile.batch_s, profile.image_s)
    pixels = torch.zeros(1, 3, NETWORK_PX, NETWORK_PX, dtype=torch.uint8)
    seconds = []
    for _ in range(20):
        time.sleep(IDLE_PAUSE_S)
        started = time.perf_counter()
        predict(pixels, model)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def measure_engine_ms(stack: Stack, image_ids: Sequence[str]) -> float:
    """Return the median of the GraphQL stand-in's time for what a job asks of it."""
    connection = http.client.HTTPConnection(urlsplit(stack.engine_url).netloc, timeout=30)
    headers = {
        "x-hasura-admin-secret": stack.admin_secret,
        "x-hasura-role": ROLE,
        "content-type": "application/json",
    }
    documents = load_documents(DOCUMENTS)
    seconds = []
    for image_id in image_ids:
        result = RemovalResult(image_id, f"img/{image_id}/trans.png", load.DEFAULT_MODEL, 1, 1, 0.5)
        # One delivery has written each row before.
        values = {**values_of_row(RowState(image_id, 1)), **values_of_result(result)}
        requests = (documents.find_row, documents.record_removal)
        bodies = [json.dumps(operation.request(values).payload) for operation in requests]
        time.sleep(IDLE_PAUSE_S)
        started = time.perf_counter()
        answers = []
        for body in bodies:
            connection.request("POST", "/v1/graphql", body, headers)
            answers.append(connection.getresponse().read())
        seconds.append(time.perf_counter() - started)
        if any("errors" in json.loads(answer) for answer in answers):
            raise SystemExit(f"the engine refused: {answers!r}")
    connection.close()
    return 1000 * statistics.median(seconds)


def measure_ancestor(stack: Stack, profile: Profile, count: int, jpegs: Sequence[bytes]) -> float:
    """Do as the ancestor did, one after the other; return images per second."""
    image_ids = new_images(stack, count, jpegs)
    client = stack.s3.client()
    network = SleepingNetwork(profile.batch_s, profile.image_s)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    started = time.perf_counter()
    for image_id in image_ids:
        found = client.get_object(Bucket=stack.bucket, Key=f"ogs/{image_id}.jpg")
        image = Image.open(io.BytesIO(found["Body"].read())).convert("RGB")
        small = image.resize((NETWORK_PX, NETWORK_PX), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]
        matte = network((pixels.float() / 255 - mean) / std)
        alpha = (matte[0, 0] * 255).round().byte().numpy()
        image.putalpha(Image.fromarray(alpha).resize(image.size, Image.Resampling.BICUBIC))
        png = io.BytesIO()
        image.save(png, format="PNG")
        key = f"img/{image_id}/trans.png"
        client.put_object(Bucket=stack.bucket, Key=key, Body=png.getvalue())
    return count / (time.perf_counter() - started)


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile, in milliseconds."""
    return float(np.percentile(seconds, percent) * 1000)


def print_storm(storm: Storm) -> None:
    """Print a run for people."""
    profile = storm.profile
    print(
        f"\n{profile.name}: {storm.images} images in {storm.wall_s:.1f} s; under full load "
        f"{storm.images_per_s:.2f}/s of {profile.ideal_per_s:.2f}/s, {storm.efficiency:.1%}"
    )
    for name, seconds in (("answer", storm.latencies_s), ("/healthz", storm.health_s)):
        p50, p95, p99 = (percentile_ms(seconds, percent) for percent in (50, 95, 99))
        print(f"  {name:9} p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms")
    counted, smaller = {}, 0.0
    for name, value in storm.metrics.items():
        kind, _, size = name.partition(" ")
        if kind == "batch_size_bucket":
            counted[size.removesuffix(".0")] = round(value - smaller)
            smaller = value
    sizes = ", ".join(f"{count} up to {size}" for size, count in counted.items() if count)
    busy = storm.metrics["device_seconds_total"] / storm.wall_s
    print(f"  batches: {sizes}; the device was busy {busy:.1%} of the time")
    stages = {
        name.removeprefix("removal_stage_seconds_sum "): value
        for name, value in storm.metrics.items()
        if name.startswith("removal_stage_seconds_sum ")
    }
    told = ", ".join(f"{name} {1000 * value / storm.images:.0f}" for name, value in stages.items())
    print(f"  mean ms per stage, waiting included: {told}")
    cpu = ", ".join(
        f"{name} {1000 * seconds / storm.images:.0f}" for name, seconds in storm.cpu_s.items()
    )
    print(f"  processor ms per image: {cpu}")
    print(f"  peak RSS of the service: {storm.peak_rss_mb:.0f} MB")


def main() -> None:
    """Measure both profiles, the ancestor and an idle service."""
    parser = argparse.ArgumentParser(prog="python -m bench throughput", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each run")
    options = parser.parse_args()

    jpegs = load.photographs(MEGAPIXELS)
    size_mb = statistics.mean(map(len, jpegs)) / 1e6
    where = describe_machine()
    print(
        f"{len(jpegs)} sample photographs of scikit-image and scikit-learn, enlarged to "
        f"{MEGAPIXELS} MP with a sensor's grain, JPEGs of {size_mb:.1f} MB; {IN_FLIGHT} deliveries "
        f"in flight; on {where}"
    )
    with load.simulated_stack(FLAT.batch_s, FLAT.image_s) as stack:
        ancestor = [measure_ancestor(stack, FLAT, 10, jpegs)]
        flat = measure_storm(stack, FLAT, options.seconds, jpegs)
        ancestor.append(measure_ancestor(stack, FLAT, 10, jpegs))
        idle = measure_added_ms(stack, FLAT, jpegs)
    with load.simulated_stack(BATCHED.batch_s, BATCHED.image_s) as stack:
        batched = measure_storm(stack, BATCHED, options.seconds, jpegs)
    for storm in (flat, batched):
        print_storm(storm)
    ancestor_per_s = statistics.mean(ancestor)
    ratio = flat.images_per_s / ancestor_per_s
    print(f"\nthe ancestor, before and after: {ancestor} images/s; ratio {ratio:.1f}")
    print("idle, medians in ms:", ", ".join(f"{name} {ms:.1f}" for name, ms in idle.items()))
    figures = {
        "bench": "throughput",
        "device_efficiency": round(flat.efficiency, 3),
        "device_efficiency_batched": round(batched.efficiency, 3),
        "ratio_to_ancestor": round(ratio, 2),
        "healthz_p99_ms": round(
            max(percentile_ms(storm.health_s, 99) for storm in (flat, batched)), 1
        ),
        "added_latency_p50_ms": round(idle["added"], 2),
        "images_per_s": {
            "the device's ideal": [round(s.profile.ideal_per_s, 2) for s in (flat, batched)],
            "ours": [round(s.images_per_s, 2) for s in (flat, batched)],
            "ancestor": [round(ancestor_per_s, 2)],
        },
        "peak_rss_mb": round(max(flat.peak_rss_mb, batched.peak_rss_mb)),
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
