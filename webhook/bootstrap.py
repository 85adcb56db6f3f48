"""Settings to Service: the only place that picks implementations."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Protocol

from anyio import CapacityLimiter, sleep, to_thread

from webhook.budget import Budget
from webhook.cutting import Cutter, Sources
from webhook.decoders.pool import open_decoders
from webhook.domain import RemovalResult
from webhook.hasura.client import HasuraClient, NoHasura, open_hasura
from webhook.hasura.documents import Documents, load_documents
from webhook.hasura.replies import Patience
from webhook.jobs import Jobs
from webhook.models import EMBEDDED
from webhook.pipeline import ObjectStore, Rows, Service
from webhook.s3 import has_credentials, open_client
from webhook.segmentation.device import choose_device, compile_network
from webhook.segmentation.segmenter import TorchSegmenter
from webhook.segmentation.weights import LoadedModel, LocalModel, load_model
from webhook.settings import JobSettings, RowSettings, Settings
from webhook.storage import S3Storage
from webhook.telemetry import log
from webhook.tracing import exporting


class Store(ObjectStore, Sources, Protocol):
    """Where cut-outs are stored, and sources are fetched from."""


Loader = Callable[[JobSettings], Mapping[str, LoadedModel]]

# Of the largest size that is allowed; of the usual one they are dozens.
_LARGEST_SOURCES_IN_FLIGHT = 8
# With one, a few dear pictures would hold up all others; so the system shares its time among them.
_DECODERS_PER_CORE = 2
_CREDENTIALS_POLL_S = 5
_OF_DEADLINE_TO_DECODE = 0.3  # so that a second try ends before it


def load_models(settings: JobSettings) -> Mapping[str, LoadedModel]:
    """Load the models of the settings, ready on their device.

    Raises:
        ConfigurationError, WeightsInvalid: one can't be had.
    """
    device = choose_device(settings.device)
    local = None
    if settings.local_model is not None and settings.local_model_patch_order is not None:
        local = LocalModel(settings.local_model, settings.local_model_patch_order)
    models = {}
    for name in settings.models:
        models[name] = load_model(name, device, local)
        if settings.torch_compile:
            compile_network(models[name].network)
        identity = models[name].identity
        log.info(
            "model_loaded",
            model=name,
            revision=identity.revision,
            precision=identity.precision,
            device=str(device.torch_device),
        )
    if EMBEDDED in models:
        log.warning(
            "embedded_model_in_use",
            note="U²-Net-P: good enough to see the service work, not RMBG-2.0's quality",
        )
    return models


@asynccontextmanager
async def open_service(settings: JobSettings, load: Loader = load_models) -> AsyncIterator[Service]:
    """Load and warm up the models, open the connections; close them at the end.

    Args:
        settings: Of the environment.
        load: Loads the models; a benchmark puts a simulated device here.

    Raises:
        ConfigurationError, WeightsInvalid, StorageRejected: the service can't run like this.
    """
    while not await to_thread.run_sync(has_credentials):
        log.warning("s3_credentials_awaited", note="there are none yet; the service is not ready")
        await sleep(_CREDENTIALS_POLL_S)
    # Before the models, which take longer to load than a mistake to show.
    store, opening = open_store(settings), _rows_or_none(settings)
    async with (
        opening as rows,
        open_service_on(store, rows, settings, load) as service,
    ):
        yield service


def open_store(settings: JobSettings) -> S3Storage:
    """Make the client of the bucket.

    Raises:
        StorageRejected: what AWS_* says can't be used.
    """
    return S3Storage(
        open_client(),
        bucket=settings.s3_bucket,
        source_prefix=settings.source_prefix,
        max_source_bytes=settings.max_source_bytes,
        reopen=open_client,
    )


def open_rows(settings: RowSettings) -> AbstractAsyncContextManager[HasuraClient]:
    """Keep a session with Hasura open, to list rows too; nothing is sent until the first call.

    Raises:
        ConfigurationError: a document is missing or wrong.
    """
    documents = _documents_of(settings, with_list=True)
    return open_hasura(settings.graphql_url, settings.hasura_graphql_admin_secret, documents)


@asynccontextmanager
async def open_service_on(
    store: Store, rows: Rows, settings: JobSettings, load: Loader = load_models
) -> AsyncIterator[Service]:
    """Do as `open_service`, on an object store and a table that are open already."""
    segmenter = TorchSegmenter(
        await to_thread.run_sync(load, settings), max_batch_size=settings.max_batch_size
    )
    cores = os.cpu_count() or 1
    jobs: Jobs[RemovalResult] = Jobs(
        settings.max_jobs, settings.job_timeout_s, segmenter.seconds_per_image
    )
    with exporting(settings.traces_url):
        async with (
            open_decoders(
                _DECODERS_PER_CORE * cores,
                max_pixels=settings.max_pixels,
                max_pixels_in_flight=settings.max_pixels_in_flight,
                patience_s=settings.job_timeout_s * _OF_DEADLINE_TO_DECODE,
            ) as decoders,
            aclosing(segmenter),
            aclosing(jobs),
        ):
            await segmenter.warm_up()
            cutter = Cutter(
                sources=store,
                segmenter=segmenter,
                source_bytes=Budget(_LARGEST_SOURCES_IN_FLIGHT * settings.max_source_bytes),
                pixels=Budget(settings.max_pixels_in_flight),
                decoders=decoders,
                feeders=CapacityLimiter(cores),
                renderers=CapacityLimiter(cores),
            )
            yield Service(
                store=store,
                models=segmenter,
                cutter=cutter,
                rows=rows,
                jobs=jobs,
                target_prefix=settings.target_prefix,
                job_timeout_s=settings.job_timeout_s,
                renditions=settings.renditions,
            )


def _rows_or_none(settings: JobSettings) -> AbstractAsyncContextManager[Rows]:
    if settings.hasura_graphql_admin_secret is None:
        return nullcontext(NoHasura())
    documents = _documents_of(settings)
    return open_hasura(settings.graphql_url, settings.hasura_graphql_admin_secret, documents)


def _documents_of(settings: JobSettings, *, with_list: bool = False) -> Documents:
    return load_documents(
        settings.graphql_documents,
        with_list=with_list,
        with_source_key=settings.source_key_column is not None,
    )


def patience_of(settings: Settings) -> Patience:
    """Return how long an event is delivered again."""
    return Patience(
        max_event_age=timedelta(seconds=settings.max_event_age_s),
        upload_timeout=timedelta(seconds=settings.upload_timeout_s),
    )
