"""What the commands say: results on stdout, as text or JSON lines; the rest, and a bar, on stderr.

On a terminal there are colours (unless NO_COLOR is set) and a bar; elsewhere now and then a line.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from webhook.domain import RemovalResult
from webhook.errors import Overloaded, RemovalError, TemporarilyUnavailable

_LINE_EVERY_S = 30.0


class ProgressReport:
    """Counts what became of the images, tells it as it happens, and sums it up; a context."""

    def __init__(self, label: str, *, as_json: bool, tells_each: bool = True) -> None:
        """Say nothing yet.

        Args:
            label: What an image is called by in JSON: its `id`, its `file`.
            as_json: Results as JSON lines.
            tells_each: Whether results that went well are worth a line of text.
        """
        self._label = label
        self._as_json = as_json
        self._tells_each = tells_each
        self._results_on_terminal = sys.stdout.isatty()
        # One console for both where both are on the terminal: so the lines go above the bar.
        self._console = Console(stderr=as_json or not self._results_on_terminal, highlight=False)
        self._has_bar = (
            self._console.is_terminal
            and self._console.file.isatty()
            and not self._console.is_dumb_terminal
            and not (as_json and self._results_on_terminal)
        )
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}{task.fields[more]}"),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=self._console,
            disable=not self._has_bar,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=0, more="", failed="")
        self._started = time.monotonic()
        self._next_line = self._started
        self._last_note = ""
        self._expected = 0
        self._more = ""
        self._remarks: list[str] = []
        self._summary: dict[str, Any] = {}
        self.done = 0
        self.skipped = 0
        self.failed: Counter[str] = Counter()

    def __enter__(self) -> "ProgressReport":
        self._started = time.monotonic()
        self._next_line = self._started + _LINE_EVERY_S
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self.add_remark("Stopped: what is not done is as it was.", stopped=True)
        self._sum_up()

    @property
    def log_stream(self) -> TextIO:
        """Where log lines go: to stderr, above the bar if there is one."""
        return cast(TextIO, FileProxy(self._console, sys.stderr)) if self._has_bar else sys.stderr

    @property
    def failures(self) -> int:
        """How many images failed."""
        return self.failed.total()

    def expect(self, count: int, *, more_may_come: bool = False) -> None:
        """Tell of more images to do."""
        self._expected += count
        self._more = "+" if more_may_come else ""
        self._bar.update(self._task, total=self._expected, more=self._more)

    def add_done(self, name: str, result: RemovalResult, **where: str) -> None:
        """Tell of an image that went well, and where its cut-out is."""
        self.done += 1
        if self._tells_each or self._as_json:
            (place,) = where.values()
            size = f"{result.width}×{result.height}, {result.coverage:.0%} kept"
            fields = {
                **where,
                "width": result.width,
                "height": result.height,
                "coverage": round(result.coverage, 6),
                "model": result.model,
            }
            self._result("done", "green", name, f"{size} → {place}", fields)
        self._advance()

    def add_skipped(self, name: str, why: str) -> None:
        """Tell of an image that was left alone."""
        self.skipped += 1
        self._result("skipped", "yellow", name, why, {"message": why})
        self._advance()

    def add_failed(self, name: str, error: RemovalError) -> None:
        """Tell of an image that failed."""
        self.failed[error.code] += 1
        fields = {"code": error.code, "message": str(error)}
        self._result("failed", "red", name, f"{error.code}: {error}", fields)
        self._advance()

    def note(self, text: str) -> None:
        """Say something beside the results; the same thing only once in a row."""
        if text == self._last_note:
            return
        self._last_note = text
        if self._has_bar:
            self._console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def note_outage(self, error: TemporarilyUnavailable) -> None:
        """Say that something is waited for."""
        if isinstance(error, Overloaded):  # whose words have numbers, and change all the time
            self.note("There is too much work for more at once. Waiting ...")
        else:
            self.note(f"{error} Trying again ...")

    def add_remark(self, text: str, **fields: Any) -> None:
        """Have the summary say more: a sentence of text, fields of JSON."""
        self._remarks.append(text)
        self._summary |= fields

    def _line(self, fields: Mapping[str, Any]) -> None:
        """Write one line of JSON."""
        print(json.dumps(fields, ensure_ascii=False), flush=True)

    def _sum_up(self) -> None:
        seconds = time.monotonic() - self._started
        if self._as_json:
            counts = {"done": self.done, "skipped": self.skipped, "failed": dict(self.failed)}
            self._line({"summary": {**counts, **self._summary, "seconds": round(seconds, 3)}})
            return
        parts = [f"{self.done:,} done"]
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped")
        failed = f"{self.failures:,} failed"
        if self.failed:
            kinds = ", ".join(f"{count:,} {code}" for code, count in self.failed.most_common())
            failed += f" ({kinds})"
        print(
            f"{', '.join([*parts, failed])}, in {_duration(seconds)}.", *self._remarks, flush=True
        )

    def _result(
        self, status: str, style: str, name: str, detail: str, fields: Mapping[str, Any]
    ) -> None:
        if self._as_json:
            self._line({self._label: name, "status": status, **fields})
        elif self._results_on_terminal:
            self._console.print(
                f"[{style}]{status:<7}[/]  {escape(name)}  {escape(detail)}", soft_wrap=True
            )
        else:
            print(f"{status:<7}  {name}  {detail}", flush=True)

    def _advance(self) -> None:
        failed = f"[red]{self.failures:,} failed[/]" if self.failures else ""
        self._bar.update(self._task, advance=1, failed=failed)
        now = time.monotonic()
        if not self._has_bar and now >= self._next_line:
            self._next_line = now + _LINE_EVERY_S
            ended = self.done + self.skipped + self.failures
            rate = ended / (now - self._started)
            left = _duration((self._expected - ended) / rate)
            self.note(
                f"{ended:,} of {self._expected:,}{self._more}, {rate:.1f}/s, {left} left, "
                f"{self.failures:,} failed"
            )


class _Rate(ProgressColumn):
    """Images per second, lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
