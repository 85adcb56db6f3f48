"""What a check finds, and the list of it; the checks themselves are beside this module."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from webhook.errors import RemovalError

Status = Literal["ok", "weak", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; `says` is what was found, or what to do."""

    check: str
    status: Status
    says: str


class Trouble(Exception):
    """A check failed; the message tells what to do."""


class Weakness(Exception):
    """A check found something that can't be promised; the message tells what."""


class Untold(Exception):
    """A check could not be made; the message tells why."""


@dataclass(slots=True)
class Examination:
    """The findings in order; and how far each neighbour's clock is ahead of ours, in seconds."""

    findings: list[Finding] = field(default_factory=list)
    clocks: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, examine: Callable[[], str]) -> bool:
        """Make one check; tell whether it was passed.

        Args:
            name: What is looked at.
            examine: Returns what was found; raises Trouble, Weakness, Untold or an error of the
                service.
        """
        try:
            self.add(name, "ok", examine())
        except Untold as exc:
            self.add(name, "skip", str(exc))
        except Weakness as exc:
            self.add(name, "weak", str(exc))
        except (Trouble, RemovalError) as exc:
            self.add(name, "fail", getattr(exc, "detail", None) or str(exc))
        except Exception as exc:  # one check must not take the others down
            self.add(name, "fail", f"The check itself failed: {type(exc).__name__}.")
        return self.findings[-1].status == "ok"

    def add(self, name: str, status: Status, says: str) -> None:
        """Note an outcome."""
        self.findings.append(Finding(name, status, says))

    def note_clock(self, neighbour: str, date_header: str | None) -> None:
        """Compare a neighbour's `Date` header, just received, with our clock."""
        try:
            theirs = parsedate_to_datetime(date_header or "")
        except ValueError:
            return
        self.clocks[neighbour] = (theirs - datetime.now(UTC)).total_seconds()
