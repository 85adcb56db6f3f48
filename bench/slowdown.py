"""An S3 that throttles a little: `python -m bench slowdown [--seconds]`.

Deliveries go through the service while a proxy before S3 answers 2 % of its requests with 503
SlowDown; before and after that it lets all pass. The device is simulated, the rest is real.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import closing, nullcontext
from urllib.parse import urlsplit

from bench import load
from bench.machine import describe_machine
from bench.throughput import IN_FLIGHT, deliver, new_images
from devstack.stack import Stack
from tests.support.faults.proxy import Fault, FaultProxy
from tests.support.faults.scenarios import s3_error

MEGAPIXELS = 0.5
IMAGE_S = 0.025  # of the device; batches gain nothing
SHARE = 0.02
WARM_UP = 2 * IN_FLIGHT

# What is promised.
LEAST_RATIO = 0.8
RECOVERY_S = 5.0


def measure(stack: Stack, seconds: float, jpegs: list[bytes]) -> list[float]:
    """Keep 32 deliveries in flight for about so long; return when each was answered."""
    image_ids = new_images(stack, max(IN_FLIGHT, round(seconds / IMAGE_S)), jpegs)
    started = time.perf_counter()
    times = asyncio.run(deliver(stack, image_ids, IN_FLIGHT))
    return sorted(answered - started for _, answered in times)


def per_s(answers: list[float]) -> float:
    """Return answers per second."""
    return len(answers) / answers[-1]


def main() -> None:
    """Measure before, during and after; exit with 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench slowdown", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="of throttling")
    options = parser.parse_args()

    where = describe_machine()
    jpegs = load.photographs(MEGAPIXELS)
    throttling = Fault(answer=s3_error("503 Slow Down", "SlowDown"), share=SHARE)
    with closing(FaultProxy()) as proxy:
        address = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
        with load.simulated_stack(0, IMAGE_S, None, **address) as stack:
            proxy.upstream_port = urlsplit(stack.s3.endpoint_url).port or 0
            asyncio.run(deliver(stack, new_images(stack, WARM_UP, jpegs), IN_FLIGHT))
            answers: dict[str, list[float]] = {}
            throttled = 0
            for phase, seconds, weather in (
                ("before", options.seconds / 2, nullcontext()),
                ("throttled", options.seconds, proxy.failing(throttling)),
                ("after", RECOVERY_S, nullcontext()),
            ):
                with weather:
                    answers[phase] = measure(stack, seconds, jpegs)
                    throttled += proxy.hits if phase == "throttled" else 0
    rates = {phase: per_s(times) for phase, times in answers.items()}
    for phase, rate in rates.items():
        print(f"{phase:9} {rate:6.2f} images/s, {len(answers[phase])} images")
    ratio, ratio_after = (rates[phase] / rates["before"] for phase in ("throttled", "after"))
    figures = {
        "bench": "slowdown",
        "share_throttled": SHARE,
        "answers_throttled": throttled,
        "images_per_s": round(rates["before"], 2),
        "images_per_s_throttled": round(rates["throttled"], 2),
        "images_per_s_in_the_5_s_after": round(rates["after"], 2),
        "ratio": round(ratio, 3),
        "ratio_after": round(ratio_after, 3),
        "machine": where,
    }
    print(json.dumps(figures))
    sys.exit(0 if min(ratio, ratio_after) >= LEAST_RATIO else 1)


if __name__ == "__main__":
    main()
