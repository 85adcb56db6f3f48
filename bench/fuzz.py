"""Thousands of odd requests to the real service: statuses, response times, nothing written.

`tests/fuzz` asks a tenth of them in every run of the tests.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.machine import describe_machine, peak_rss_bytes
from devstack.stack import demo_stack
from tests.support.fuzz.campaign import Report, ask_bodies, everything_written, send_raw_heads

_MAX_P99_S = 0.1


def main() -> None:
    """Run the campaign; exit with 1 if a promise is broken (a 5xx raises)."""
    parser = argparse.ArgumentParser(prog="python -m bench fuzz")
    parser.add_argument("--examples", type=int, default=10_000, help="bodies and headers to try")
    examples = parser.parse_args().examples
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        demo_stack(Path(folder)) as stack,
    ):
        before = everything_written(stack)
        bodies = ask_bodies(stack, examples)
        heads = send_raw_heads(stack, examples // 5)
        untouched = everything_written(stack) == before
        peak_bytes = peak_rss_bytes(stack.service.process.pid)
    for name, report in (("bodies and headers", bodies), ("raw heads", heads)):
        print(f"{name}: {_describe(report)}")
    print(f"S3 and table untouched: {'yes' if untouched else 'NO'}")
    figures = {
        "bench": "fuzz",
        "machine": describe_machine(),
        "requests": len(bodies.seconds) + len(heads.seconds),
        "server_errors": _server_errors(bodies) + _server_errors(heads),
        "untouched": untouched,
        "answers_by_status": {
            str(status): count
            for status, count in sorted((bodies.statuses + heads.statuses).items())
        },
        "p99_ms": round(bodies.quantile(0.99) * 1000, 1),
        "service_peak_mb": round(peak_bytes / 2**20),
    }
    print(json.dumps(figures))
    sys.exit(0 if untouched and bodies.quantile(0.99) < _MAX_P99_S else 1)


def _describe(report: Report) -> str:
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(report.statuses.items()))
    times = ", ".join(
        f"p{share:g} {report.quantile(share / 100) * 1000:.1f} ms" for share in (50, 99)
    )
    return f"{len(report.seconds):,} ({statuses}); {times}, max {max(report.seconds) * 1000:.0f} ms"


def _server_errors(report: Report) -> int:
    return sum(count for status, count in report.statuses.items() if status >= 500)
