"""Settings to Service: the only place that picks implementations."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread

from webhook.domain import EMBEDDED
from webhook.hasura.client import open_hasura
from webhook.pipeline import Service
from webhook.segmentation.device import choose_device, compile_network
from webhook.segmentation.segmenter import TorchSegmenter
from webhook.segmentation.weights import LocalModel, load_model
from webhook.settings import Settings
from webhook.storage import S3Storage, open_client
from webhook.telemetry import log


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Load and warm up the models, open the connections; close them at the end.

    Raises:
        ConfigurationError, WeightsInvalid, StorageRejected: the service can't run like this.
    """
    client = open_client()  # before the models, which take longer to load than a mistake to show
    segmenter = await to_thread.run_sync(_load_segmenter, settings)
    store = S3Storage(
        client,
        bucket=settings.s3_bucket,
        source_prefix=settings.source_prefix,
        max_source_bytes=settings.max_source_bytes,
    )
    async with open_hasura(settings.graphql_url, settings.hasura_graphql_admin_secret) as rows:
        yield Service(
            store=store,
            segmenter=segmenter,
            rows=rows,
            target_prefix=settings.target_prefix,
            max_pixels=settings.max_pixels,
            job_timeout_s=settings.job_timeout_s,
            pixel_workers=CapacityLimiter(os.cpu_count() or 1),
        )


def _load_segmenter(settings: Settings) -> TorchSegmenter:
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
    segmenter = TorchSegmenter(models)
    segmenter.warm_up()
    if EMBEDDED in models:
        log.warning(
            "embedded_model_in_use",
            note="U²-Net-P: good enough to see the service work, not RMBG-2.0's quality",
        )
    return segmenter
