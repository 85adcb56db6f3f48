"""The command line: which commands there are. What each takes and does is in its own module."""

import argparse
from collections.abc import Sequence

from webhook import __version__
from webhook.commands import backfill, connect, doctor, local, process, pull, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m webhook",
        description="Background removal for Hasura and S3.",
        epilog="python -m webhook COMMAND --help tells what each takes.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (serve, connect, doctor, process, backfill, local, pull):
        command.add_command(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status
