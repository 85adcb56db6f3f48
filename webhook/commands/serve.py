"""`serve`: the webhook on uvicorn, until it is told to stop."""

import argparse
import gc
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType
from typing import TYPE_CHECKING

from webhook.errors import ConfigurationError, RemovalError
from webhook.tuning import tune_process

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from webhook.bootstrap import Loader
    from webhook.settings import Settings

# Above the 30 s after which Hasura's HTTP client drops an idle connection: whoever closes first
# must be Hasura, or a request meets a dying connection and is sent twice.
_KEEP_ALIVE_S = 75

GRACE_S = 5  # for jobs at a shutdown, on top of their own deadline

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_command(commands: "_SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve", help="serve the webhook with the settings of the environment"
    )
    parser.set_defaults(run=lambda _options: serve())


def serve(load: "Loader | None" = None) -> int:
    """Serve with the settings of the environment until told to stop; return the exit status.

    Args:
        load: Loads the models, if not as the settings say.
    """
    tune_process()

    # Imported here: torch takes seconds, which --help need not wait for.
    import uvloop

    from webhook.settings import load_settings
    from webhook.telemetry import configure_logging, log

    try:
        settings = load_settings()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    _stop_by(_exit_at_once)  # nothing is in work yet, and a model takes long to load
    try:
        uvloop.run(_serve_until_stopped(settings, load))
    except RemovalError as exc:
        log.critical("service_not_started", code=exc.code, reason=str(exc))
        return 2
    return 0


def _stop_by(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, handler)


def _exit_at_once(sig: int, frame: FrameType | None) -> None:
    sys.stdout.flush()
    os._exit(0)  # sys.exit would wait for the thread that loads


def _exit_cleanly(sig: int, frame: FrameType | None) -> None:
    _end_at_once_by_the_next()
    sys.exit(0)


def _end_at_once_by_the_next() -> None:
    """Whoever sends a second signal does not want to wait; nothing is lost by it."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


async def _serve_until_stopped(settings: "Settings", load: "Loader | None") -> None:
    import uvicorn

    from webhook.bootstrap import load_models, open_service, patience_of
    from webhook.hasura.binding import binding_of
    from webhook.http.app import create_app
    from webhook.http.limits import BoundedHttpProtocol

    # Opened before the server starts, so that what is wrong shows as one line and an exit status.
    async with open_service(settings, load or load_models) as service:
        # uvicorn finishes the running jobs, then raises the signal again for this handler.
        _stop_by(_exit_cleanly)
        # What libraries and models made lives until the end: to search it for garbage again and
        # again would stop every thread for a tenth of a second each time.
        gc.collect()
        gc.freeze()
        app = create_app(
            settings.webhook_secrets,
            lambda: nullcontext(service),
            binding=binding_of(settings),
            patience=patience_of(settings),
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
