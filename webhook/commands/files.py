"""Files that the commands write: there as a whole, or not at all."""

import os
from pathlib import Path


def write_whole(target: Path, data: bytes) -> None:
    """Write a file beside its place, and then move it there.

    Raises:
        OSError: it can't be written; what lies there is as it was.
    """
    part = _part_of(target)
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def try_to_write_beside(target: Path) -> None:
    """See whether `write_whole` could write there, by a file that does not stay.

    Raises:
        OSError: it could not.
    """
    part = _part_of(target)
    part.write_bytes(b"")
    part.unlink()


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.part")
