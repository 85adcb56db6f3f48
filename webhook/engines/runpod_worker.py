"""RunPod's way in: one job of its queue to one call of the pipeline, and back.

`{"input": {"id", "model"?}}` → `{"key"}` or `{"error": "text"}`. Needs requirements/runpod.txt;
`python -m webhook.engines.runpod_worker` takes the SDK's own arguments.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from structlog.contextvars import bind_contextvars, bound_contextvars

from webhook.errors import ConfigurationError, RemovalError, as_removal_error
from webhook.hasura.protocol import parse_input
from webhook.pipeline import Service, remove_background
from webhook.settings import JobSettings, load_job_settings
from webhook.telemetry import configure_logging, log, log_failure
from webhook.tracing import span
from webhook.tuning import tune_process

_SDK_LEVELS = {"warning": "WARN"}  # the others have our names


def main() -> int:
    """Do jobs until told to stop; return the exit status."""
    try:
        settings = load_job_settings()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    try:
        # A loop of our own, in a thread: the SDK runs each of its modes in another one.
        with start_blocking_portal(backend_options={"use_uvloop": True}) as portal:
            _do_jobs(settings, portal)
    except RemovalError as exc:
        log.critical("service_not_started", code=exc.code, reason=str(exc))
        return 2
    return 0


def _do_jobs(settings: JobSettings, portal: BlockingPortal) -> None:
    tune_process()
    # Imported here: torch and the SDK take seconds, which a wrong setting need not wait for.
    import runpod
    from runpod.serverless.modules.rp_logger import RunPodLogger

    from webhook.bootstrap import open_service

    # By default it is debug, which logs the platform's addresses with all their parameters.
    RunPodLogger().set_level(_SDK_LEVELS.get(settings.log_level, settings.log_level))
    with portal.wrap_async_context_manager(open_service(settings)) as service:

        async def handler(job: Mapping[str, Any]) -> dict[str, str]:
            # Cancelled by the platform's stop signal, it takes the job's task along.
            return await asyncio.wrap_future(portal.start_task_soon(_answer, job, service))

        # One batch on the device, and the next one on its way.
        jobs_at_once = 2 * settings.max_batch_size
        runpod.serverless.start(
            {"handler": handler, "concurrency_modifier": lambda _current: jobs_at_once}
        )


async def _answer(job: Mapping[str, Any], service: Service) -> dict[str, str]:
    """Do a job. A failure is a text: of an exception the SDK would send the traceback."""
    with bound_contextvars(trigger="runpod", job_id=job["id"]), span("RunPod job"):
        try:
            request = parse_input(job["input"])
            bind_contextvars(image_id=request.image_id)
            result = await remove_background(request, service)
        except Exception as exc:  # one job must not take others down
            log_failure(exc)
            return {"error": str(as_removal_error(exc))}
        return {"key": result.key}


if __name__ == "__main__":
    sys.exit(main())
