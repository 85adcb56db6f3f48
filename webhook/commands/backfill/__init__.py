"""`backfill`: find the rows that lack a good cut-out, and do them behind the live work.

What is left to do is read off the table and the bucket each time: there is no state to lose.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from webhook.domain import Recipe
from webhook.errors import ConfigurationError
from webhook.tuning import tune_process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from webhook.commands.backfill.outstanding import Search
    from webhook.commands.progress import ProgressReport
    from webhook.inventory import Inventory
    from webhook.pipeline import Service
    from webhook.settings import RowSettings

_EXAMPLES = """\
examples:
  python -m webhook backfill --dry-run          what is there to do? writes nothing
  python -m webhook backfill                    rows without a cut-out
  python -m webhook backfill --status failed    only those that failed, once more
  python -m webhook backfill --stale            after MODELS or the service has changed
  python -m webhook backfill --limit 100        a first hundred, to see how it goes

Stop it whenever you like: the next run does what is left. Rows that are inserted after it
has begun are left to the service. It takes the service's settings from the environment;
WEBHOOK_SECRET is not needed.

exit status: 0 all done, or nothing to do · 1 some failed, or it gave up in an outage ·
2 wrong call or settings · 130 Ctrl-C
"""

# Behind the live work of other processes on this machine; within one, domain.Priority rules.
_NICENESS = 10


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "backfill",
        help="do all rows whose cut-out is missing, failed or out of date",
        description="Find the rows whose cut-out is missing (pending, failed, or gone from the\n"
        "bucket), and do them behind the live work.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only count what there is to do; write nothing"
    )
    parser.add_argument(
        "--status",
        choices=("pending", "failed", "done"),
        help="look only at rows with this status",
    )
    parser.add_argument(
        "--stale",
        action="store_true",
        help="also redo cut-outs that another model, other parameters or another source made; "
        "asks S3 about every single cut-out",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="do N images at most")
    parser.add_argument(
        "--concurrency",
        type=_positive,
        metavar="N",
        help="images in work at once; by default two batches on CUDA, 4 on a CPU",
    )
    parser.add_argument(
        "--failures",
        type=Path,
        default=Path("backfill-failures.csv"),
        metavar="FILE",
        help="where the images that failed are listed; by default %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print results as JSON lines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Find and do what is left; return the exit status."""
    os.nice(_NICENESS)
    tune_process()
    from webhook.commands.progress import ProgressReport
    from webhook.commands.runner import run_until_stopped
    from webhook.telemetry import configure_logging

    report = ProgressReport("id", as_json=options.json, tells_each=False)
    configure_logging("warning", report.log_stream)
    return run_until_stopped(lambda: _backfill(options, report))


async def _backfill(options: argparse.Namespace, report: "ProgressReport") -> int:
    from webhook.commands.runner import default_concurrency
    from webhook.settings import load_row_settings

    settings = load_row_settings()
    concurrency = options.concurrency or default_concurrency(settings)
    # Backfill may be half of all jobs, and here there are no others.
    settings = settings.model_copy(update={"max_jobs": 2 * concurrency})

    from webhook.commands.backfill.outstanding import Backfill, Search

    async with _opened(options, settings) as (inventory, service):
        search = Search(inventory, report, options.limit)
        if options.dry_run or service is None:
            return await _count(search, options.json)
        with _failure_list(options.failures) as failures, report:
            run = Backfill(service, report, failures)
            try:
                await run.run(search, concurrency)
            finally:
                report.add_remark(f"Looked at {search.row_count:,} rows.", rows=search.row_count)
                if report.failures:
                    where = str(options.failures)
                    report.add_remark(f"What failed is listed in {where}.", failures=where)
                if run.gave_up is not None:
                    why = f"Gave up: {run.gave_up}"
                    report.add_remark(why, gave_up=run.gave_up.code)
    return 1 if report.failures or run.gave_up else 0


@asynccontextmanager
async def _opened(
    options: argparse.Namespace, settings: "RowSettings"
) -> "AsyncIterator[tuple[Inventory, Service | None]]":
    """Open what is needed: to look alone, no model, unless to tell which cut-outs are its own."""
    from webhook.bootstrap import open_rows, open_service_on, open_store
    from webhook.inventory import Inventory

    started = datetime.now(UTC)
    store, service = open_store(settings), None
    async with open_rows(settings) as table, AsyncExitStack() as stack:
        if options.stale or not options.dry_run:
            opening = open_service_on(store, table, settings)
            service = await stack.enter_async_context(opening)
        yield (
            Inventory(
                table,
                store,
                settings.target_prefix,
                created_before=started,
                status=options.status,
                recipe=(
                    Recipe(service.segmenter.identify(None)) if options.stale and service else None
                ),
                look_for_sources=options.dry_run,
            ),
            service,
        )


async def _count(search: "Search", as_json: bool) -> int:
    """Tell what there is to do."""
    reasons: Counter[str] = Counter()
    without_source = 0
    async for row in search:
        reasons[row.reason] += 1
        without_source += not row.has_source
        if as_json:
            fields = {"id": row.image_id, "reason": row.reason}
            print(json.dumps({**fields, "source": row.has_source}), flush=True)
    if as_json:
        summary = {"rows": search.row_count, "to_do": reasons, "without_source": without_source}
        print(json.dumps({"summary": summary}))
        return 0
    kinds = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    print(
        f"{reasons.total():,} of {search.row_count:,} rows to do"
        + (f": {kinds}." if kinds else ".")
    )
    if without_source:
        print(f"{without_source:,} of them have no source, and would fail.")
    return 0


@contextmanager
def _failure_list(path: Path) -> Iterator[TextIO]:
    """Open the list of failures, each line of it safe at once; an empty one does not stay."""
    try:
        file = path.open("w", encoding="utf-8", newline="", buffering=1)
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be written: {exc.strerror}.") from exc
    with file:
        file.write("id,code,message\r\n")
        nothing = file.tell()
        yield file
        is_empty = file.tell() == nothing
    if is_empty:
        path.unlink()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number
