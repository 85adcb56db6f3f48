"""A storm of rows: `python -m bench storm [--rows] [--late]`.

All rows come by one SQL statement; the stand-in delivers up to 100 events at once, as Hasura does.
Some sources are uploaded only after their events. The device is simulated, the rest is real.
"""

import argparse
import json
import time
import uuid

from bench import load
from bench.machine import describe_machine

MEGAPIXELS = 2
DEVICE_S = 0.06  # for each image, batches gain nothing
LATE_BY_S = 5.0
PATIENCE_S = 600.0


def main() -> None:
    """Run the storm, and tell what became of every row."""
    parser = argparse.ArgumentParser(prog="python -m bench storm", description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--late", type=float, default=0.05, help="share of late sources")
    options = parser.parse_args()

    jpegs = load.photographs(MEGAPIXELS)
    where = describe_machine()
    image_ids = [str(uuid.uuid4()) for _ in range(options.rows)]
    late = image_ids[:: round(1 / options.late)] if options.late else []
    in_time = sorted(set(image_ids) - set(late))
    print(f"{len(image_ids)} rows, {len(late)} sources {LATE_BY_S:g} s late; on {where}")
    with load.simulated_stack(0, DEVICE_S) as stack:
        load.upload(stack, in_time, jpegs)
        idle_rss_mb = load.peak_rss_mb(stack)
        cpu_before = load.cpu_seconds(stack)
        started = time.perf_counter()
        load.insert_rows(stack, image_ids, quietly=False)
        time.sleep(LATE_BY_S)
        load.upload(stack, late, jpegs)
        progress: list[tuple[float, int]] = [(0.0, 0)]
        while True:
            rows = load.count_rows(stack)
            wall_s = time.perf_counter() - started
            progress.append((round(wall_s, 2), rows.get("done", 0)))
            if not rows.get("pending") or wall_s >= PATIENCE_S:
                break
            time.sleep(0.25)
        metrics = load.metrics(stack)
        cpu_s = {
            name: seconds - cpu_before[name] for name, seconds in load.cpu_seconds(stack).items()
        }
        peak_rss_mb = load.peak_rss_mb(stack)
    answers = {
        name.split()[1]: int(count)
        for name, count in metrics.items()
        if name.startswith("removal_requests_total ") and name.endswith(" event")
    }
    print(f"rows: {rows} after {wall_s:.1f} s; answers to deliveries: {answers}")
    print("processor seconds:", ", ".join(f"{name} {s:.0f}" for name, s in cpu_s.items()))
    figures = {
        "bench": "storm",
        "rows": len(image_ids),
        "done": rows.get("done", 0),
        "computed": int(metrics["batch_size_sum"]),
        "images_per_s": round(len(image_ids) / wall_s, 2),
        "idle_rss_mb": round(idle_rss_mb),
        "peak_rss_mb": round(peak_rss_mb),
        "done_after_s": progress,
        "machine": where,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
