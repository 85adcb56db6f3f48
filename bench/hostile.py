"""Honest users among hostile ones: `python -m bench hostile [--honest N]`.

Photographs come at a steady rate, first alone, then two hostile files with each of them at the same
moment, then alone again. No honest one may fail or come late, and the service must not restart. The
device is simulated, the rest is real.
"""

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import httpx2
import numpy as np

from bench import load
from bench.machine import MemoryProbe, describe_machine
from devstack.stack import Stack
from tests.support.bodies import event_body
from tests.support.hostile import KINDS
from webhook.hasura.protocol import SECRET_HEADER
from webhook.http.app import EVENT_PATH

MEGAPIXELS = 2
BATCH_S, IMAGE_S = 0.04, 0.02  # of the device: for each batch, and for each image in it
INTERVAL_S = 0.5
HOSTILE_PER_HONEST = 2
CLIENT_TIMEOUT_S = 120.0
SLOWEST_SHOWN = 5
MAX_PIXELS_IN_FLIGHT = 400_000_000

# What is promised.
MAX_RATIO = 2.0
MAX_BYTES = 1.5e9 + 4 * MAX_PIXELS_IN_FLIGHT


@dataclass(frozen=True)
class Answer:
    """What became of a file."""

    kind: str
    outcome: str
    seconds: float


@dataclass
class Phase:
    """Honest files at a steady rate, with hostile ones or without."""

    honest: list[str]
    hostile: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """How long each honest one took."""
        return [answer.seconds for answer in self.answers if answer.kind == HONEST]

    @property
    def failed(self) -> int:
        """How many honest ones failed."""
        return sum(a.outcome != "done" for a in self.answers if a.kind == HONEST)


HONEST = "honest"


def honest_phase(stack: Stack, count: int, jpegs: Sequence[bytes]) -> Phase:
    """Make rows and sources of photographs; nobody is told of them yet."""
    image_ids = [str(uuid.uuid4()) for _ in range(count)]
    load.upload(stack, image_ids, jpegs)
    load.insert_rows(stack, image_ids, quietly=True)
    return Phase(image_ids)


def add_hostile(stack: Stack, phase: Phase) -> None:
    """Make rows and sources of hostile files: every kind as often as the others, none twice."""
    names, client = sorted(KINDS), stack.s3.client()
    for number in range(HOSTILE_PER_HONEST * len(phase.honest)):
        turn, place = divmod(number, len(names))
        kind, image_id = names[(place * 29 + turn) % len(names)], str(uuid.uuid4())
        key = f"ogs/{image_id}"
        client.put_object(Bucket=stack.bucket, Key=key, Body=KINDS[kind](number))
        phase.hostile.append((kind, image_id))
    load.insert_rows(stack, [image_id for _, image_id in phase.hostile], quietly=True)


async def deliver(stack: Stack, phase: Phase) -> None:
    """Post every delivery at its time, whatever became of those before it."""
    headers = {SECRET_HEADER: stack.webhook_secret}
    hostile = iter(phase.hostile)
    async with (
        httpx2.AsyncClient(
            base_url=stack.webhook_url, headers=headers, timeout=CLIENT_TIMEOUT_S
        ) as client,
        asyncio.TaskGroup() as jobs,
    ):

        async def ask(kind: str, image_id: str) -> None:
            started = time.perf_counter()
            try:
                answer = await client.post(EVENT_PATH, json=event_body(image_id))
                outcome = _outcome(answer)
            except httpx2.TransportError as exc:
                outcome = type(exc).__name__
            phase.answers.append(Answer(kind, outcome, time.perf_counter() - started))

        started = time.perf_counter()
        for number, image_id in enumerate(phase.honest):
            await asyncio.sleep(started + number * INTERVAL_S - time.perf_counter())
            for kind, other_id in islice(hostile, HOSTILE_PER_HONEST):
                jobs.create_task(ask(kind, other_id))
            jobs.create_task(ask(HONEST, image_id))


def _outcome(answer: httpx2.Response) -> str:
    body = answer.json()
    outcome = str(body.get("code") or body.get("status"))
    return outcome if answer.is_success else f"{answer.status_code} {outcome}"


def ended(metrics: dict[str, float]) -> dict[str, int]:
    """Return how many helpers were ended, by reason."""
    name = "decoders_ended_total "
    return {key.removeprefix(name): int(n) for key, n in metrics.items() if key.startswith(name)}


