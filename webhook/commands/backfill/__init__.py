"""`backfill`: find the rows that lack a good cut-out, and do them behind the live work.

What is left to do is read off the table and the bucket each time: there is no state to lose.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from webhook.domain import Recipe
from webhook.errors import ConfigurationError
from webhook.recipes import RenditionRecipe
from webhook.tuning import tune_process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from webhook.commands.backfill.failures import FailureList
    from webhook.commands.backfill.outstanding import Remover, Search
    from webhook.commands.progress import ProgressReport
    from webhook.hasura.client import HasuraClient
    from webhook.inventory import Inventory
    from webhook.settings import RowSettings
    from webhook.storage import S3Storage

_EXAMPLES = """\
examples:
  python -m webhook backfill --dry-run          what is there to do? writes nothing
  python -m webhook backfill                    rows without a cut-out
  python -m webhook backfill --status failed    only those that failed, once more
  python -m webhook backfill --stale            after MODELS or the service has changed
  python -m webhook backfill --renditions       after RENDITIONS has changed; no device needed
  python -m webhook backfill --limit 100        a first hundred, to see how it goes
  python -m webhook backfill --through http://webhook:8000
                                                the running service does the work

Stop it whenever you like: the next run does what is left. Rows that are inserted after it
has begun are left to the service. It takes the service's settings from the environment;
WEBHOOK_SECRET is needed only with --through. What failed is listed in a file at the end,
or on stderr where that file can't be written.

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
    parser.add_argument(
        "--renditions",
        action="store_true",
        help="also make the renditions that are missing, or of another cut-out or recipe; asks S3 "
        "about every single one",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="do N images at most")
    parser.add_argument(
        "--concurrency",
        type=_positive,
        metavar="N",
        help="images in work at once; by default two batches on CUDA, 4 on a CPU, and two "
        "batches (MAX_BATCH_SIZE) with --through",
    )
    parser.add_argument(
        "--through",
        type=_address,
        metavar="URL",
        help="have a running service do the work, behind its live work: no second model is loaded",
    )
    parser.add_argument(
        "--failures",
        type=Path,
        metavar="FILE",
        help="where the images that failed are listed; by default backfill-failures.csv",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier list of failures"
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
    from webhook.commands.backfill.failures import FailureList
    from webhook.settings import load_row_settings, load_settings

    settings = load_row_settings() if options.through is None else load_settings()
    failures = FailureList(options.failures, overwrite=options.overwrite)
    if not options.dry_run:
        failures.check()

    from webhook.commands.backfill.outstanding import Backfill, Search

    concurrency = options.concurrency or _usual_concurrency(options, settings)
    async with _opened(options, settings, report, concurrency) as (inventory, worker):
        search = Search(inventory, report, options.limit)
        if options.dry_run or worker is None:
            return await _count(search, options.json)
        with report:
            run = Backfill(worker.remove, report, failures, worker.recipe.model.name)
            try:
                await run.run(search, concurrency)
            finally:
                report.add_remark(f"Looked at {search.row_count:,} rows.", rows=search.row_count)
                if failures:
                    _list_failures(failures, report)
                if run.gave_up is not None:
                    why = f"Gave up: {run.gave_up}"
                    report.add_remark(why, gave_up=run.gave_up.code)
    return 1 if report.failures or run.gave_up else 0


def _usual_concurrency(options: argparse.Namespace, settings: "RowSettings") -> int:
    if options.through is not None:  # of whose device nothing is known but its settings
        return 2 * settings.max_batch_size
    from webhook.commands.runner import default_concurrency

    return default_concurrency(settings)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Who does what is found, and what makes the cut-outs and renditions of it."""

    remove: "Remover"
    recipe: Recipe
    renditions: Sequence[RenditionRecipe]


@asynccontextmanager
async def _opened(
    options: argparse.Namespace,
    settings: "RowSettings",
    report: "ProgressReport",
    concurrency: int,
) -> "AsyncIterator[tuple[Inventory, _Worker | None]]":
    """Open what is needed: to look alone, no model, unless to tell which cut-outs are its own."""
    from webhook.bootstrap import open_rows, open_store
    from webhook.inventory import Inventory

    started = datetime.now(UTC)
    store, worker = open_store(settings), None
    async with open_rows(settings) as table, AsyncExitStack() as stack:
        renditions: Sequence[RenditionRecipe] = settings.renditions if options.renditions else ()
        is_theirs = options.renditions and options.through is not None
        if options.stale or is_theirs or not options.dry_run:
            opening = (
                _working_here(store, table, settings, concurrency)
                if options.through is None
                else _working_there(options.through, settings, report, concurrency)
            )
            worker = await stack.enter_async_context(opening)
            renditions = worker.renditions if options.renditions else ()
        if options.renditions and not renditions:
            raise ConfigurationError("--renditions: the setting RENDITIONS names none.")
        yield (
            Inventory(
                table,
                store,
                settings.target_prefix,
                created_before=started,
                status=options.status,
                recipe=worker.recipe if options.stale and worker else None,
                renditions=renditions,
                look_for_sources=options.dry_run,
            ),
            worker,
        )


@asynccontextmanager
async def _working_here(
    store: "S3Storage", table: "HasuraClient", settings: "RowSettings", concurrency: int
) -> AsyncIterator[_Worker]:
    """Load the models into this process."""
    from webhook.bootstrap import open_service_on
    from webhook.pipeline import remove_background

    # Backfill may be half of all jobs, and here there are no others.
    settings = settings.model_copy(update={"max_jobs": 2 * concurrency})
    async with open_service_on(store, table, settings) as service:
        recipe = Recipe(service.models.identify(None))
        yield _Worker(partial(remove_background, service=service), recipe, settings.renditions)


@asynccontextmanager
async def _working_there(
    url: str, settings: "RowSettings", report: "ProgressReport", concurrency: int
) -> AsyncIterator[_Worker]:
    """Ask a running service, and first what it makes: so a wrong address or secret shows."""
    from webhook.commands.backfill.outstanding import PAUSES_S
    from webhook.commands.backfill.through import open_running_service
    from webhook.commands.runner import patiently
    from webhook.settings import Settings

    assert isinstance(settings, Settings)
    async with open_running_service(url, settings.webhook_secret, concurrency) as service:
        recipe = await patiently(service.recipe, PAUSES_S, report.note_outage)
        renditions = await patiently(service.renditions, PAUSES_S, report.note_outage)
        yield _Worker(service.remove_background, recipe, renditions)


def _list_failures(failures: "FailureList", report: "ProgressReport") -> None:
    """Write the list; where it can't be written, on stderr, so that it is not lost."""
    try:
        failures.write()
    except OSError as exc:
        print(failures.text, end="", file=report.log_stream, flush=True)
        report.add_remark(
            f"What failed is listed on stderr: {failures.path} can't be written ({exc.strerror}).",
            failures=None,
        )
    else:
        report.add_remark(f"What failed is listed in {failures.path}.", failures=str(failures.path))


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


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise argparse.ArgumentTypeError(f"invalid address: {text!r}; one is http://host:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("invalid address: nothing but a path may follow the host")
    return text.rstrip("/")
