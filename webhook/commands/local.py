"""`local FILE…`: the same job on files of this machine, without S3, Hasura or settings."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from webhook.commands.files import write_whole
from webhook.domain import (
    RemovalRequest,
    RemovalResult,
    SourceObject,
    StandingCutout,
    list_formats,
)
from webhook.errors import (
    ConfigurationError,
    ImageTooLarge,
    RemovalError,
    SourceNotFound,
    StorageRejected,
    StorageUnavailable,
)
from webhook.models import EMBEDDED, MODELS
from webhook.tuning import tune_process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from webhook.commands.progress import ProgressReport

_EXAMPLES = f"""\
examples:
  python -m webhook local photo.jpg                        makes cutouts/photo.png
  python -m webhook local photos/*.jpg -o results
  python -m webhook local photo.jpg --model {MODELS[0]}

{list_formats("and")}, told by their content. A cut-out that is there already stays, unless
--overwrite is given: so after Ctrl-C the same call does what is left.

exit status: 0 all done · 1 some failed · 2 wrong call · 130 Ctrl-C
"""


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its arguments to the command line."""
    parser = commands.add_parser(
        "local",
        help="do files of this machine; needs no server and no settings",
        description="Remove the background of files of this machine, the way the service does it.\n"
        "No server and no settings are needed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="image to cut out")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("cutouts"),
        metavar="DIR",
        help="where the PNGs go; by default %(default)s/",
    )
    parser.add_argument(
        "--model",
        choices=MODELS,
        default=EMBEDDED,
        metavar="MODEL",
        help=f"one of {', '.join(MODELS)}; by default %(default)s, which comes with the code and "
        "is the weakest; others are downloaded",
    )
    parser.add_argument("--overwrite", action="store_true", help="make existing PNGs anew")
    parser.add_argument("--json", action="store_true", help="print results as JSON lines")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Files:
    """Files in the place of S3: the id of an image is its position among `jobs`.

    Attributes:
        jobs: Each source, and the PNG that becomes of it.
        target_prefix: As of the service that works on them.
        max_source_bytes: Of one file.
    """

    jobs: Sequence[tuple[Path, Path]]
    target_prefix: str
    max_source_bytes: int

    async def find(self, image_id: str, source_key: str | None = None) -> SourceObject:
        """Return a file as it is now; raises SourceNotFound, ImageTooLarge. No row names one."""
        source, _ = self.jobs[int(image_id)]
        try:
            found = source.stat()
        except OSError as exc:
            raise SourceNotFound(f"It can't be read: {exc.strerror}.") from exc
        if found.st_size > self.max_source_bytes:
            raise ImageTooLarge(
                f"It has {found.st_size:,} bytes; at most {self.max_source_bytes:,} are allowed "
                "(MAX_SOURCE_BYTES)."
            )
        return SourceObject(str(source), str(found.st_mtime_ns), found.st_size)

    @property
    def keeps_conditions(self) -> bool:
        """Nobody else writes here."""
        return True

    async def look(self, key: str) -> StandingCutout | None:
        """See nothing: files carry no certificate, so none is good for another."""
        return None

    async def fetch(self, source: SourceObject) -> bytes:
        """Return the bytes of a file as it was found; raises SourceNotFound, StorageUnavailable."""
        path = Path(source.key)
        try:
            data = await to_thread.run_sync(path.read_bytes)
            changed_ns = path.stat().st_mtime_ns
        except OSError as exc:
            raise SourceNotFound(f"It can't be read: {exc.strerror}.") from exc
        if (str(changed_ns), len(data)) != (source.etag, source.size_bytes):
            raise StorageUnavailable("It changed while it was read.")
        return data

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        """Write a PNG, at once visible as a whole; raises StorageRejected."""
        image_id = key.removeprefix(self.target_prefix).split("/")[0]
        _, target = self.jobs[int(image_id)]
        try:
            await to_thread.run_sync(write_whole, target, png)
        except OSError as exc:
            raise StorageRejected(f"{target} can't be written: {exc.strerror}.") from exc
        return ""

    async def remove(self, key: str, etag: str) -> None:
        """Leave the file: there is no row that could be gone."""

    async def remove_all(self, prefix: str) -> int:
        """Leave all files, likewise."""
        return 0


def run(options: argparse.Namespace) -> int:
    """Do the files; return the exit status."""
    tune_process()
    from webhook.commands.progress import ProgressReport
    from webhook.commands.runner import run_until_stopped
    from webhook.telemetry import configure_logging

    report = ProgressReport("file", as_json=options.json)
    configure_logging("error", report.log_stream)
    return run_until_stopped(lambda: _cut_out(options, report))


def _plan(files: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    """Return each file with its target.

    Raises:
        ConfigurationError: two have the same target, one is its own, or the folder can't be made.
    """
    sources: dict[Path, Path] = {}
    for source in dict.fromkeys(files):
        target = folder / f"{source.stem}.png"
        if target.resolve() == source.resolve():
            raise ConfigurationError(f"{source} would be overwritten: choose another folder by -o.")
        if target in sources:
            raise ConfigurationError(f"{sources[target]} and {source} would both become {target}.")
        sources[target] = source
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"{folder}/ can't be made: {exc.strerror}.") from exc
    return [(source, target) for target, source in sources.items()]


async def _cut_out(options: argparse.Namespace, report: "ProgressReport") -> int:
    from webhook.commands.runner import default_concurrency, do_all, stream_of
    from webhook.settings import load_job_settings

    jobs = _plan(options.files, options.output)
    settings = load_job_settings(  # neither Hasura nor S3 is asked, whatever the environment says
        hasura_graphql_endpoint=None,
        hasura_graphql_admin_secret=None,
        s3_bucket="none",
        models=options.model,
        renditions=(),
    )

    from webhook.bootstrap import open_service_on
    from webhook.hasura.client import NoHasura
    from webhook.pipeline import remove_background

    left = [job for job in jobs if options.overwrite or not job[1].exists()]
    files = Files(left, settings.target_prefix, settings.max_source_bytes)

    def ended(image_id: str, outcome: RemovalResult | RemovalError) -> None:
        source, target = left[int(image_id)]
        if isinstance(outcome, RemovalError):
            report.add_failed(str(source), outcome)
        else:
            report.add_done(str(source), outcome, output=str(target))

    async with open_service_on(files, NoHasura(), settings) as service:
        report.expect(len(jobs))
        with report:
            for source, target in jobs:
                if (source, target) not in left:
                    report.add_skipped(str(source), f"{target} is there already (--overwrite)")
            image_ids = [str(position) for position in range(len(left))]
            await do_all(
                stream_of(image_ids),
                lambda image_id: remove_background(RemovalRequest(image_id), service),
                ended,
                default_concurrency(settings),
            )
    return 1 if report.failures else 0