def print_kinds(phase: Phase) -> None:
    """Print what became of each kind."""
    kinds: dict[str, list[Answer]] = defaultdict(list)
    for answer in phase.answers:
        kinds[answer.kind].append(answer)
    print(f"{'kind':32}{'files':>6}{'median s':>10}{'worst s':>10}  outcomes")
    for kind, answers in sorted(kinds.items()):
        seconds = [answer.seconds for answer in answers]
        outcomes = Counter(answer.outcome for answer in answers)
        told = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        middle, worst = np.median(seconds), max(seconds)
        print(f"{kind:32}{len(answers):6}{middle:10.2f}{worst:10.2f}  {told}")


def print_slowest(stack: Stack, phase: Phase) -> None:
    """Print what the slowest honest ones waited for, stage by stage."""
    lines = [json.loads(line) for line in stack.service.log.read_text().splitlines()]
    honest = set(phase.honest)
    finished = [
        line for line in lines if line["event"] == "removal_finished" and line["image_id"] in honest
    ]
    print(f"the slowest {HONEST} ones, stages in ms, waiting included:")
    for line in sorted(finished, key=lambda line: -line["total_ms"])[:SLOWEST_SHOWN]:
        stages = {
            name.removesuffix("_ms"): round(value)
            for name, value in line.items()
            if name.endswith("_ms") and value >= 1
        }
        print("  " + ", ".join(f"{name} {ms}" for name, ms in stages.items()))


def main() -> None:
    """Run the three phases; exit with 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench hostile", description=__doc__)
    parser.add_argument("--honest", type=int, default=500, help="photographs among hostile files")
    options = parser.parse_args()

    where = describe_machine()
    jpegs = load.photographs(MEGAPIXELS)
    count, alone = options.honest, max(1, options.honest // 5)
    print(
        f"{count} photographs of {MEGAPIXELS} MP, one each {INTERVAL_S:g} s, with "
        f"{HOSTILE_PER_HONEST * count} hostile files of {len(KINDS)} kinds; on {where}"
    )
    in_flight = str(MAX_PIXELS_IN_FLIGHT)
    with load.simulated_stack(BATCH_S, IMAGE_S, MAX_PIXELS_IN_FLIGHT=in_flight) as stack:
        process = stack.service.process
        warm_up = honest_phase(stack, 10, jpegs)
        before, storm, after = (
            honest_phase(stack, number, jpegs) for number in (alone, count, alone)
        )
        add_hostile(stack, storm)
        asyncio.run(deliver(stack, warm_up))
        with MemoryProbe(process.pid, deadly_bytes=2 * MAX_BYTES) as memory:
            for phase in (before, storm, after):
                asyncio.run(deliver(stack, phase))
        is_the_same = process.poll() is None and stack.service.process is process
        print_slowest(stack, storm)
        helpers_ended = ended(dict(load.metrics(stack))) if is_the_same else {}
    print_kinds(storm)
    calm_s = before.seconds + after.seconds
    slowest_s, slowest_calm_s = max(storm.seconds), max(calm_s)
    outcomes = Counter(a.outcome for a in storm.answers if a.kind != HONEST)
    figures = {
        "bench": "hostile",
        "honest": len(storm.honest),
        "honest_failed": sum(phase.failed for phase in (before, storm, after)),
        "hostile": len(storm.hostile),
        "median_ms": round(1000 * float(np.median(storm.seconds))),
        "median_without_ms": round(1000 * float(np.median(calm_s))),
        "slowest_ms": round(1000 * slowest_s),
        "slowest_without_ms": round(1000 * slowest_calm_s),
        "ratio_of_slowest": round(slowest_s / slowest_calm_s, 2),
        "restarts": int(not is_the_same),
        "peak_pss_mb": round(memory.peak_bytes / 1e6),
        "hostile_by_outcome": dict(outcomes.most_common()),
        "helpers_ended": helpers_ended,
        "percentiles_ms": {
            name: [round(1000 * float(s)) for s in np.percentile(seconds, range(101))]
            for name, seconds in (("without", calm_s), ("with hostile files", storm.seconds))
        },
        "machine": where,
    }
    print(json.dumps(figures))
    is_kept = (
        not figures["honest_failed"]
        and is_the_same
        and slowest_s <= MAX_RATIO * slowest_calm_s
        and memory.peak_bytes < MAX_BYTES
    )
    sys.exit(0 if is_kept else 1)


if __name__ == "__main__":
    main()
