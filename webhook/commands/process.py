"""`process ID…`: do these images now, as the service would, and wait for the results."""

import argparse
from typing import TYPE_CHECKING

from webhook.domain import RemovalRequest, RemovalResult
from webhook.errors import RemovalError
from webhook.tuning import tune_process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from webhook.commands.progress import ProgressReport

_EXAMPLES = """\
examples:
  python -m webhook process 6f1c1a52-6c0e-4a43-9d3b-2f0f3f9f5a10
  python -m webhook process --json $(cat ids.txt)

Takes the settings of the service from the environment (HASURA_GRAPHQL_ENDPOINT,
HASURA_GRAPHQL_ADMIN_SECRET, S3_BUCKET, AWS_*, MODELS); WEBHOOK_SECRET is not needed.
An image whose up-to-date cut-out lies in S3 already only gets its row written.

exit status: 0 all done · 1 some failed · 2 wrong call or settings · 130 Ctrl-C
"""


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "process",
        help="do images now, by their ids, and write their rows",
        description="Remove the background of images now, by the ids of their rows.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image_ids", nargs="+", metavar="ID", help="id of a row in images")
    parser.add_argument("--json", action="store_true", help="print results as JSON lines")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the images; return the exit status."""
    tune_process()
    from webhook.commands.progress import ProgressReport
    from webhook.commands.runner import run_until_stopped
    from webhook.telemetry import configure_logging

    report = ProgressReport("id", as_json=options.json)
    configure_logging("warning", report.log_stream)
    return run_until_stopped(lambda: _process(list(dict.fromkeys(options.image_ids)), report))


async def _process(image_ids: list[str], report: "ProgressReport") -> int:
    from webhook.commands.runner import default_concurrency, do_all, stream_of
    from webhook.settings import load_row_settings

    settings = load_row_settings()

    from webhook.bootstrap import open_service
    from webhook.hasura.client import ROLE
    from webhook.pipeline import remove_background

    def ended(image_id: str, outcome: RemovalResult | RemovalError) -> None:
        if isinstance(outcome, RemovalError):
            report.add_failed(image_id, outcome)
        else:
            report.add_done(image_id, outcome, key=outcome.key)

    async with open_service(settings) as service:

        async def do(image_id: str) -> RemovalResult:
            # The row first: it has the id as its keys are written, and without it there is no job.
            row_id = await service.rows.find_visible(image_id, {"x-hasura-role": ROLE})
            return await remove_background(RemovalRequest(row_id), service)

        report.expect(len(image_ids))
        with report:
            await do_all(stream_of(image_ids), do, ended, default_concurrency(settings))
    return 1 if report.failures else 0
