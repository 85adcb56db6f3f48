"""The list of what failed in a backfill: kept in memory, written once, as a file of CSV."""

import csv
import io
import os
from pathlib import Path

from webhook.commands.files import try_to_write_beside, write_whole
from webhook.errors import ConfigurationError, RemovalError

USUAL_PATH = Path("backfill-failures.csv")


class FailureList:
    """Gets a line for each image that failed; without any nothing is written."""

    def __init__(self, path: Path | None = None, *, overwrite: bool = False) -> None:
        """Touch nothing yet.

        Args:
            path: Where somebody wants it to be; None: at its usual place, if it can be there.
            overwrite: Whether it may take the place of a file that is there already.
        """
        self.path = path or USUAL_PATH
        self._is_wanted_there = path is not None
        self._may_overwrite = overwrite
        self._text = io.StringIO(newline="")
        self._lines = csv.writer(self._text)
        self._lines.writerow(["id", "code", "message"])
        self._is_empty = True

    def __bool__(self) -> bool:
        return not self._is_empty

    @property
    def text(self) -> str:
        """All lines, the header first."""
        return self._text.getvalue()

    def check(self) -> None:
        """Find what would only show at the end of the run, and need not.

        Raises:
            ConfigurationError: another file would be lost, or the place that was named can't be
                written to. That the usual one can't is none: perhaps there will be no failures.
        """
        if self._is_taken():
            raise ConfigurationError(
                f"{self.path} is there already: move it away, name another file by --failures, or "
                "allow by --overwrite that it is replaced."
            )
        if self._is_wanted_there:
            try:
                try_to_write_beside(self.path)
            except OSError as exc:
                raise ConfigurationError(f"{self.path} can't be written: {exc.strerror}.") from exc

    def add(self, image_id: str, error: RemovalError) -> None:
        """Note that an image has failed."""
        self._is_empty = False
        self._lines.writerow([image_id, error.code, error])

    def write(self) -> None:
        """Write the file.

        Raises:
            OSError: it can't be written, or another one has come there meanwhile.
        """
        if self._is_taken():
            raise FileExistsError(None, "another file is there by now")
        write_whole(self.path, self.text.encode())

    def _is_taken(self) -> bool:
        return not self._may_overwrite and os.path.lexists(self.path)
