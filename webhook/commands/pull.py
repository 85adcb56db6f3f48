"""`pull`: fetch the weights of a model, and verify them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from webhook.errors import RemovalError
from webhook.models import EMBEDDED, MODELS

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser("pull", help="fetch the weights of a model, and verify them")
    parser.add_argument(
        "model",
        nargs="?",
        default=MODELS[0],
        metavar="MODEL",
        help=f"as in the setting MODELS; by default {MODELS[0]}",
    )
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="take them from a folder, on a machine that does not reach the model hub",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fetch and verify; return the exit status."""
    # Imported here: huggingface_hub takes a second, which --help need not wait for.
    from webhook.segmentation.hub import adopt, fetch
    from webhook.segmentation.weights import known_checkpoint

    if options.model == EMBEDDED:
        print("The model embedded comes with the code: there is nothing to pull.")
        return 0
    try:
        checkpoint = known_checkpoint(options.model)
        folder: Path | None = options.folder
        where = fetch(checkpoint) if folder is None else adopt(checkpoint, folder)
    except RemovalError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{options.model} at {checkpoint.revision}: verified, in {where}")
    print(f"Licence of the weights: {checkpoint.licence}")
    return 0
