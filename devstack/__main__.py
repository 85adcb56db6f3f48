"""`python -m devstack`: run the whole journey on embedded servers (`make demo`)."""

import argparse
import sys
from collections.abc import Sequence

from devstack import DemoError
from devstack.launchers import LAUNCHERS
from devstack.showcase import run_demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack", description="Run the whole journey on embedded servers."
    )
    parser.add_argument("--once", action="store_true", help="stop after the table of results")
    parser.add_argument(
        "--entry",
        choices=LAUNCHERS,
        default="webhook",
        help="run the service as the webhook, on Ray Serve, or as RunPod's worker",
    )
    options = parser.parse_args(arguments)
    try:
        return run_demo(once=options.once, launcher=LAUNCHERS[options.entry])
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
