"""The command line: serve, doctor, pull, demo; process, backfill and local are next to it."""

import argparse
import gc
import math
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from webhook import __version__
from webhook.domain import EMBEDDED, MODELS
from webhook.entrypoints import backfill, local, process
from webhook.entrypoints.tuning import tune_process
from webhook.errors import ConfigurationError, RemovalError

if TYPE_CHECKING:
    from webhook.bootstrap import Loader
    from webhook.settings import Settings

# Above the 30 s after which Hasura's HTTP client drops an idle connection: whoever closes first
# must be Hasura, or a request meets a dying connection and is sent twice.
_KEEP_ALIVE_S = 75

GRACE_S = 5  # for jobs at a shutdown, on top of their own deadline

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m webhook",
        description="Background removal for Hasura and S3.",
        epilog="python -m webhook COMMAND --help tells what each takes.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve the webhook with the settings of the environment")
    doctor = commands.add_parser(
        "doctor",
        help="tell whether the service would work with these settings, and if not, what to do",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON instead of lines")
    for command in (process, backfill, local):
        command.add_command(commands)
    demo = commands.add_parser("demo", help="run the whole journey on embedded servers")
    demo.add_argument("--once", action="store_true", help="stop after the table of results")
    demo.add_argument(
        "--entry",
        choices=("webhook", "ray", "runpod"),
        default="webhook",
        help="run the service as the webhook, on Ray Serve, or as RunPod's worker",
    )
    pull = commands.add_parser("pull", help="fetch the weights of a model, and verify them")
    pull.add_argument(
        "model",
        nargs="?",
        default=MODELS[0],
        metavar="MODEL",
        help=f"as in the setting MODELS; by default {MODELS[0]}",
    )
    pull.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="take them from a folder, on a machine that does not reach the model hub",
    )
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return _demo(once=options.once, entry=options.entry)
    if options.command == "doctor":
        from webhook.entrypoints.doctor import run_doctor

        return run_doctor(as_json=options.json)
    if options.command == "pull":
        return _pull(options.model, options.folder)
    if options.command == "serve":
        return serve()
    status: int = options.run(options)
    return status


def serve(load: "Loader | None" = None) -> int:
    """Serve with the settings of the environment until told to stop; return the exit status.

    Args:
        load: Loads the models, if not as the settings say.
    """
    tune_process()

    # Imported here: torch takes seconds, which --help and demo need not wait for.
    import uvloop

    from webhook.settings import load_settings
    from webhook.telemetry import configure_logging, log

    try:
        settings = load_settings()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    for number in _STOP_SIGNALS:
        # uvicorn finishes the running jobs, then raises the signal again for this handler.
        signal.signal(number, _exit_cleanly)
    try:
        uvloop.run(_serve_until_stopped(settings, load))
    except RemovalError as exc:
        log.critical("service_not_started", code=exc.code, reason=str(exc))
        return 2
    return 0


def _exit_cleanly(sig: int, frame: FrameType | None) -> None:
    _end_at_once_by_the_next()
    sys.exit(0)


def _end_at_once_by_the_next() -> None:
    """Whoever sends a second signal does not want to wait; nothing is lost by it."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


async def _serve_until_stopped(settings: "Settings", load: "Loader | None") -> None:
    import uvicorn

    from webhook.bootstrap import load_models, open_service
    from webhook.entrypoints.http_app import create_app
    from webhook.entrypoints.http_limits import BoundedHttpProtocol

    # Opened before the server starts, so that what is wrong shows as one line and an exit status.
    async with open_service(settings, load or load_models) as service:
        # What libraries and models made lives until the end: to search it for garbage again and
        # again would stop every thread for a tenth of a second each time.
        gc.collect()
        gc.freeze()
        app = create_app(
            settings.webhook_secrets,
            lambda: nullcontext(service),
            max_event_age=timedelta(seconds=settings.max_event_age_s),
        )
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=BoundedHttpProtocol,
            ws="none",
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.job_timeout_s) + GRACE_S,
            log_config=None,
            access_log=False,
            server_header=False,
        )
        server = uvicorn.Server(config)
        handle_exit = server.handle_exit

        def drain(sig: int, frame: FrameType | None) -> None:
            _end_at_once_by_the_next()
            app.state.ready = False
            handle_exit(sig, frame)

        server.handle_exit = drain  # type: ignore[method-assign]  # the one hook there is
        await server.serve()


def _pull(model: str, folder: Path | None) -> int:
    from webhook.segmentation.hub import adopt, fetch
    from webhook.segmentation.weights import known_checkpoint

    if model == EMBEDDED:
        print("The model embedded comes with the code: there is nothing to pull.")
        return 0
    try:
        checkpoint = known_checkpoint(model)
        where = fetch(checkpoint) if folder is None else adopt(checkpoint, folder)
    except RemovalError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{model} at {checkpoint.revision}: verified, in {where}")
    print(f"Licence of the weights: {checkpoint.licence}")
    return 0


def _demo(*, once: bool, entry: str) -> int:
    try:
        from webhook.demo import DemoError
        from webhook.demo.entries import ENTRIES
        from webhook.demo.showcase import run_demo
    except ModuleNotFoundError as exc:
        print(
            f"The demo can't run here: there is no {exc.name}. It runs in a checkout of the "
            "repository, with the packages that `make demo` installs.",
            file=sys.stderr,
        )
        return 2
    try:
        return run_demo(once=once, entry=ENTRIES[entry])
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
