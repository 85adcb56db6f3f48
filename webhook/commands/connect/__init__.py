"""`connect`: join a Hasura that is there already, with a table of one's own."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from webhook.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "connect",
        help="add what the service needs to a Hasura that you have; at first, only tell it",
    )
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE",
        help="may call the mutation; may be given more than once",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--apply", action="store_true", help="do it, through Hasura's API")
    way.add_argument(
        "--project",
        type=Path,
        metavar="FOLDER",
        help="write it into a project of Hasura's command line",
    )
    parser.add_argument(
        "--remove", action="store_true", help="take back what connect has added, and nothing else"
    )
    parser.add_argument(
        "--source", default="default", metavar="NAME", help="Hasura's name of the database"
    )
    parser.add_argument(
        "--documents",
        type=Path,
        metavar="FOLDER",
        help="where the GraphQL documents go; by default GRAPHQL_DOCUMENTS, or documents",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Connect, or take it back; return the exit status."""
    # Imported here: what it needs takes a second to load, which --help need not wait for.
    from webhook.commands.connect.steps import connect
    from webhook.commands.doctor.examination import Trouble

    try:
        return connect(options)
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    except Trouble as exc:
        print(exc, file=sys.stderr)
        return 1
