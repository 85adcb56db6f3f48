"""What the benchmarks of the whole service share: its stack, photographs, rows, and gauges."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import numpy as np
import psycopg
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from bench.machine import peak_rss_bytes
from devstack.launchers import Launcher
from devstack.samples import sample_photos
from devstack.stack import Stack, demo_stack

DEFAULT_MODEL = "briaai/RMBG-2.0"  # its name alone: the device is simulated
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def simulated_stack(
    batch_s: float, image_s: float, replicas: int | None = None, **settings: str
) -> Iterator[Stack]:
    """Run the stack with the service on a simulated device; or on Ray, with one per replica."""
    with TemporaryDirectory(prefix="bench-") as folder:
        command = ("-m", "bench.simulated_service")
        profile = ["--batch-s", str(batch_s), "--image-s", str(image_s)]
        if replicas is not None:
            profile += ["--replicas", str(replicas)]
        with demo_stack(
            Path(folder),
            models=DEFAULT_MODEL,
            launcher=Launcher((*command, *profile)),
            service_settings={"OMP_WAIT_POLICY": "passive", **settings},
        ) as stack:
            yield stack


def photographs(megapixels: float) -> list[bytes]:
    """Return JPEGs of scikit-image's and scikit-learn's sample photographs, enlarged, with grain.

    The grain is a sensor's: an enlarged photograph alone would be easier to code than a real one.
    """
    grain = np.random.default_rng(0)
    jpegs = []
    for path in sample_photos():
        with Image.open(path) as image:
            photo = image.convert("RGB")
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
        pixels += grain.normal(0, 1.5, pixels.shape).astype(np.float32)
        buffer = io.BytesIO()
        Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=92
        )
        jpegs.append(buffer.getvalue())
    return jpegs


def upload(stack: Stack, image_ids: Sequence[str], jpegs: Sequence[bytes]) -> None:
    """Put a source for each id, the photographs in turn."""
    client = stack.s3.client()

    def put(index: int) -> None:
        key = f"ogs/{image_ids[index]}.jpg"
        client.put_object(Bucket=stack.bucket, Key=key, Body=jpegs[index % len(jpegs)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(len(image_ids))))


def insert_rows(stack: Stack, image_ids: Sequence[str], *, quietly: bool) -> None:
    """Insert a row for each id by one statement; quietly: without events."""
    with psycopg.connect(stack.database_url) as connection:
        if quietly:
            connection.execute("ALTER TABLE images DISABLE TRIGGER USER")
        connection.execute("INSERT INTO images (id) SELECT unnest(%s::uuid[])", [list(image_ids)])
        if quietly:
            connection.execute("ALTER TABLE images ENABLE TRIGGER USER")


def count_rows(stack: Stack) -> dict[str, int]:
    """Return how many rows there are of each status."""
    with psycopg.connect(stack.database_url) as connection:
        found = connection.execute("SELECT status, count(*) FROM images GROUP BY status")
        return dict(found.fetchall())


def metrics(stack: Stack) -> Mapping[str, float]:
    """Return the service's metrics by name and labels, models aside: `batch_size_bucket 8.0`."""
    text = httpx2.get(f"{stack.webhook_url}/metrics").text
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [value for name, value in sorted(sample.labels.items()) if name != "model"]
            values[" ".join([sample.name, *labels])] = sample.value
    return values


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Return processor seconds so far: each server's with its children, ours, everybody else's."""
    used = {process.name: 0.0 for process in stack.processes}
    roots = {process.process.pid: process.name for process in stack.processes}
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(fields[1])
        ticks[int(folder.name)] = sum(map(int, fields[11:15]))  # with its ended children
    for pid in ticks:
        ancestor = pid
        while ancestor in parents and ancestor not in roots:
            ancestor = parents[ancestor]
        if ancestor in roots:
            used[roots[ancestor]] += ticks[pid] / _TICKS_PER_S
    own = os.times()
    used["This benchmark"] = own.user + own.system
    everybody = Path("/proc/stat").read_text().split(maxsplit=8)
    busy_s = sum(int(everybody[i]) for i in (1, 2, 3, 6, 7)) / _TICKS_PER_S
    return {**used, "Others on this machine": busy_s - sum(used.values())}


def peak_rss_mb(stack: Stack) -> float:
    """Return the service's largest resident size so far, in MB of 10^6 bytes."""
    return peak_rss_bytes(stack.service.process.pid) / 1e6
